//! A token to fetch.

use std::time::Instant;

use jiff::Timestamp;

use super::reads::SharedCredentials;
use crate::api::AppRef;
use crate::core::PendingFetch;
use crate::dingtalk::{AccessToken, Call, Rank};

pub(super) struct Job {
    /// The requesting app.
    pub app: AppRef,
    pub pending: PendingFetch,
    /// What the call counts against.
    pub call: Call,
    pub rank: Rank,
    pub credentials: SharedCredentials,
    /// When the present token expires; `None` if there is none.
    pub expires_at: Option<Timestamp>,
    /// Since when the token's fetches have failed, if they have.
    pub failing_since: Option<Instant>,
    /// The value that is held. Messages from DingTalk that repeat it are dropped.
    pub known: Option<AccessToken>,
    pub queued_at: Instant,
}
