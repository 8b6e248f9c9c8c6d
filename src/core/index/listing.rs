//! Lists of Secrets, and responses that may be older than a list.

use std::collections::HashSet;

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
}

/// Whether a list of `scope` (a namespace, or all) includes the objects of a namespace.
pub(super) fn in_scope(scope: Option<&str>, namespace: Option<&str>) -> bool {
    scope.is_none() || scope == namespace
}
