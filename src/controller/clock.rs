//! The clock and the dice: what makes two runs differ. The simulation brings its own.

use jiff::Timestamp;

use crate::operator::Moment;

/// See the module.
pub(super) trait Clock: Send + Sync {
    /// Now, by both clocks.
    fn now(&self) -> Moment;

    /// A number from 0 to 1, another one each time.
    fn random(&self) -> f64;

    /// Now, by the wall clock.
    fn wall(&self) -> Timestamp {
        self.now().wall
    }
}

/// The machine's own.
pub(super) struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Moment {
        Moment::now()
    }

    fn random(&self) -> f64 {
        rand::random()
    }
}
