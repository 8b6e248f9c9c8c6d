//! Whether renewals before expiry extend a token, learned from earlier ones.
//!
//! DingTalk does not document what a repeated fetch returns. Similar endpoints return the same
//! token until the last minutes of its lifetime. What is learned is kept, so that searching for
//! that time costs a few calls once, rather than in each lifetime.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::core::token::schedule::{Lifetime, renewal_at, together};

/// Number of lifetimes after which an earlier renewal is tried again, in case DingTalk has changed.
const PROBE_EVERY: u32 = 32;
/// A renewal that extends nothing with at most this much left is the last before expiry: no
/// endpoint is known to return a new token later than two minutes before.
const LAST: SignedDuration = SignedDuration::from_secs(120);
/// The search plans nothing later than this, so that pods see the new token in time: the kubelet
/// takes up to 90 s.
const LATEST: SignedDuration = SignedDuration::from_secs(110);
/// Tolerance for round trips and whole seconds.
const SLACK: SignedDuration = SignedDuration::from_secs(5);

/// When to renew a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Renewals {
    /// At the usual time: as far as known, renewals extend the token.
    #[default]
    Usual,
    /// With at most `left` of the lifetime left: a renewal with more left extended nothing.
    Late {
        /// The remaining lifetime at the renewal.
        left: SignedDuration,
        /// Number of lifetimes since the usual time was last tried.
        lifetimes: u32,
    },
    /// Right after expiry: no renewal before it extended the token.
    AfterExpiry {
        /// Number of lifetimes since one was last tried.
        lifetimes: u32,
    },
}

impl Renewals {
    /// Infers what a former process had learned from its plan to fetch at `next`, after it reported
    /// that renewals at the usual time extend nothing.
    pub fn resumed(lifetime: Lifetime, renew_before: Option<Duration>, next: Timestamp) -> Self {
        // Without jitter, this is the latest usual time.
        let usual = renewal_at(lifetime, renew_before, 0.0);
        if next >= lifetime.expires_at {
            return Self::AfterExpiry { lifetimes: 0 };
        }
        match next.duration_since(usual) > SLACK {
            true => Self::late(lifetime.expires_at.duration_since(next)),
            false => Self::Usual,
        }
    }

    /// Returns when to renew a token of this lifetime.
    pub fn at(self, lifetime: Lifetime, renew_before: Option<Duration>, jitter: f64) -> Timestamp {
        let usual = renewal_at(lifetime, renew_before, jitter);
        let expires_at = lifetime.expires_at;
        match self {
            Self::Usual => usual,
            Self::Late { lifetimes, .. } if lifetimes >= PROBE_EVERY => usual,
            Self::Late { left, .. } => usual.max(expires_at - left),
            // Late, so that this also shows whether renewals have begun to extend late in a
            // lifetime.
            Self::AfterExpiry { lifetimes } if lifetimes >= PROBE_EVERY => {
                usual.max(expires_at - LATEST)
            }
            Self::AfterExpiry { .. } => expires_at + SignedDuration::from_secs(1),
        }
    }

    /// Counts a lifetime in which nothing was learned.
    #[must_use]
    pub fn next_lifetime(mut self) -> Self {
        if let Self::Late { lifetimes, .. } | Self::AfterExpiry { lifetimes } = &mut self {
            *lifetimes = lifetimes.saturating_add(1);
        }
        self
    }

    /// Updates what is known after a fetch at the time `at`, within the `lifetime` of an earlier
    /// token, whose renewal had this `jitter`. All times are by the operator's own clock.
    #[must_use]
    pub fn repeated(
        self,
        lifetime: Lifetime,
        renew_before: Option<Duration>,
        jitter: f64,
        at: Timestamp,
        is_extended: bool,
    ) -> Self {
        let left = lifetime.expires_at.duration_since(at);
        let planned = self.at(lifetime, renew_before, jitter);
        let is_usual = planned == renewal_at(lifetime, renew_before, jitter);
        // A fetch ahead of its time, such as a requested one, proves nothing if it extends nothing.
        let is_due = at >= planned - together(lifetime);
        match self {
            Self::Late { left: late, .. } if is_extended && !is_usual && left <= late + SLACK => {
                self.next_lifetime()
            }
            // Any other extension came earlier than expected, so the usual time may work again.
            _ if is_extended => Self::Usual,
            _ if !is_due => self,
            Self::Usual if left > LAST => Self::late(half_of(left)),
            Self::Usual => Self::late(left / 2),
            Self::Late { left: late, .. } if left > late => Self::late(late),
            // Closer to expiry: the renewal that extended the token may have been a borderline
            // case.
            Self::Late { .. } if left > LATEST + SLACK => Self::late(half_of(left)),
            Self::Late { .. } | Self::AfterExpiry { .. } => Self::AfterExpiry { lifetimes: 0 },
        }
    }

    fn late(left: SignedDuration) -> Self {
        Self::Late { left, lifetimes: 0 }
    }
}

/// Returns what is left at the next step of the search. The last two steps would be seconds apart if
/// one of them came just before the latest time.
fn half_of(left: SignedDuration) -> SignedDuration {
    match left / 2 {
        half if half > LAST => half,
        _ => LATEST,
    }
}
