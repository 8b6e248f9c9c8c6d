//! Backoff after a failure, by class.

use std::time::Duration;

use crate::dingtalk::Class;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
/// Retries of a hurried class wait at most this fraction of the remaining lifetime.
const LIFE_DIVISOR: u32 = 8;

/// The shortest and the longest wait of a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// The shortest wait.
    pub floor: Duration,
    /// The longest wait, unless DingTalk asked for a longer one.
    pub ceiling: Duration,
}

impl Pace {
    /// Returns the pace after `streak` consecutive failures, starting at 1.
    pub fn of(class: Class, streak: u32) -> Self {
        let doubling = |start: Duration, max: Duration| {
            start
                .saturating_mul(1 << streak.saturating_sub(1).min(16))
                .min(max)
        };
        let (floor, ceiling) = match class {
            Class::User => {
                let base = doubling(5 * MINUTE, HOUR);
                (base, (base + base / 10).min(HOUR))
            }
            Class::Configuration | Class::Quota => (HOUR, HOUR),
            Class::Throttled { per_minute: true } => (MINUTE, MINUTE + 10 * SECOND),
            Class::Throttled { per_minute: false } => {
                (doubling(SECOND, MINUTE), doubling(3 * SECOND, MINUTE))
            }
            Class::Banned => (5 * MINUTE, 5 * MINUTE + 30 * SECOND),
            Class::Transient if streak <= 7 => (SECOND, doubling(SECOND, MINUTE)),
            Class::Transient => (5 * MINUTE, 5 * MINUTE),
            Class::Unknown if streak <= 5 => (SECOND, doubling(SECOND, MINUTE)),
            Class::Unknown => (15 * MINUTE, 15 * MINUTE),
            Class::Garbled => {
                let base = doubling(30 * SECOND, 10 * MINUTE);
                (base, base)
            }
        };
        Self { floor, ceiling }
    }
}

/// Returns the backoff after `streak` consecutive failures. `random` is from 0 to 1, `wait` is what
/// DingTalk asked for, and `life_left` is the remaining lifetime of a valid token, if one is held.
pub(crate) fn delay(
    class: Class,
    streak: u32,
    random: f64,
    wait: Option<Duration>,
    life_left: Option<Duration>,
) -> Duration {
    let pace = Pace::of(class, streak);
    let jittered = pace.floor
        + pace
            .ceiling
            .saturating_sub(pace.floor)
            .mul_f64(random.clamp(0.0, 1.0));
    let hurried = match life_left.filter(|_| class.is_hurried()) {
        Some(left) => jittered.min((left / LIFE_DIVISOR).max(SECOND)),
        None => jittered,
    };
    hurried.max(wait.unwrap_or_default())
}
