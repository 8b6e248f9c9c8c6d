//! What the scheduler tells of requests and answers.

use std::time::Instant;

use super::{Call, Reach};
use crate::dingtalk::Failure;

/// What [`super::Scheduler::start`] took out.
pub struct Started<J> {
    /// The requests to make now.
    pub starting: Vec<(Call, J)>,
    /// Abandoned requests.
    pub unwanted: Vec<J>,
    /// When to look again; `None`: when something has finished or arrived.
    pub next: Option<Instant>,
}

impl<J> Started<J> {
    pub(super) fn look_again(&mut self, at: Instant) {
        self.next = Some(self.next.map_or(at, |earlier| earlier.min(at)));
    }
}

/// What a failure means.
pub struct Heard<J> {
    /// The failure; several HTML answers are understood as a ban.
    pub failure: Failure,
    /// Requests that would have got the same answer: the credentials were rejected.
    pub rejected_too: Vec<(Call, J)>,
    /// Whether the site is down for all: its outage is probed, and those who wait need no backoff
    /// of their own.
    pub is_site_down: bool,
}

/// An outage that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// Whom it concerned.
    pub reach: Reach,
    /// When it began. Who has failed for longer failed for another reason.
    pub since: Instant,
}
