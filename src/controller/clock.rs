//! Clock and randomness: the sources of nondeterminism, which the simulation replaces.

use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};

use crate::operator::Moment;

/// Source of time and randomness.
pub(super) trait Clock: Send + Sync {
    /// Returns the time of both clocks.
    fn now(&self) -> Moment;

    /// Returns a new random number from 0 to 1.
    fn random(&self) -> f64;

    /// Returns the time of the wall clock.
    fn wall(&self) -> Timestamp {
        self.now().wall
    }
}

/// Most that a slewed clock lags between two looks; more means that it was set back.
const SLEWED_MAX: SignedDuration = SignedDuration::from_secs(1);

/// The last look at the clock.
pub(super) struct LastLook(Mutex<Moment>);

impl LastLook {
    pub(super) fn new(clock: &dyn Clock) -> Self {
        Self(Mutex::new(clock.now()))
    }

    /// Looks at the clock. Returns the time, and by how much the clock was set back since the last
    /// look, if it was.
    pub(super) fn again(&self, clock: &dyn Clock) -> (Moment, Option<SignedDuration>) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = clock.now();
        let former = std::mem::replace(&mut *last, now);
        (now, set_back_by(former, now))
    }
}

fn set_back_by(former: Moment, now: Moment) -> Option<SignedDuration> {
    let by_wall = now.wall.duration_since(former.wall);
    let by_monotonic = now.monotonic.saturating_duration_since(former.monotonic);
    let by_monotonic = SignedDuration::try_from(by_monotonic).unwrap_or(SignedDuration::MAX);
    let by = by_monotonic.saturating_sub(by_wall);
    (by > SLEWED_MAX).then_some(by)
}

/// The machine's clock and random numbers.
pub(super) struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Moment {
        Moment::now()
    }

    fn random(&self) -> f64 {
        rand::random()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_clock_that_is_set_back_is_noticed_and_one_that_stood_still_is_none() {
        let former = Moment::now();
        let after = |wall: i64, monotonic: u64| Moment {
            wall: former.wall + SignedDuration::from_secs(wall),
            monotonic: former.monotonic + Duration::from_secs(monotonic),
        };
        for (wall, monotonic, expected) in [
            (30, 30, None),
            (29, 30, None),
            (28, 30, Some(2)),
            (-3600, 30, Some(3630)),
            // The machine slept, or the clock was set forward.
            (3600, 30, None),
        ] {
            let found = set_back_by(former, after(wall, monotonic));
            let expected = expected.map(SignedDuration::from_secs);
            assert_eq!(found, expected, "{wall} {monotonic}");
        }
    }
}
