//! Tokens that are kept though nobody wants them, because an app went before it had written what was
//! fetched for it. The token in its Secret may be revoked, and the app may be served or created
//! again.

use jiff::Timestamp;

use super::{Token, Tokens};
use crate::api::AppRef;
use crate::core::token::attempt::TokenId;

/// Most tokens that are kept.
pub(super) const KEPT_MAX: usize = 1024;

impl Tokens {
    /// Drops the interest of an app that has not written what was fetched last.
    pub fn leave_unwritten(&mut self, id: TokenId, app: &AppRef) {
        self.keep(id);
        self.leave(id, app);
    }

    /// Keeps what was fetched last until it expires. If there are too many, the first to expire go.
    pub(super) fn keep(&mut self, id: TokenId) {
        let expires_at = self.get(id).and_then(Token::expires_at);
        self.kept.extend(expires_at.map(|at| (at, id)));
        while self.kept.len() > KEPT_MAX {
            self.keep_no_longer();
        }
    }

    /// Forgets what has expired.
    pub(super) fn forget_expired(&mut self, now: Timestamp) {
        while self.kept.first().is_some_and(|(at, _)| *at <= now) {
            self.keep_no_longer();
        }
    }

    fn keep_no_longer(&mut self) {
        if let Some((_, id)) = self.kept.pop_first() {
            self.forget_unwanted(id);
        }
    }

    pub(super) fn is_kept(&self, id: TokenId) -> bool {
        let expires_at = self.get(id).and_then(Token::expires_at);
        expires_at.is_some_and(|at| self.kept.contains(&(at, id)))
    }
}
