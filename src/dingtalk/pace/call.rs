//! A token request, and whom it concerns.

use std::sync::Arc;

use jiff::Timestamp;

use crate::dingtalk::Fingerprint;

/// The credentials that a request proves itself with.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CredentialsId {
    /// UID of the Secret that holds them.
    pub uid: Arc<str>,
    /// What tells their contents from others.
    pub fingerprint: Fingerprint,
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Call {
    /// The site's name.
    pub site: Arc<str>,
    /// The namespace whose turn it takes.
    pub namespace: Arc<str>,
    /// OAuth 2.0 `client_id`.
    pub client_id: Arc<str>,
    /// The organisation.
    pub corp_id: Arc<str>,
    /// The credentials.
    pub credentials: CredentialsId,
}

/// What goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// A token's very first attempt.
    First,
    /// The renewal of a token that is valid until then; the nearest expiry goes first.
    Renewal(Timestamp),
    /// A further attempt for a token that is missing or has expired.
    Retry,
}

/// How many classes [`Rank::class`] has.
pub(super) const CLASSES: usize = 3;

impl Rank {
    /// Namespaces take turns within a class.
    pub(super) fn class(self) -> usize {
        match self {
            Self::First => 0,
            Self::Renewal(_) => 1,
            Self::Retry => 2,
        }
    }
}
