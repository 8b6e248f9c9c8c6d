//! Simulates days of ten thousand apps in seconds: the operator's scheduler, queue and limits, with sites that have
//! outages, throttling and bans, with corps that always fail, and with a hostile namespace. A seed determines the
//! whole run.

mod endpoint;
mod group;
mod report;
mod world;

pub use endpoint::{Fault, FaultKind, Repeat};
pub use group::{Behaviour, Group};
pub use report::{GroupReport, Report};
pub use world::{Plan, simulate};

/// Milliseconds of simulated time since the start.
pub type Millis = i64;

/// A second.
pub const SECOND: Millis = 1000;
/// A minute.
pub const MINUTE: Millis = 60 * SECOND;
/// An hour.
pub const HOUR: Millis = 60 * MINUTE;
