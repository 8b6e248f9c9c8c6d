//! The tokens that were issued, and what a repeated fetch does.

use std::collections::HashMap;
use std::fmt::Write as _;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::Settings;

/// What a fetch within the validity of an earlier token does. The real endpoint's way is not
/// documented.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Repeat {
    /// The same token, with a full life again.
    #[default]
    SameExtended,
    /// The same token; `expires_in` counts down.
    SameRemaining,
    /// A new token; the old one lives on.
    NewOverlap,
    /// A new token; the old one is revoked.
    NewRevoked,
    /// The same token, its life counting down, until the last seconds of its life (the setting
    /// `overlap`); then a new token, while the old one lives on.
    SameThenOverlap,
}

#[derive(Clone, Debug)]
struct Issued {
    holder: (String, String),
    expires_at: Timestamp,
}

/// Every token that is still valid, and the last one of each holder.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    valid: HashMap<String, Issued>,
    last: HashMap<(String, String), String>,
}

impl Tokens {
    /// Issues a token for an app in an organisation, `fresh` where it is a new one; gives it with its
    /// life in seconds.
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
        // What is left is told in whole seconds.
        let left = |token: &String| {
            let left = self.valid[token].expires_at.duration_since(now);
            left.as_secs().max(1)
        };
        let life = settings.expires_in;
        let token = match (last, settings.repeat) {
            (Some(token), Repeat::SameExtended) => token,
            // The token lives on as it did.
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

    /// Whose token it is, where it is valid.
    pub(crate) fn holder(&self, token: &str, now: Timestamp) -> Option<&(String, String)> {
        self.valid
            .get(token)
            .filter(|issued| issued.expires_at > now)
            .map(|issued| &issued.holder)
    }

    /// Whether a token has expired; the next fetch forgets it.
    pub(crate) fn has_expired(&self, token: &str, now: Timestamp) -> bool {
        self.valid
            .get(token)
            .is_some_and(|issued| issued.expires_at <= now)
    }

    /// The last token of an app in an organisation.
    pub(crate) fn last(&self, holder: &(String, String)) -> Option<&str> {
        self.last.get(holder).map(String::as_str)
    }
}

/// So many hexadecimal digits; a prefix takes the place of the first.
pub(crate) fn fresh(prefix: &str, length: usize) -> String {
    let mut digits = String::new();
    while digits.len() < length {
        let _ = write!(digits, "{:032x}", rand::random::<u128>());
    }
    digits.truncate(length);
    let kept = length.saturating_sub(prefix.len());
    format!("{prefix}{}", &digits[length - kept..])
}
