//! Why a token was fetched or a Secret written.

use crate::api::Cause;

/// A cause, and what it refers to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Why {
    /// The cause.
    pub cause: Cause,
    /// The app that the token was taken over from, as `namespace/name`.
    pub shared_by: Option<Box<str>>,
    /// The renewal request that the fetch answers: a value of the annotation
    /// `renew-requested-at`.
    pub renew_requested_at: Option<Box<str>>,
}

impl Why {
    /// Returns the reason to take over a token of this app.
    pub fn shared_by(app: &str) -> Self {
        Self {
            shared_by: Some(app.into()),
            ..Cause::TokenShared.into()
        }
    }
}

impl From<Cause> for Why {
    fn from(cause: Cause) -> Self {
        Self {
            cause,
            shared_by: None,
            renew_requested_at: None,
        }
    }
}
