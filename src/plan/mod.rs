//! Pure decisions: what to do now, and when to look again. Nothing here is async, holds a client
//! or reads a clock; the time is an argument.

mod backoff;
mod conditions;
mod events;
mod memory;
mod ownership;
mod schedule;
mod step;
mod target;

#[cfg(test)]
mod tests;

pub use backoff::{Pace, delay};
pub use conditions::{same_meaning, status};
pub use events::{Notice, NoticeType, notices};
pub use memory::{CredentialsProblem, Happened, Held, Memory, Minting, Schedule, Verdict};
pub use ownership::{Claim, Ownership, ownership};
pub use schedule::{Lifetime, jitter, renewal_at};
pub use step::{Blocked, CredentialsSeen, Settled, Step, View, next_step};
pub use target::{Data, ObjectVersion, TargetMeta, TokenRecord, Write, owns_data};
