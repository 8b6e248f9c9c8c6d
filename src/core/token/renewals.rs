//! Whether renewals ahead of expiry bring more life, learnt from those that were made.
//!
//! DingTalk does not document what a repeated fetch returns. Some of its relatives return the same
//! token until the last minutes of its life. What is learnt is kept, so that searching for that time
//! costs a few calls once, and not in each lifetime.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::core::token::schedule::{Lifetime, renewal_at, together};

/// Once in so many lifetimes, an earlier renewal shows whether the endpoint has changed its ways.
const PROBE_EVERY: u32 = 32;
/// A renewal that brings nothing with no more life left than this is the last one before expiry:
/// nobody is known to return a new token later than two minutes ahead.
const LAST: SignedDuration = SignedDuration::from_secs(120);
/// The search plans nothing later than this, so that pods see the new token in time: the kubelet
/// takes up to 90 s.
const LATEST: SignedDuration = SignedDuration::from_secs(110);
/// What round trips and whole seconds make of one and the same time.
const SLACK: SignedDuration = SignedDuration::from_secs(5);

/// When a token is renewed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Renewals {
    /// At the usual time: renewals bring more life as far as is known.
    #[default]
    Usual,
    /// When `left` or less of its life remains: with more left, a renewal brought nothing.
    Late {
        /// The life that is left then.
        left: SignedDuration,
        /// For how many lifetimes the usual time was not tried.
        lifetimes: u32,
    },
    /// Right after expiry: no renewal ahead of it brought anything.
    AfterExpiry {
        /// For how many lifetimes none was tried.
        lifetimes: u32,
    },
}

/// A fetch within the life of an earlier token, by the operator's own clock.
#[derive(Clone, Copy, Debug)]
pub struct Repeated {
    /// The life of the earlier token.
    pub lifetime: Lifetime,
    /// `spec.renewBefore`.
    pub renew_before: Option<Duration>,
    /// The jitter of the earlier token's renewal.
    pub jitter: f64,
    /// When it was fetched.
    pub at: Timestamp,
    /// Whether it brought more life.
    pub is_extended: bool,
}

impl Renewals {
    /// What is to be taken from a former process's plan to fetch at `next`, after it had said that
    /// renewals at the usual time bring nothing.
    pub fn resumed(lifetime: Lifetime, renew_before: Option<Duration>, next: Timestamp) -> Self {
        // Without jitter: the latest of what is usual.
        let usual = renewal_at(lifetime, renew_before, 0.0);
        if next >= lifetime.expires_at {
            return Self::AfterExpiry { lifetimes: 0 };
        }
        match next.duration_since(usual) > SLACK {
            true => Self::Late {
                left: lifetime.expires_at.duration_since(next),
                lifetimes: 0,
            },
            false => Self::Usual,
        }
    }

    /// When a token of this life is renewed.
    pub fn at(self, lifetime: Lifetime, renew_before: Option<Duration>, jitter: f64) -> Timestamp {
        let usual = renewal_at(lifetime, renew_before, jitter);
        let expires_at = lifetime.expires_at;
        match self {
            Self::Usual => usual,
            Self::Late { lifetimes, .. } if lifetimes >= PROBE_EVERY => usual,
            Self::Late { left, .. } => usual.max(expires_at - left),
            // Late, so that it shows as well whether renewals have begun to extend late in a life.
            Self::AfterExpiry { lifetimes } if lifetimes >= PROBE_EVERY => {
                usual.max(expires_at - LATEST)
            }
            Self::AfterExpiry { .. } => expires_at + SignedDuration::from_secs(1),
        }
    }

    /// What is known after a token had expired before the next one was fetched.
    #[must_use]
    pub fn expired(self) -> Self {
        match self {
            Self::Usual => Self::Usual,
            Self::Late { left, lifetimes } => Self::Late {
                left,
                lifetimes: lifetimes.saturating_add(1),
            },
            Self::AfterExpiry { lifetimes } => Self::AfterExpiry {
                lifetimes: lifetimes.saturating_add(1),
            },
        }
    }

    /// What is known after a fetch within the life of an earlier token.
    #[must_use]
    pub fn repeated(self, repeated: &Repeated) -> Self {
        let Repeated {
            lifetime,
            renew_before,
            jitter,
            ..
        } = *repeated;
        let left = lifetime.expires_at.duration_since(repeated.at);
        let planned = self.at(lifetime, renew_before, jitter);
        let is_usual = planned == renewal_at(lifetime, renew_before, jitter);
        // One that came before its time, on request say, proves nothing by bringing nothing.
        let is_due = repeated.at >= planned - together(lifetime);
        match self {
            Self::Late {
                left: late,
                lifetimes,
            } if repeated.is_extended && !is_usual && left <= late + SLACK => Self::Late {
                left: late,
                lifetimes: lifetimes.saturating_add(1),
            },
            // Whatever else extended, it did so earlier than expected: the usual time may do again.
            _ if repeated.is_extended => Self::Usual,
            _ if !is_due => self,
            Self::Usual => Self::late(if left > LAST {
                LATEST.max(left / 2)
            } else {
                left / 2
            }),
            Self::Late { left: late, .. } if left > late => Self::late(late),
            // Up to the latest: one that brought more life may have come at the very edge.
            Self::Late { .. } if left > LATEST + SLACK => Self::late(LATEST.max(left / 2)),
            Self::Late { .. } | Self::AfterExpiry { .. } => Self::AfterExpiry { lifetimes: 0 },
        }
    }

    fn late(left: SignedDuration) -> Self {
        Self::Late { left, lifetimes: 0 }
    }
}
