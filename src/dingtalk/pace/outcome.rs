//! Results that the scheduler returns.

use std::time::Instant;

use super::{Call, Reach};
use crate::dingtalk::Failure;

/// Requests that [`super::Scheduler::start`] removed from the queue.
pub struct Started<J> {
    /// Requests to send now.
    pub starting: Vec<(Call, J)>,
    /// Abandoned requests.
    pub unwanted: Vec<J>,
    /// When to call `start` again; `None` means after the next request ends or arrives.
    pub next: Option<Instant>,
}

impl<J> Started<J> {
    pub(super) fn look_again(&mut self, at: Instant) {
        self.next = Some(self.next.map_or(at, |earlier| earlier.min(at)));
    }
}

/// Consequences of a failure.
pub struct Consequences<J> {
    /// The failure, reclassified as a ban after several HTML responses.
    pub failure: Failure,
    /// Queued requests with the same rejected credentials; removed from the queue.
    pub rejected_too: Vec<J>,
    /// Whether the site is down. Its outage is probed, so that waiting requests need no backoff of
    /// their own.
    pub is_site_down: bool,
}

/// The end of an outage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// The requests that the outage affected.
    pub reach: Reach,
    /// Start of the outage. Corps that have been failing for longer have another problem.
    pub since: Instant,
}
