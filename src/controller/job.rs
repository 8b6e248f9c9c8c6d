//! A token to fetch.

use std::sync::{Arc, PoisonError};
use std::time::Instant;

use jiff::Timestamp;

use super::index::AppRef;
use super::remembered::Remembered;
use crate::dingtalk::{AccessToken, Call, Credentials, Rank};
use crate::plan::Minting;

/// One token to fetch.
pub struct Job {
    /// The app that asks for it.
    pub app: AppRef,
    /// Its memory, where the outcome goes.
    pub memory: Remembered,
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
    /// Since when the corp has failed, if it has.
    pub failing_since: Option<Instant>,
    /// The token that is held, not to be shown if an answer repeats it.
    pub known: Option<AccessToken>,
    /// Since when it waits.
    pub queued_at: Instant,
}

impl Job {
    /// An abandoned job is not worth a call.
    pub fn is_wanted(&self) -> bool {
        let memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.awaits(&self.minting.corp_id, self.minting.id)
    }
}
