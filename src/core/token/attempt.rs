//! Fetches of a token, and how they end.

use std::time::Duration;

use jiff::Timestamp;

use crate::api::CredentialsSecretRef;
use crate::core::token::record::{ObjectVersion, TokenRecord};
use crate::core::token::why::Why;
use crate::dingtalk::Failure;

/// A failed fetch.
#[derive(Clone, Debug)]
pub struct FailedAttempt {
    /// Why it failed.
    pub failure: Failure,
    /// Remaining lifetime of the token that is still held, if it is valid.
    pub life_left: Option<Duration>,
    /// Whether the site is down for everybody, not only for this corp.
    pub is_site_down: bool,
    /// A number from 0 to 1, for the jitter.
    pub random: f64,
}

/// ID of a token, unique in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenId(pub(in crate::core) u64);

/// ID of a fetch, unique in this process; later ones are greater.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct FetchId(pub(in crate::core) u64);

/// A fetch that is queued or in flight.
#[derive(Clone, Debug)]
pub struct PendingFetch {
    /// ID of the fetch.
    pub id: FetchId,
    /// The token to fetch.
    pub token: TokenId,
    /// Namespace and name of the requesting app, as one text.
    pub app: Box<str>,
    /// UID of that app.
    pub uid: String,
    /// Version of the credentials Secret.
    pub credentials: ObjectVersion,
    /// The reference that the credentials were read through.
    pub reference: CredentialsSecretRef,
    /// Why it is made.
    pub why: Why,
    /// Generation of the requesting app's spec.
    pub generation: Option<i64>,
    /// `spec.renewBefore` of that spec.
    pub renew_before: Option<Duration>,
    /// The record of the token to be replaced.
    pub former: Option<TokenRecord>,
    /// When it was queued.
    pub since: Timestamp,
}

/// Failures since the last success.
#[derive(Clone, Debug)]
pub struct Failing {
    /// The last failure.
    pub failure: Failure,
    /// Consecutive failures of the same class, for the backoff.
    pub streak: u32,
    /// Since when attempts fail for this reason.
    pub since: Timestamp,
    /// Since when attempts fail, for any reason.
    pub streak_since: Timestamp,
    /// UID of the app that requested the last attempt.
    pub uid: String,
    /// Generation of that app's spec.
    pub generation: Option<i64>,
}

/// What is known about the token that a new one replaces.
#[derive(Clone, Copy, Default)]
pub struct Former<'a> {
    /// The record, if there is one.
    pub record: Option<&'a TokenRecord>,
    /// Whether its value equals the new one's, used if its value is unknown.
    pub has_same_value: bool,
}
