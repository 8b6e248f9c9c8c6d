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

pub use app::corp::Corp;
pub(crate) use app::fetch::{Due, due};
pub(crate) use app::memory::Memory;
pub(crate) use app::notice::{Happened, Notice, NoticeType};
pub(crate) use app::refresh::{Readers, Refresh, Unrefreshed, refreshes_pods};
pub(crate) use app::restart::{Restart, restart_notice};
pub(crate) use app::step::next_step;
pub(crate) use app::view::{AppSite, Settled, Step, TargetStep, View};
pub(crate) use copy::{
    CopyStep, ReferenceMemory, ReferenceStep, ReferenceView, Told, copy_now, light_status,
    reference_notice, reference_status, reference_step, write_reference_status_at,
};
pub(crate) use handle::{Concerned, Core, Surroundings};
pub(crate) use index::{
    Asked, Candidate, NamespaceLimits, ReferenceState, Reported, Stub, TokenQuery,
};
pub(crate) use report::problem::explain;
pub(crate) use report::refusal::{
    Refusal, refused_previous, refused_reference_status, refused_status,
};
pub(crate) use secret::assembly::Assembly;
pub use secret::data::Data;
pub(crate) use secret::desired::{Wanted, wanted};
pub(crate) use secret::managed::our_data;
pub(crate) use secret::metadata::forget_forbidden;
pub(crate) use secret::recorded::Recorded;
pub(crate) use secret::shape::{Field, Shape};
pub(crate) use secret::target::TargetMeta;
pub use secret::templates::Templates;
pub(crate) use secret::write::{Deletion, Write};
pub(crate) use secret::writing::{FailedChange, WriteOutcome, WriteProblem};
pub use token::attempt::{FailedAttempt, Former, PendingFetch, TokenId};
pub(crate) use token::known_credentials::CredentialsProblem;
pub use token::known_credentials::KnownCredentials;
pub use token::record::ObjectVersion;
pub(crate) use token::record::{Held, lifetime, whole_seconds};
pub(crate) use token::schedule::Schedule;
pub use token::tokens::{Attempts, Interest, TokenName, Tokens};
pub use token::why::Why;

// Used by tests only.
#[cfg(test)]
pub(crate) use app::memory::renew_request;
#[cfg(test)]
pub(crate) use app::view::{Blocked, CredentialsSeen, TargetSeen};
#[cfg(test)]
pub(crate) use copy::{Grant, copy_write, granted_namespaces};
#[cfg(test)]
pub(crate) use report::at_rest::AtRest;
#[cfg(test)]
pub(crate) use report::conditions::{StatusNews, write_status_at};
#[cfg(test)]
pub(crate) use secret::ownership::{Claim, Ownership};
#[cfg(test)]
pub(crate) use secret::target::TARGETS_MAX;
#[cfg(test)]
pub(crate) use token::backoff::delay;
#[cfg(test)]
pub(crate) use token::record::TokenRecord;
#[cfg(test)]
pub(crate) use token::schedule::Lifetime;
