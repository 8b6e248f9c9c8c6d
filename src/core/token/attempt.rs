//! Fetches of a token, and how they end.

use std::time::Duration;

use jiff::Timestamp;

use crate::api::{Cause, CredentialsSecretRef};
use crate::core::token::record::{ObjectVersion, TokenRecord};
use crate::dingtalk::Failure;

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

/// A token of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenId(pub(in crate::core) u64);

/// A fetch of this process; later ones are greater.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct FetchId(pub(in crate::core) u64);

/// A fetch that is queued or in flight.
#[derive(Clone, Debug)]
pub struct Minting {
    /// Which fetch of this process.
    pub id: FetchId,
    /// Of which token.
    pub token: TokenId,
    /// The UID of the app that asks for it.
    pub uid: String,
    /// With which state of the credentials.
    pub credentials: ObjectVersion,
    /// The reference they were read through.
    pub reference: CredentialsSecretRef,
    /// Why.
    pub cause: Cause,
    /// The generation of the spec that asks for it.
    pub generation: Option<i64>,
    /// `spec.renewBefore` of that spec.
    pub renew_before: Option<Duration>,
    /// What is known of the token that a new one is to replace.
    pub former: Option<TokenRecord>,
    /// Since when.
    pub since: Timestamp,
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
    /// The UID of the app that asked for the last attempt.
    pub uid: String,
    /// The generation of that app's spec.
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
