//! Fetches of a token, and how they end.

use std::time::Duration;

use jiff::Timestamp;

use super::{ObjectVersion, TokenRecord};
use crate::api::{Cause, CredentialsSecretRef};
use crate::dingtalk::{Failure, Fingerprint};

/// An attempt that failed.
#[derive(Clone, Debug)]
pub struct FailedAttempt {
    /// Why.
    pub failure: Failure,
    /// The life of the token that is held and still valid.
    pub life_left: Option<Duration>,
    /// Whether the site is down for all, and not for this corp.
    pub is_site_down: bool,
    /// From 0 to 1, for the jitter.
    pub random: f64,
}

/// A fetch that is queued or in flight.
#[derive(Clone, Debug)]
pub struct Minting {
    /// Which fetch of this process.
    pub id: u64,
    /// Where from.
    pub site: String,
    /// For which organisation.
    pub corp_id: String,
    /// With which `client_id`.
    pub client_id: String,
    /// With which state of the credentials.
    pub credentials: ObjectVersion,
    /// The reference they were read through.
    pub reference: CredentialsSecretRef,
    /// What tells them from others.
    pub fingerprint: Fingerprint,
    /// Why.
    pub cause: Cause,
    /// The generation of the spec that asked for it.
    pub generation: Option<i64>,
    /// The request for renewal that it answers.
    pub request: Option<String>,
    /// `spec.renewBefore` at that time.
    pub renew_before: Option<Duration>,
    /// Since when.
    pub since: Timestamp,
}

impl Minting {
    /// Whether this fetch, of the same organisation, is needless once the other one got a token.
    pub fn is_answered_by(&self, other: &Self) -> bool {
        (&self.site, self.fingerprint, &self.request)
            == (&other.site, other.fingerprint, &other.request)
    }
}

/// Attempts that fail.
#[derive(Clone, Debug)]
pub struct Failing {
    /// The last failure.
    pub failure: Failure,
    /// How many in a row, for the pace.
    pub streak: u32,
    /// Since when, with this reason.
    pub since: Timestamp,
    /// Since when without a success between, whatever the reasons.
    pub streak_since: Timestamp,
    /// The generation of the spec that asked for it.
    pub generation: Option<i64>,
}

/// What is known of the token that a new one replaces.
#[derive(Clone, Copy, Default)]
pub struct Former<'a> {
    /// What is recorded of it.
    pub record: Option<&'a TokenRecord>,
    /// Whether its value is that of the new one, where the value itself is not known.
    pub has_same_value: bool,
}
