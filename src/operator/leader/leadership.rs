//! Whether this replica leads, determined by the clocks alone, so that a process that was suspended notices at
//! once that its Lease has expired.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::Notify;

use crate::operator::lock::lock;

/// The time on both clocks. The monotonic clock stops while the machine sleeps, and the wall clock can be set;
/// the Lease is only valid if it is by both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The wall clock.
    pub wall: Timestamp,
    /// The monotonic clock.
    pub monotonic: Instant,
}

impl Moment {
    /// Returns the current time.
    pub fn now() -> Self {
        Self {
            wall: Timestamp::now(),
            monotonic: Instant::now(),
        }
    }

    fn after(self, duration: Duration) -> Option<Self> {
        Some(Self {
            wall: self.wall.checked_add(duration).ok()?,
            monotonic: self.monotonic.checked_add(duration)?,
        })
    }
}

#[derive(Debug, Default)]
enum Hold {
    /// There is no election.
    Always,
    /// This replica has not led yet.
    #[default]
    Never,
    /// The Lease expires at this time.
    Until(Moment),
    /// Another replica leads.
    Lost,
}

/// Whether this replica leads.
#[derive(Debug, Default)]
pub struct Leadership {
    hold: Mutex<Hold>,
    taken_up: Notify,
    renewed: Notify,
}

impl Leadership {
    /// Creates the leadership of a single replica, which always leads.
    pub fn alone() -> Self {
        let leadership = Self::default();
        leadership.set(Hold::Always);
        leadership.taken_up.notify_one();
        leadership
    }

    /// Whether this replica leads.
    pub fn holds(&self, now: Moment) -> bool {
        self.outlasts(Duration::ZERO, now)
    }

    /// Whether this replica will still lead after `duration`, even if it cannot renew the Lease.
    pub fn outlasts(&self, duration: Duration, now: Moment) -> bool {
        match &*lock(&self.hold) {
            Hold::Always => true,
            Hold::Never | Hold::Lost => false,
            Hold::Until(until) => now
                .after(duration)
                .is_some_and(|then| then.wall < until.wall && then.monotonic < until.monotonic),
        }
    }

    /// Waits until this replica starts to lead. Each start wakes one waiter.
    pub async fn taken_up(&self) {
        self.taken_up.notified().await;
    }

    /// Whether this replica may process changes made by others: it leads, or has not led yet.
    ///
    /// After it has lost the lead, it must not: its pending writes must fail because of those changes.
    pub fn may_learn(&self, now: Moment) -> bool {
        self.holds(now) || matches!(*lock(&self.hold), Hold::Never)
    }

    /// Waits until [`Self::may_learn`] is true.
    pub async fn until_it_may_learn(&self, now: impl Fn() -> Moment) {
        loop {
            let renewed = self.renewed.notified();
            if self.may_learn(now()) {
                return;
            }
            renewed.await;
        }
    }

    /// Records that a request sent at `sent` has acquired or renewed the Lease. Returns whether this replica has
    /// thereby started to lead.
    pub(crate) fn renewed(&self, sent: Moment, duration: Duration, now: Moment) -> bool {
        let led = self.holds(now);
        self.set(sent.after(duration).map_or(Hold::Lost, Hold::Until));
        let leads = !led && self.holds(now);
        if leads {
            self.taken_up.notify_one();
        }
        self.renewed.notify_waiters();
        leads
    }

    pub(crate) fn lost(&self) {
        self.set(Hold::Lost);
    }

    fn set(&self, hold: Hold) {
        *lock(&self.hold) = hold;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(15);

    fn later(moment: Moment, wall: u64, monotonic: u64) -> Moment {
        Moment {
            wall: moment.wall + Duration::from_secs(wall),
            monotonic: moment.monotonic + Duration::from_secs(monotonic),
        }
    }

    #[test]
    fn it_ends_by_whichever_clock_comes_first() {
        let (start, leadership) = (Moment::now(), Leadership::default());
        assert!(!leadership.holds(start));
        assert!(leadership.renewed(start, LEASE, start));
        for (wall, monotonic, holds) in [
            (0, 0, true),
            (14, 14, true),
            // The machine was suspended.
            (15, 1, false),
            // The clock was set back.
            (0, 15, false),
        ] {
            let now = later(start, wall, monotonic);
            assert_eq!(leadership.holds(now), holds, "{wall} {monotonic}");
        }
    }

    #[tokio::test]
    async fn one_that_led_learns_nothing_until_it_leads_again() {
        use futures::FutureExt as _;
        let leadership = Leadership::default();
        leadership.until_it_may_learn(Moment::now).await;
        let long_ago = later(Moment::now(), 0, 0);
        leadership.renewed(long_ago, Duration::ZERO, long_ago);
        let waits = leadership.until_it_may_learn(Moment::now);
        tokio::pin!(waits);
        assert_eq!(waits.as_mut().now_or_never(), None, "the lease has run out");
        leadership.renewed(Moment::now(), LEASE, Moment::now());
        waits.await;
        leadership.lost();
        assert_eq!(
            leadership.until_it_may_learn(Moment::now).now_or_never(),
            None
        );
    }

    #[test]
    fn a_request_that_may_take_longer_than_the_lease_is_not_for_this_replica() {
        let (start, leadership) = (Moment::now(), Leadership::default());
        leadership.renewed(start, LEASE, start);
        let request = Duration::from_secs(10);
        assert!(leadership.outlasts(request, later(start, 4, 4)));
        assert!(!leadership.outlasts(request, later(start, 5, 5)));
        leadership.renewed(later(start, 5, 5), LEASE, later(start, 6, 6));
        assert!(leadership.outlasts(request, later(start, 9, 9)));
        leadership.lost();
        assert!(!leadership.holds(later(start, 9, 9)));
    }

    #[test]
    fn a_lease_that_lapsed_and_was_renewed_is_taken_up_again() {
        let (start, leadership) = (Moment::now(), Leadership::default());
        assert!(leadership.renewed(start, LEASE, start));
        let soon = later(start, 2, 2);
        assert!(!leadership.renewed(soon, LEASE, soon));
        let late = later(start, 60, 60);
        assert!(leadership.renewed(late, LEASE, late));
        // The response arrived after the Lease had expired.
        assert!(!leadership.renewed(late, LEASE, later(late, 16, 16)));
    }
}
