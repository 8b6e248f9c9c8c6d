//! Classes of failures, and all that follows from a class.

use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// Determines what follows from a failed fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The credentials, the app or the corp are wrong.
    User,
    /// The app's configuration is wrong.
    Configuration,
    /// A quota is used up.
    Quota,
    /// Too many requests.
    Throttled {
        /// Whether the limit is per minute.
        per_minute: bool,
    },
    /// DingTalk refuses requests for some time.
    Banned,
    /// A retry may succeed.
    Transient,
    /// No known cause.
    Unknown,
    /// Unusable response.
    Garbled,
}

/// The shortest and the longest wait of a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// The shortest wait.
    pub floor: Duration,
    /// The longest wait, unless DingTalk asked for a longer one.
    pub ceiling: Duration,
}

/// A limit for all requests of a scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// They are refused for some time.
    Ban,
    /// There were too many of them.
    Throttle {
        /// Whether the limit is per minute.
        per_minute: bool,
    },
}

/// What follows from a class, apart from its pace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is asked for alone")]
pub struct Traits {
    /// Nothing but a change that a person makes will help.
    pub needs_a_person: bool,
    /// Retried as soon as the spec changes.
    pub is_retried_on_change: bool,
    /// The limit for all requests of the failure's scope, which no request for renewal ends.
    pub limit: Option<Limit>,
    /// The planned retry holds after a restart of the operator, even without a token.
    pub outlives_restart: bool,
    /// Retried sooner if a valid token is about to expire.
    pub is_hurried: bool,
    /// Several of them at the same time are an outage.
    pub is_outage: bool,
}

impl Class {
    /// Returns what follows from the class, apart from its pace.
    pub const fn traits(self) -> Traits {
        let none = Traits {
            needs_a_person: false,
            is_retried_on_change: false,
            limit: None,
            outlives_restart: false,
            is_hurried: false,
            is_outage: false,
        };
        match self {
            Self::User | Self::Configuration => Traits {
                needs_a_person: true,
                is_retried_on_change: true,
                ..none
            },
            Self::Quota => Traits {
                is_retried_on_change: true,
                outlives_restart: true,
                ..none
            },
            Self::Throttled { per_minute } => Traits {
                limit: Some(Limit::Throttle { per_minute }),
                outlives_restart: true,
                ..none
            },
            Self::Banned => Traits {
                limit: Some(Limit::Ban),
                outlives_restart: true,
                ..none
            },
            Self::Transient => Traits {
                is_hurried: true,
                is_outage: true,
                ..none
            },
            Self::Unknown | Self::Garbled => Traits {
                is_hurried: true,
                ..none
            },
        }
    }

    /// Returns the pace after `streak` consecutive failures, starting at 1. [`Self::words`] describes
    /// it.
    pub fn pace(self, streak: u32) -> Pace {
        let doubling = |start: Duration, max: Duration| {
            start
                .saturating_mul(1 << streak.saturating_sub(1).min(16))
                .min(max)
        };
        let (floor, ceiling) = match self {
            Self::User => {
                let base = doubling(5 * MINUTE, HOUR);
                (base, (base + base / 10).min(HOUR))
            }
            Self::Configuration | Self::Quota => (HOUR, HOUR),
            Self::Throttled { per_minute: true } => (MINUTE, MINUTE + 10 * SECOND),
            Self::Throttled { per_minute: false } => {
                (doubling(SECOND, MINUTE), doubling(3 * SECOND, MINUTE))
            }
            Self::Banned => (5 * MINUTE, 5 * MINUTE + 30 * SECOND),
            Self::Transient if streak <= 7 => (SECOND, doubling(SECOND, MINUTE)),
            Self::Transient => (5 * MINUTE, 5 * MINUTE),
            Self::Unknown if streak <= 5 => (SECOND, doubling(SECOND, MINUTE)),
            Self::Unknown => (15 * MINUTE, 15 * MINUTE),
            Self::Garbled => {
                let base = doubling(30 * SECOND, 10 * MINUTE);
                (base, base)
            }
        };
        Pace { floor, ceiling }
    }

    /// Returns the class's name, and when its failures are retried, as users read them.
    pub const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::User => (
                "user",
                "as soon as the credentials or the spec change; otherwise after 5 minutes, doubling to 60",
            ),
            Self::Configuration | Self::Quota => (
                "configuration or quota",
                "as soon as the credentials or the spec change; otherwise every 60 minutes",
            ),
            Self::Throttled { per_minute: false } => (
                "throttled",
                "after 1 to 3 seconds, doubling to 60; a Retry-After header is honoured up to 10 minutes",
            ),
            Self::Throttled { per_minute: true } => {
                ("throttled per minute", "after at least 60 seconds")
            }
            Self::Banned => (
                "banned",
                "after 5 minutes, or longer if the response says so",
            ),
            Self::Transient => (
                "transient",
                "after 1 second, doubling to 60, then every 5 minutes; at most an eighth of the remaining lifetime",
            ),
            Self::Unknown => (
                "unknown",
                "five times like a transient failure, then every 15 minutes; at most an eighth of the remaining lifetime",
            ),
            Self::Garbled => (
                "garbled",
                "after 30 seconds, doubling to 10 minutes; at most an eighth of the remaining lifetime",
            ),
        }
    }
}
