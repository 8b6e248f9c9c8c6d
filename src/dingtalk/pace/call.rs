//! Token requests and their ranks.

use std::sync::Arc;

use jiff::Timestamp;
use strum::EnumDiscriminants;

use crate::dingtalk::Fingerprint;

/// Identifies the credentials of a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CredentialsId {
    /// UID of the credentials Secret.
    pub uid: Arc<str>,
    /// Hash of the credentials.
    pub fingerprint: Fingerprint,
}

/// A token request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Call {
    /// Name of the site.
    pub site: Arc<str>,
    /// Namespace that the request counts against; namespaces take turns.
    pub namespace: Arc<str>,
    /// OAuth 2.0 `client_id`.
    pub client_id: Arc<str>,
    /// The corp to fetch a token for.
    pub corp_id: Arc<str>,
    /// The credentials to use.
    pub credentials: CredentialsId,
}

/// Priority of a request, highest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, EnumDiscriminants)]
#[strum_discriminants(
    name(RankKind),
    derive(PartialOrd, Ord),
    doc = "A [`Rank`] without its time."
)]
pub enum Rank {
    /// First attempt to fetch a token.
    First,
    /// Renewal of a token that expires at this time; the earliest expiry comes first.
    Renewal(Timestamp),
    /// Further attempt for a token that is missing or has expired.
    Retry,
}
