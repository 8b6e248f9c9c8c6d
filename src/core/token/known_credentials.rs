//! Credentials as they were read, without what is secret of them.

use jiff::Timestamp;

use crate::api::{CredentialsSecretRef, Reason};
use crate::core::token::record::{ObjectVersion, TokenRecord};
use crate::core::token::schedule::Schedule;
use crate::dingtalk::Fingerprint;

/// Credentials that cannot be used.
#[derive(Clone, Debug)]
pub(crate) struct CredentialsProblem {
    /// One of the reasons that begin with `Credentials`.
    pub reason: Reason,
    /// What is wrong.
    pub message: String,
    /// Since when.
    pub since: Timestamp,
    /// In which state of the Secret; `None` if there is none.
    pub version: Option<ObjectVersion>,
    /// With which generation of the spec, which names the keys.
    pub generation: Option<i64>,
    /// When to look again by itself; a change is noticed anyway.
    pub retry: Option<Schedule>,
}

/// Credentials that were read, without what is secret of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownCredentials {
    /// The reference they were read through: another one means other credentials.
    pub reference: CredentialsSecretRef,
    /// Their `client_id`.
    pub client_id: String,
    /// In which state of the Secret.
    pub version: ObjectVersion,
    /// What tells them from others.
    pub fingerprint: Fingerprint,
}

impl KnownCredentials {
    /// Whether a record says that its token was fetched with these.
    pub fn fetched(&self, token: &TokenRecord) -> bool {
        token.credentials == self.version && token.client_id == self.client_id
    }
}
