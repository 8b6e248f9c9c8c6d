//! Pure decisions: what to do now, and when to look again. Nothing here is async, holds a client
//! or reads a clock; the time is an argument.

mod app;
mod copy;
mod handle;
mod index;
mod report;
mod secret;
mod token;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_assembly;
#[cfg(test)]
mod tests_corps;
#[cfg(test)]
mod tests_renewals;

pub use app::corp::Corp;
pub use app::fetch::{Due, due};
pub use app::memory::{Memory, renew_request};
pub use app::notice::{Happened, Notice, NoticeType};
pub use app::refresh::{Readers, Refresh, Unrefreshed, refreshes_pods};
pub use app::restart::{Restart, restart_notice};
pub use app::step::next_step;
pub use app::view::{
    Blocked, CredentialsSeen, Deletion, Settled, Step, TargetSeen, TargetStep, View,
};
#[cfg(test)]
pub use copy::copy_write;
pub use copy::{
    CopySeen, CopyStep, Grant, ReferenceMemory, ReferenceStep, ReferenceView, Told, copy_now,
    granted_namespaces, reference_notice, reference_status, reference_step,
};
pub use handle::{Concerned, Core, Surroundings};
pub use index::{Asked, Candidate, NamespaceLimits, ReferenceState, Stub, Wish};
pub use report::conditions::{StatusNews, status, write_status_at};
pub use report::events::notices;
pub use report::problem::explain;
pub use report::refusal::{
    Bound, Refusal, refused_previous, refused_reference_status, refused_status,
};
pub use secret::assembly::{Assembled, Assembly};
pub use secret::data::Data;
pub use secret::desired::{Wanted, per_corp_name, wanted};
pub use secret::metadata::forget_forbidden;
pub use secret::ownership::{Claim, Ownership, owner_name, ownership};
pub use secret::recorded::Recorded;
pub use secret::shape::{Field, Shape};
pub use secret::target::{TARGETS_MAX, TargetMeta};
pub use secret::templates::Templates;
pub use secret::write::Write;
pub use secret::writing::{WriteOutcome, WriteProblem};
pub use token::attempt::{FailedAttempt, FetchId, Former, Minting, TokenId};
pub use token::backoff::{Pace, delay};
pub use token::known_credentials::{CredentialsProblem, KnownCredentials};
pub use token::record::{Held, ObjectVersion, TokenRecord, lifetime, whole_seconds};
pub use token::request::RenewRequest;
pub use token::schedule::{Lifetime, Schedule, jitter, renewal_at};
pub use token::tokens::{Attempts, Interest, TokenName, Tokens};
