//! Backoff after a failure: the pace of its class, with jitter.

use std::time::Duration;

use crate::dingtalk::Class;

const SECOND: Duration = Duration::from_secs(1);
/// Retries of a hurried class wait at most this fraction of the remaining lifetime.
const LIFE_DIVISOR: u32 = 8;

/// Returns the backoff after `streak` consecutive failures. `random` is from 0 to 1, `wait` is what
/// DingTalk asked for, and `life_left` is the remaining lifetime of a valid token, if one is held.
pub(crate) fn delay(
    class: Class,
    streak: u32,
    random: f64,
    wait: Option<Duration>,
    life_left: Option<Duration>,
) -> Duration {
    let pace = class.pace(streak);
    let spread = pace.ceiling.saturating_sub(pace.floor);
    let jittered = pace.floor + spread.mul_f64(random.clamp(0.0, 1.0));
    let hurried = match life_left.filter(|_| class.traits().is_hurried) {
        Some(left) => jittered.min((left / LIFE_DIVISOR).max(SECOND)),
        None => jittered,
    };
    hurried.max(wait.unwrap_or_default())
}
