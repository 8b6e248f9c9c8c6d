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
    last: VecDeque<Deleted>,
    /// Number of deletions so far.
    pub count: u64,
}

#[derive(Debug)]
struct Deleted {
    secret: SecretRef,
    /// The version that was deleted, if known and no list has begun since.
    version: Option<ObjectVersion>,
}

impl Deletions {
    /// Most deletions to remember: those of an app with a thousand Secrets.
    const MAX: usize = 1024;

    pub fn record(&mut self, secret: SecretRef, version: Option<ObjectVersion>) {
        self.last.push_front(Deleted { secret, version });
        self.last.truncate(Self::MAX);
        self.count += 1;
    }

    /// Whether the Secret may have been deleted since `count` deletions had been recorded.
    pub fn include(&self, secret: &SecretRef, count: u64) -> bool {
        let since = usize::try_from(self.count - count).unwrap_or(usize::MAX);
        let mut last = self.last.iter().take(since);
        since > Self::MAX || last.any(|gone| gone.secret == *secret)
    }

    /// Whether this version was deleted, or a later one of the same Secret. The watch may report it
    /// after the response to the operator's own deletion.
    pub fn include_version(&self, secret: &SecretRef, version: &ObjectVersion) -> bool {
        let last = self.last.iter().filter(|gone| gone.secret == *secret);
        last.filter_map(|gone| gone.version.as_ref())
            .any(|gone| gone.uid == version.uid && !version.is_newer_than(gone))
    }

    /// Records that a list of `scope` begins: a Secret in it exists, even if a restored backup of
    /// etcd brought it back.
    pub fn listing(&mut self, scope: Option<&str>) {
        for gone in &mut self.last {
            if in_scope(scope, Some(&gone.secret.0)) {
                gone.version = None;
            }
        }
    }
}

/// Whether a list of `scope` (a namespace, or all) includes the objects of a namespace.
pub(super) fn in_scope(scope: Option<&str>, namespace: Option<&str>) -> bool {
    scope.is_none() || scope == namespace
}
