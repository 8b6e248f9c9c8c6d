//! A token request, and whom it concerns.

use std::sync::Arc;

use jiff::Timestamp;
use strum::EnumDiscriminants;

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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, EnumDiscriminants)]
#[strum_discriminants(name(RankKind), doc = "A [`Rank`] without its time.")]
pub enum Rank {
    /// A token's very first attempt.
    First,
    /// The renewal of a token that is valid until then; the nearest expiry goes first.
    Renewal(Timestamp),
    /// A further attempt for a token that is missing or has expired.
    Retry,
}

/// What requests of one kind have; namespaces take turns within a kind.
#[derive(Default)]
pub(super) struct ByKind<T> {
    first: T,
    renewal: T,
    retry: T,
}

/// The kinds, those that go first before the others.
pub(super) type Precedence = [RankKind; 3];

impl<T> ByKind<T> {
    pub(super) fn of(&self, kind: RankKind) -> &T {
        match kind {
            RankKind::First => &self.first,
            RankKind::Renewal => &self.renewal,
            RankKind::Retry => &self.retry,
        }
    }

    pub(super) fn of_mut(&mut self, kind: RankKind) -> &mut T {
        match kind {
            RankKind::First => &mut self.first,
            RankKind::Renewal => &mut self.renewal,
            RankKind::Retry => &mut self.retry,
        }
    }

    pub(super) fn all(&self) -> [&T; 3] {
        [&self.first, &self.renewal, &self.retry]
    }
}
