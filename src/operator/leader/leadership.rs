//! Whether this replica may act, by the clock alone: a process that was stopped and goes on finds
//! out before anything else does.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::Notify;

/// The two clocks at once. The monotonic one stands still while a machine sleeps, the wall clock
/// can be set: a lease holds where both say so.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The wall clock.
    pub wall: Timestamp,
    /// The monotonic clock.
    pub monotonic: Instant,
}

impl Moment {
    /// Now.
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
    /// This replica never led.
    #[default]
    Never,
    Until(Moment),
    /// Another replica leads.
    Lost,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Leadership {
    hold: Mutex<Hold>,
    taken_up: Notify,
    renewed: Notify,
}

impl Leadership {
    /// That of the only replica.
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

    /// Whether this replica still leads when something that takes so long has ended.
    pub fn outlasts(&self, duration: Duration, now: Moment) -> bool {
        let hold = self.hold.lock().unwrap_or_else(PoisonError::into_inner);
        match &*hold {
            Hold::Always => true,
            Hold::Never | Hold::Lost => false,
            Hold::Until(until) => now
                .after(duration)
                .is_some_and(|then| then.wall < until.wall && then.monotonic < until.monotonic),
        }
    }

    /// Waits until this replica leads, or leads again; each such time is told to one waiter.
    pub async fn taken_up(&self) {
        self.taken_up.notified().await;
    }

    /// Whether this replica leads or never led. One that has led must not learn what others wrote until it
    /// leads again: what it has in hand is to be refused there.
    pub fn may_learn(&self, now: Moment) -> bool {
        self.holds(now) || self.is(|hold| matches!(hold, Hold::Never))
    }

    /// Waits until this replica may learn what others wrote.
    pub async fn until_it_may_learn(&self, now: impl Fn() -> Moment) {
        loop {
            let renewed = self.renewed.notified();
            if self.may_learn(now()) {
                return;
            }
            renewed.await;
        }
    }

    /// The lease was got or renewed by a request that was sent at `sent`. Tells whether this replica
    /// did not lead before.
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

    /// Another replica leads.
    pub(crate) fn lost(&self) {
        self.set(Hold::Lost);
    }

    fn is(&self, what: impl Fn(&Hold) -> bool) -> bool {
        what(&self.hold.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn set(&self, hold: Hold) {
        *self.hold.lock().unwrap_or_else(PoisonError::into_inner) = hold;
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
            // The machine slept.
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
        // The answer came after the lease had run out already.
        assert!(!leadership.renewed(late, LEASE, later(late, 16, 16)));
    }
}
