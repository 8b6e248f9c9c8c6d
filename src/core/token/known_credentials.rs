//! Credentials that were read, without their secret.

use jiff::Timestamp;

use crate::api::{CredentialsSecretRef, Reason};
use crate::core::token::record::{ObjectVersion, TokenRecord};
use crate::core::token::schedule::Schedule;
use crate::dingtalk::Fingerprint;

/// Why credentials cannot be used.
#[derive(Clone, Debug)]
pub(crate) struct CredentialsProblem {
    /// One of the reasons that begin with `Credentials`.
    pub reason: Reason,
    pub message: String,
    pub since: Timestamp,
    /// Version of the Secret; `None` if it does not exist.
    pub version: Option<ObjectVersion>,
    /// Generation of the spec, which names the keys.
    pub generation: Option<i64>,
    /// When to read them again without a change, which is noticed anyway.
    pub retry: Option<Schedule>,
}

/// Credentials that were read, without their secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownCredentials {
    /// The reference they were read through; another reference means other credentials.
    pub reference: CredentialsSecretRef,
    /// Their `client_id`.
    pub client_id: String,
    /// Version of the Secret.
    pub version: ObjectVersion,
    /// Fingerprint of `client_id` and client secret.
    pub fingerprint: Fingerprint,
}

impl KnownCredentials {
    /// Whether a token was fetched with these credentials, according to its record.
    pub fn fetched(&self, token: &TokenRecord) -> bool {
        token.credentials == self.version && token.client_id == self.client_id
    }

    /// Whether a token was fetched for the same client, with whichever secret: that may have revoked
    /// any older token of these credentials.
    pub fn shares_client(&self, token: &TokenRecord) -> bool {
        token.client_id() == Some(self.client_id.as_str())
    }
}
