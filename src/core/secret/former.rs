//! Deletes Secrets that an app or a reference no longer wants, once none of their tokens is needed.

use std::borrow::Borrow;
use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::core::secret::target::TargetMeta;
use crate::core::secret::write::{Deletion, TARGET_STEPS_MAX};
use crate::core::secret::writing::Writing;
use crate::core::token::record::{ObjectVersion, TokenRecord};

/// Returns the deletions of former Secrets, at most [`TARGET_STEPS_MAX`], of the app or reference
/// with this UID and generation.
///
/// A Secret counts as the operator's own if its managed fields show that, or if this process wrote
/// it. Somebody's copy of such a Secret belongs to them. Those whose deletion failed and is not to
/// be retried yet are put off.
pub(in crate::core) fn unneeded<W: Borrow<Writing>, S>(
    former: &BTreeMap<&str, &TargetMeta>,
    writings: &BTreeMap<String, W>,
    (uid, generation): (&str, Option<i64>),
    now: Timestamp,
    mut is_needed: impl FnMut(&TokenRecord) -> bool,
    delete: impl Fn(String, ObjectVersion, Deletion) -> S,
) -> Vec<S> {
    let unneeded = former.iter().filter(|(name, secret)| {
        let writing: Option<&Writing> = writings.get(**name).map(Borrow::borrow);
        let is_own = secret.data_is_ours || writing.is_some_and(|it| it.has_written(secret, uid));
        let is_put_off = writing.is_some_and(|it| it.delete_at(generation, now).is_some());
        let mut tokens = secret.recorded.iter().flat_map(|recorded| &recorded.tokens);
        is_own && !secret.deleting && !is_put_off && !tokens.any(&mut is_needed)
    });
    let deletions = unneeded
        .map(|(name, secret)| delete((*name).to_owned(), secret.version.clone(), Deletion::Former));
    deletions.take(TARGET_STEPS_MAX).collect()
}

/// Returns when the first of the deletions that failed is retried.
pub(in crate::core) fn deletion_retried_at<W: Borrow<Writing>>(
    writings: &BTreeMap<String, W>,
    generation: Option<i64>,
    now: Timestamp,
) -> Option<Timestamp> {
    let retry_at = |writing: &W| writing.borrow().delete_at(generation, now);
    writings.values().filter_map(retry_at).min()
}
