//! Clock and randomness: the sources of nondeterminism, which the simulation replaces.

use jiff::Timestamp;

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
