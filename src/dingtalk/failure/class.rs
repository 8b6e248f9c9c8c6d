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

impl Class {
    /// Whether nothing but a change that a person makes will help.
    pub const fn needs_a_person(self) -> bool {
        matches!(self, Self::User | Self::Configuration)
    }

    /// Whether it is retried as soon as the spec changes.
    pub const fn is_retried_on_change(self) -> bool {
        self.needs_a_person() || matches!(self, Self::Quota)
    }

    /// Whether it applies to all requests of its scope, and no request for renewal ends it.
    pub const fn is_limit(self) -> bool {
        matches!(self, Self::Throttled { .. } | Self::Banned)
    }

    /// Whether the planned retry holds after a restart of the operator, even without a token.
    pub const fn outlives_restart(self) -> bool {
        self.is_limit() || matches!(self, Self::Quota)
    }

    /// Whether it is retried sooner if a valid token is about to expire.
    pub const fn is_hurried(self) -> bool {
        matches!(self, Self::Transient | Self::Unknown | Self::Garbled)
    }

    /// Whether several of them at the same time are an outage.
    pub const fn is_outage(self) -> bool {
        matches!(self, Self::Transient)
    }
}
