//! Queued requests and the keys by which they are grouped.

use std::sync::Arc;

use super::{Call, CredentialsId, Rank};
use crate::dingtalk::Fingerprint;

/// Identifies a line: the requests of one namespace with the same credentials.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct LineKey {
    pub(super) namespace: Arc<str>,
    pub(super) client_id: Arc<str>,
    pub(super) credentials: CredentialsId,
}

impl LineKey {
    pub(super) fn of(call: &Call) -> Self {
        Self {
            namespace: Arc::clone(&call.namespace),
            client_id: Arc::clone(&call.client_id),
            credentials: call.credentials.clone(),
        }
    }
}

/// Identifies requests for the same token with the same credentials, in any namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Twin {
    client_id: Arc<str>,
    corp_id: Arc<str>,
    fingerprint: Fingerprint,
}

impl Twin {
    pub(super) fn of(call: &Call) -> Self {
        Self {
            client_id: Arc::clone(&call.client_id),
            corp_id: Arc::clone(&call.corp_id),
            fingerprint: call.credentials.fingerprint,
        }
    }
}

/// A queued request.
pub(super) struct Waiting<J> {
    pub(super) call: Call,
    pub(super) rank: Rank,
    pub(super) job: J,
    pub(super) arrival: u64,
}
