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
#[strum_discriminants(name(RankKind), doc = "A [`Rank`] without its time.")]
pub enum Rank {
    /// First attempt to fetch a token.
    First,
    /// Renewal of a token that expires at this time; the earliest expiry comes first.
    Renewal(Timestamp),
    /// Further attempt for a token that is missing or has expired.
    Retry,
}

/// One value for each kind of rank. Namespaces take turns within a kind.
#[derive(Default)]
pub(super) struct ByKind<T> {
    first: T,
    renewal: T,
    retry: T,
}

/// All kinds, highest priority first.
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
