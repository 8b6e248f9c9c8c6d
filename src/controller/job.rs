//! A token to fetch.

use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;

use crate::api::AppRef;
use crate::core::Minting;
use crate::dingtalk::{AccessToken, Call, Credentials, Rank};

/// One token to fetch.
pub(super) struct Job {
    /// The app that asks for it.
    pub app: AppRef,
    /// What is fetched.
    pub minting: Minting,
    /// What the call counts against.
    pub call: Call,
    /// What goes before it.
    pub rank: Rank,
    /// The credentials.
    pub credentials: Arc<Credentials>,
    /// When the token that is held expires; `None` if there is none.
    pub expires_at: Option<Timestamp>,
    /// Since when the token has failed, if it has.
    pub failing_since: Option<Instant>,
    /// The token that is held, not to be shown if an answer repeats it.
    pub known: Option<AccessToken>,
    /// Since when it waits.
    pub queued_at: Instant,
}
