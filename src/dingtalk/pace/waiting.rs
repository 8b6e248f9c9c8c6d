//! A request that waits, and what it has in common with others.

use std::sync::Arc;

use super::{Call, CredentialsId, Rank};
use crate::dingtalk::Fingerprint;

/// What the requests of a line have in common.
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

/// The same token with the same credentials, whoever asks.
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

/// A request that waits.
pub(super) struct Waiting<J> {
    pub(super) call: Call,
    pub(super) rank: Rank,
    pub(super) job: J,
    pub(super) is_proven: bool,
    pub(super) arrival: u64,
}
