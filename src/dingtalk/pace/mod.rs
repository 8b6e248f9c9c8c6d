//! Which token request goes next, and when: order, rates, and what a site's answers mean for others.
//!
//! Pure: the time is an argument. Whoever waits for one thing (a ban, a rate, a call in flight)
//! holds back nobody who does not wait for the same.

mod call;
mod evidence;
mod health;
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
pub use outcome::{Heard, Recovery, Started};
pub use rates::Rates;
pub use scheduler::Scheduler;
