//! Classes of failures, and all that follows from a class but its pace.

/// Determines when a failed fetch is retried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The credentials, the app or the corp are wrong. Retried after 5 to 60 min.
    User,
    /// The app's configuration is wrong. Retried every 60 min.
    Configuration,
    /// A quota is used up. Retried every 60 min.
    Quota,
    /// Too many requests. Retried after 1 to 3 s, doubling up to 60 s.
    Throttled {
        /// Whether the limit is per minute; if so, the wait is at least 60 s.
        per_minute: bool,
    },
    /// DingTalk refuses requests for some time. Retried after at least 5 min.
    Banned,
    /// A retry may succeed. Retried after 1 s, doubling up to 60 s, then every 5 min.
    Transient,
    /// No known cause. Retried five times like `Transient`, then every 15 min.
    Unknown,
    /// Unusable response. Retried after 30 s, doubling up to 10 min.
    Garbled,
}

/// What follows from a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is asked for alone")]
pub struct Traits {
    /// Nothing but a change that a person makes will help.
    pub needs_a_person: bool,
    /// Retried as soon as the spec changes.
    pub is_retried_on_change: bool,
    /// Applies to all requests of its scope, and no request for renewal ends it.
    pub is_limit: bool,
    /// The planned retry holds after a restart of the operator, even without a token.
    pub outlives_restart: bool,
    /// Retried sooner if a valid token is about to expire.
    pub is_hurried: bool,
    /// Several of them at the same time are an outage.
    pub is_outage: bool,
}

impl Class {
    /// Returns what follows from the class.
    pub const fn traits(self) -> Traits {
        let none = Traits {
            needs_a_person: false,
            is_retried_on_change: false,
            is_limit: false,
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
            Self::Throttled { .. } | Self::Banned => Traits {
                is_limit: true,
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
}
