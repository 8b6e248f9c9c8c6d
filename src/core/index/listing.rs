//! Lists of Secrets, and responses that may be older than a list.

use std::collections::{HashSet, VecDeque};

use super::names::SecretRef;
use crate::core::token::record::ObjectVersion;

/// A list of Secrets in progress.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// Secrets that the list contained so far.
    pub listed: HashSet<SecretRef>,
    /// Secrets that calls have returned meanwhile.
    pub answered: HashSet<SecretRef>,
}

/// What was known when a call about a Secret began; its response may come late.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// The version of the Secret, if known.
    pub was: Option<ObjectVersion>,
    /// How many lists of Secrets had ended.
    pub lists: u64,
    /// How many deletions were recorded in [`Deletions`].
    pub deletions: u64,
}

/// The last deletions of Secrets. Nothing else is kept of those that nobody wants any more.
#[derive(Debug, Default)]
pub(super) struct Deletions {
    last: VecDeque<SecretRef>,
    /// Number of deletions so far.
    pub count: u64,
}

impl Deletions {
    /// Most deletions to remember: more than happen during most calls.
    const MAX: usize = 256;

    pub fn record(&mut self, secret: SecretRef) {
        self.last.push_front(secret);
        self.last.truncate(Self::MAX);
        self.count += 1;
    }

    /// Whether the Secret may have been deleted since `count` deletions had been recorded.
    pub fn include(&self, secret: &SecretRef, count: u64) -> bool {
        let since = usize::try_from(self.count - count).unwrap_or(usize::MAX);
        since > Self::MAX || self.last.iter().take(since).any(|gone| gone == secret)
    }
}

/// Whether a list of `scope` (a namespace, or all) includes the objects of a namespace.
pub(super) fn in_scope(scope: Option<&str>, namespace: Option<&str>) -> bool {
    scope.is_none() || scope == namespace
}
