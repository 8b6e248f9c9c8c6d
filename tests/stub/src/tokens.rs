//! Issued tokens, and what a repeated fetch returns.

use std::collections::HashMap;
use std::fmt::Write as _;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::Settings;

/// What a fetch returns while an earlier token is valid. DingTalk does not document what its endpoint does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Repeat {
    /// The same token, with a full lifetime again.
    #[default]
    SameExtended,
    /// The same token, with its remaining lifetime.
    SameRemaining,
    /// A new token; the old one remains valid.
    NewOverlap,
    /// A new token; the old one is revoked.
    NewRevoked,
    /// The same token, with its remaining lifetime, until `overlap` seconds before its expiry. Then a new token,
    /// and the old one remains valid.
    SameThenOverlap,
}

#[derive(Clone, Debug)]
struct Issued {
    holder: (String, String),
    expires_at: Timestamp,
}

/// All valid tokens, and the last token of each holder.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    valid: HashMap<String, Issued>,
    last: HashMap<(String, String), String>,
}

impl Tokens {
    /// Issues a token for a client_id and corpId: `fresh`, or an earlier one. Returns it with its lifetime in
    /// seconds.
    pub(crate) fn issue(
        &mut self,
        holder: (String, String),
        settings: &Settings,
        fresh: String,
        now: Timestamp,
    ) -> (String, i64) {
        self.valid.retain(|_, issued| issued.expires_at > now);
        let last = self
            .last
            .get(&holder)
            .filter(|token| self.valid.contains_key(*token))
            .cloned();
        // Lifetimes are whole seconds.
        let left = |token: &String| {
            let left = self.valid[token].expires_at.duration_since(now);
            left.as_secs().max(1)
        };
        let life = settings.expires_in;
        let token = match (last, settings.repeat) {
            (Some(token), Repeat::SameExtended) => token,
            // Its expiry does not change.
            (Some(token), Repeat::SameRemaining) => {
                let left = left(&token);
                return (token, left);
            }
            (Some(token), Repeat::SameThenOverlap) if left(&token) > settings.overlap => {
                let left = left(&token);
                return (token, left);
            }
            (Some(old), Repeat::NewRevoked) => {
                self.valid.remove(&old);
                fresh
            }
            (_, _) => fresh,
        };
        let expires_at = now
            .saturating_add(SignedDuration::from_secs(life))
            .unwrap_or(Timestamp::MAX);
        self.valid.insert(
            token.clone(),
            Issued {
                holder: holder.clone(),
                expires_at,
            },
        );
        self.last.insert(holder, token.clone());
        (token, life)
    }

    /// Returns the client_id and corpId of a token; `None` if it is not valid.
    pub(crate) fn holder(&self, token: &str, now: Timestamp) -> Option<&(String, String)> {
        self.valid
            .get(token)
            .filter(|issued| issued.expires_at > now)
            .map(|issued| &issued.holder)
    }

    /// Whether a token has expired. Expired tokens are forgotten at the next fetch.
    pub(crate) fn has_expired(&self, token: &str, now: Timestamp) -> bool {
        self.valid
            .get(token)
            .is_some_and(|issued| issued.expires_at <= now)
    }

    /// Returns the last token for a client_id and corpId.
    pub(crate) fn last(&self, holder: &(String, String)) -> Option<&str> {
        self.last.get(holder).map(String::as_str)
    }
}

/// Returns a random token of hexadecimal digits; `prefix` replaces the first ones.
pub(crate) fn fresh(prefix: &str, length: usize) -> String {
    let mut digits = String::new();
    while digits.len() < length {
        let _ = write!(digits, "{:032x}", rand::random::<u128>());
    }
    digits.truncate(length);
    let kept = length.saturating_sub(prefix.len());
    format!("{prefix}{}", &digits[length - kept..])
}
