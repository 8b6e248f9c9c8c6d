//! Deletes Secrets that an app or a reference no longer wants, once none of their tokens is needed.

use std::collections::BTreeMap;

use crate::core::secret::target::TargetMeta;
use crate::core::secret::write::{Deletion, TARGET_STEPS_MAX};
use crate::core::token::record::{ObjectVersion, TokenRecord};

/// Returns the deletions of former Secrets, at most [`TARGET_STEPS_MAX`].
///
/// A Secret counts as the operator's own if its managed fields show that, or if this process wrote
/// it. Somebody's copy of such a Secret belongs to them. Those whose deletion failed and is not to
/// be retried yet are put off.
pub(in crate::core) fn unneeded<S>(
    former: &BTreeMap<&str, &TargetMeta>,
    has_written: impl Fn(&str, &TargetMeta) -> bool,
    is_put_off: impl Fn(&str) -> bool,
    mut is_needed: impl FnMut(&TokenRecord) -> bool,
    delete: impl Fn(String, ObjectVersion, Deletion) -> S,
) -> Vec<S> {
    let unneeded = former.iter().filter(|(name, secret)| {
        let is_own = secret.data_is_ours || has_written(name, secret);
        let mut tokens = secret.recorded.iter().flat_map(|recorded| &recorded.tokens);
        is_own && !secret.deleting && !is_put_off(name) && !tokens.any(&mut is_needed)
    });
    let deletions = unneeded
        .map(|(name, secret)| delete((*name).to_owned(), secret.version.clone(), Deletion::Former));
    deletions.take(TARGET_STEPS_MAX).collect()
}
