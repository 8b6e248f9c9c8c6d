//! When a token is renewed.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};

use crate::dingtalk::LIFETIME_MAX;

/// The clocks of two nodes differ by no more; a record from further in the future is not believed.
pub(crate) const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_secs(60);
/// Two fetches of one token that both bring nothing are at least this far apart.
pub(crate) const FETCH_FLOOR: SignedDuration = SignedDuration::from_secs(5);
/// Expiries this close are the same expiry, seen through two round trips.
pub(in crate::core) const SAME_EXPIRY: SignedDuration = SignedDuration::from_secs(5);
/// Renewals that are due together are spread over this part of the lifetime.
const JITTER: f64 = 0.05;
/// Tokens of one app that are due within this part of their lifetime are renewed together.
const TOGETHER: f64 = 0.02;
/// More than this part of the lifetime before expiry, a renewal would come at once, again and again.
const RENEW_BEFORE_MAX: f64 = 0.9;

/// A time to come, and when it was decided on: a clock that is set back moves both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Schedule {
    decided_at: Timestamp,
    /// The time.
    pub at: Timestamp,
}

impl Schedule {
    /// `wait` from now on.
    pub(crate) fn after(now: Timestamp, wait: Duration) -> Self {
        let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX);
        Self::at(now, now.saturating_add(wait).unwrap_or(Timestamp::MAX))
    }

    /// A time, decided on now.
    pub(crate) fn at(now: Timestamp, at: Timestamp) -> Self {
        Self {
            decided_at: now,
            at,
        }
    }

    /// A clock that was set back must not put anything off by as much.
    pub(crate) fn notice_clock(&mut self, now: Timestamp) {
        if now < self.decided_at {
            let wait = self.at.duration_since(self.decided_at);
            *self = Self::at(now, now.saturating_add(wait).unwrap_or(Timestamp::MAX));
        }
    }
}

/// From when to when a token is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// When it was requested.
    pub minted_at: Timestamp,
    /// When it expires: the request's start and what the endpoint gave.
    pub expires_at: Timestamp,
}

impl Lifetime {
    /// Whether such a token can have been fetched by `now`: a record may be forged, or of a clock
    /// that was wrong.
    pub fn is_plausible(&self, now: Timestamp) -> bool {
        let length = self.expires_at.duration_since(self.minted_at);
        self.minted_at.duration_since(now) <= CLOCK_TOLERANCE
            && length.is_positive()
            && length.unsigned_abs() <= LIFETIME_MAX
    }

    /// Its length; never negative.
    pub fn length(&self) -> SignedDuration {
        self.expires_at
            .duration_since(self.minted_at)
            .max(SignedDuration::ZERO)
    }
}

/// When to renew: `renew_before` its expiry, by default a third of the lifetime, up to 5 % of the
/// lifetime earlier by `jitter` (0 to 1).
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

/// How much ahead of its time a token is renewed where another of the same app is due.
pub(crate) fn together(lifetime: Lifetime) -> SignedDuration {
    SignedDuration::from_secs_f64(lifetime.length().as_secs_f64() * TOGETHER)
}

/// Whether `renew_before` is more than a lifetime allows.
pub(crate) fn is_clamped(lifetime: Lifetime, renew_before: Option<Duration>) -> bool {
    let max = lifetime.length().as_secs_f64() * RENEW_BEFORE_MAX;
    renew_before.is_some_and(|before| before.as_secs_f64() > max)
}

/// A number from 0 to 1 that is the same after a restart, and another for each app and expiry.
pub(crate) fn jitter(uid: &str, expires_at: Timestamp) -> f64 {
    let mut hash = Sha256::new_with_prefix(uid);
    hash.update(expires_at.as_second().to_be_bytes());
    let digest = hash.finalize();
    let number = u32::from_be_bytes(digest.first_chunk().copied().unwrap_or_default());
    f64::from(number) / f64::from(u32::MAX)
}
