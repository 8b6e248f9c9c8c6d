//! Pure decisions: what to do now, and when to look again. Nothing here is async, holds a client
//! or reads a clock; the time is an argument.

mod annotations;
mod assembly;
mod attempt;
mod backoff;
mod conditions;
mod corp;
mod data;
mod desired;
mod events;
mod fetch;
mod hexadecimal;
mod known_credentials;
mod look;
mod looks;
mod managed;
mod marks;
mod memory;
mod metadata;
mod owner;
mod ownership;
mod place;
mod problem;
mod recorded;
mod reference;
mod refresh;
mod refusal;
mod renewals;
mod request;
mod restart;
mod schedule;
mod shape;
mod state;
mod step;
mod take;
mod target;
mod templates;
mod token;
mod tokens;
mod view;
mod write;
mod writing;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_assembly;
#[cfg(test)]
mod tests_corps;
#[cfg(test)]
mod tests_renewals;

pub use assembly::{Assembled, Assembly};
pub use attempt::{FailedAttempt, FetchId, Former, Minting, TokenId};
pub use backoff::{Pace, delay};
pub use conditions::{StatusNews, status, write_status_at};
pub use corp::Corp;
pub use data::Data;
pub use desired::{Wanted, per_corp_name, wanted};
pub use events::{Happened, Notice, NoticeType, notices};
pub use fetch::{Due, due};
pub use known_credentials::{CredentialsProblem, KnownCredentials};
pub use memory::{Memory, renew_request};
pub use metadata::forget_forbidden;
pub use ownership::{Claim, Ownership, owner_name, ownership};
pub use problem::explain;
pub use recorded::Recorded;
#[cfg(test)]
pub use reference::copy_write;
pub use reference::{
    CopySeen, CopyStep, Grant, ReferenceMemory, ReferenceStep, ReferenceView, copy_now,
    granted_namespaces, reference_notice, reference_status, reference_step,
};
pub use refresh::{Readers, Refresh, Unrefreshed, refreshes_pods};
pub use refusal::{Bound, Refusal, refused_previous, refused_reference_status, refused_status};
pub use request::RenewRequest;
pub use restart::{Restart, restart_notice};
pub use schedule::{Lifetime, Schedule, jitter, renewal_at};
pub use shape::{Field, Shape};
pub use step::next_step;
pub use target::{TARGETS_MAX, TargetMeta};
pub use templates::Templates;
pub use token::{Held, ObjectVersion, TokenRecord, lifetime, whole_seconds};
pub use tokens::{Attempts, Interest, TokenName, Tokens};
pub use view::{Blocked, CredentialsSeen, Deletion, Settled, Step, TargetSeen, TargetStep, View};
pub use write::Write;
pub use writing::{WriteOutcome, WriteProblem};
