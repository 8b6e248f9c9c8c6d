//! When to try again after a failure: the pace of each class.

use std::time::Duration;

use crate::dingtalk::Class;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
/// A failure of a hurried class is tried again after an eighth of the life that is left, at the latest.
const LIFE_DIVISOR: u32 = 8;

/// The shortest and the longest wait that a class allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Never sooner.
    pub floor: Duration,
    /// Never later, unless the endpoint asked for it.
    pub ceiling: Duration,
}

impl Pace {
    /// The pace after `streak` failures in a row, the first being 1.
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

/// How long to wait after `streak` failures in a row. `random` is from 0 to 1; `wait` is what the
/// endpoint asked for; `life_left` is that of a valid token, if one is held.
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
    let hurried = match life_left.filter(|_| class.traits().is_hurried) {
        Some(left) => jittered.min((left / LIFE_DIVISOR).max(SECOND)),
        None => jittered,
    };
    hurried.max(wait.unwrap_or_default())
}
