//! Lists of Secrets, and answers that may be older than a list.

use std::collections::HashSet;

use super::names::SecretRef;
use crate::core::token::record::ObjectVersion;

/// A list of Secrets that is under way.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// What it has.
    pub listed: HashSet<SecretRef>,
    /// What calls were answered with meanwhile.
    pub answered: HashSet<SecretRef>,
}

/// What was known when a call about a Secret began; its answer may come late.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// The state of the Secret, if it was known.
    pub was: Option<ObjectVersion>,
    /// How many lists of Secrets had ended.
    pub lists: u64,
}

/// Whether a list of `scope` (a namespace, or all) has the objects of a namespace.
pub(super) fn in_scope(scope: Option<&str>, namespace: Option<&str>) -> bool {
    scope.is_none() || scope == namespace
}
