//! When to renew a token.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};

use crate::dingtalk::LIFETIME_MAX;

/// Most that the clocks of two nodes are assumed to differ; a record from further in the future is
/// not trusted.
pub(crate) const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_secs(60);
/// Minimum interval between two fetches of one token.
pub(crate) const FETCH_FLOOR: SignedDuration = SignedDuration::from_secs(5);
/// Expiries this close are the same, seen through two round trips.
pub(in crate::core) const SAME_EXPIRY: SignedDuration = SignedDuration::from_secs(5);
/// Fraction of the lifetime over which simultaneous renewals are spread.
const JITTER: f64 = 0.05;
/// Tokens of one app that are due within this fraction of their lifetime are renewed together.
const TOGETHER: f64 = 0.02;
/// Largest fraction of the lifetime for `renewBefore`; with more, each renewal would be due at
/// once.
const RENEW_BEFORE_MAX: f64 = 0.9;

/// A time in the future, and when it was decided. A clock that is set back moves both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Schedule {
    decided_at: Timestamp,
    pub at: Timestamp,
}

impl Schedule {
    /// Returns the time `wait` after now.
    pub(crate) fn after(now: Timestamp, wait: Duration) -> Self {
        let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX);
        Self::at(now, now.saturating_add(wait).unwrap_or(Timestamp::MAX))
    }

    /// Returns a time decided now.
    pub(crate) fn at(now: Timestamp, at: Timestamp) -> Self {
        Self {
            decided_at: now,
            at,
        }
    }

    /// Moves the time along with a clock that was set back by this much.
    pub(crate) fn set_back(&mut self, by: SignedDuration) {
        self.decided_at = set_back(self.decided_at, by);
        self.at = set_back(self.at, by);
    }

    /// Moves the time along with a clock that shows less than when it was decided, which must not
    /// delay anything.
    pub(crate) fn notice_clock(&mut self, now: Timestamp) {
        if now < self.decided_at {
            let wait = self.at.duration_since(self.decided_at);
            *self = Self::at(now, now.saturating_add(wait).unwrap_or(Timestamp::MAX));
        }
    }
}

/// Returns the time that a clock shows for `at` after it was set back by this much.
pub(crate) fn set_back(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.saturating_sub(by).unwrap_or(Timestamp::MIN)
}

/// The validity period of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lifetime {
    /// When it was requested.
    pub requested_at: Timestamp,
    /// When it expires: the start of the request plus `expires_in`.
    pub expires_at: Timestamp,
}

impl Lifetime {
    /// Whether a token of this lifetime can have been fetched by `now`. A record may be forged, or
    /// made by a wrong clock.
    pub fn is_plausible(&self, now: Timestamp) -> bool {
        let length = self.expires_at.duration_since(self.requested_at);
        self.requested_at.duration_since(now) <= CLOCK_TOLERANCE
            && length.is_positive()
            && length.unsigned_abs() <= LIFETIME_MAX
    }

    /// Returns its length, which is never negative.
    pub fn length(&self) -> SignedDuration {
        self.expires_at
            .duration_since(self.requested_at)
            .max(SignedDuration::ZERO)
    }
}

/// Returns when to renew: `renew_before` its expiry, by default a third of the lifetime, and up to
/// 5 % of the lifetime earlier by `jitter` (0 to 1).
pub(crate) fn renewal_at(
    lifetime: Lifetime,
    renew_before: Option<Duration>,
    jitter: f64,
) -> Timestamp {
    let length = lifetime.length().as_secs_f64();
    let before = renew_before
        .map_or(length / 3.0, |before| before.as_secs_f64())
        .min(length * RENEW_BEFORE_MAX);
    let early = (before + jitter.clamp(0.0, 1.0) * JITTER * length).min(length);
    lifetime.expires_at - SignedDuration::from_secs_f64(early)
}

/// Returns how much earlier a token may be renewed together with another one of its app.
pub(crate) fn together(lifetime: Lifetime) -> SignedDuration {
    SignedDuration::from_secs_f64(lifetime.length().as_secs_f64() * TOGETHER)
}

/// Whether `renew_before` exceeds what a lifetime allows.
pub(crate) fn is_clamped(lifetime: Lifetime, renew_before: Option<Duration>) -> bool {
    let max = lifetime.length().as_secs_f64() * RENEW_BEFORE_MAX;
    renew_before.is_some_and(|before| before.as_secs_f64() > max)
}

/// Returns a number from 0 to 1 that is the same after a restart and differs between apps and
/// expiries.
pub(crate) fn jitter(uid: &str, expires_at: Timestamp) -> f64 {
    let mut hash = Sha256::new_with_prefix(uid);
    hash.update(expires_at.as_second().to_be_bytes());
    let digest = hash.finalize();
    let number = u32::from_be_bytes(digest.first_chunk().copied().unwrap_or_default());
    f64::from(number) / f64::from(u32::MAX)
}
