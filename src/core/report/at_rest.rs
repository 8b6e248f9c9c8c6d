//! An app at rest.

use jiff::Timestamp;

use crate::api::{DingTalkApp, DingTalkAppStatus};
use crate::core::app::memory::Memory;
use crate::core::app::view::Settled;
use crate::core::token::schedule::Lifetime;
use crate::core::token::tokens::Tokens;

/// An app at rest, and what else its status is made from.
pub(crate) struct AtRest<'a> {
    pub app: &'a DingTalkApp,
    pub settled: &'a Settled,
    pub memory: &'a Memory,
    pub tokens: &'a Tokens,
    pub previous: &'a DingTalkAppStatus,
    pub now: Timestamp,
}

impl AtRest<'_> {
    /// Returns the lifetimes of the tokens in its Secrets.
    pub(super) fn lives(&self) -> impl Iterator<Item = Lifetime> {
        self.settled.corps.iter().filter_map(|corp| corp.in_secret)
    }
}
