//! Schedules token requests: their order, rates and pauses.
//!
//! Pure: the time is an argument. A request that waits (for the end of a ban, for its rate, or for a
//! request in flight) delays only requests that wait for the same thing.

mod call;
mod evidence;
mod health;
mod limits;
mod lines;
mod outcome;
mod pauses;
mod proofs;
mod rates;
mod scheduler;
mod site;
#[cfg(test)]
mod tests;
mod waiting;

pub use call::{Call, CredentialsId, Rank};
pub use evidence::Reach;
pub use outcome::{Consequences, Recovery, Started};
pub use rates::Rates;
pub use scheduler::Scheduler;
