//! Deletes former copies once their tokens are in other ones.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;

use super::next::CopyStep;
use super::view::{CopySeen, ReferenceMemory, ReferenceView};
use crate::core::secret::former::unneeded;
use crate::core::secret::recorded::Recorded;
use crate::core::token::record::TokenRecord;

/// Returns the deletions of former copies none of whose tokens is needed.
pub(super) fn delete_former(
    view: &ReferenceView<'_>,
    memory: &ReferenceMemory,
    now: Timestamp,
    is_needed: impl FnMut(&TokenRecord) -> bool,
) -> Vec<CopyStep> {
    let generation = view.reference.metadata.generation;
    unneeded(
        &view.former,
        &memory.writings,
        (&memory.uid, generation),
        now,
        is_needed,
        |name, version, why| CopyStep::Delete { name, version, why },
    )
}

/// What the copies hold, computed once: a thousand former copies are compared with a thousand
/// others.
pub(super) struct Shown<'a> {
    /// Per corp, when the newest token in any copy was requested.
    requested_at: HashMap<&'a str, Timestamp>,
    /// The corps in the app's Secrets; `None` if one of the Secrets is unknown.
    wanted: Option<HashSet<&'a str>>,
}

impl<'a> Shown<'a> {
    pub(super) fn by(copies: &'a [CopySeen<'a>]) -> Self {
        let mut requested_at = HashMap::new();
        let present = copies
            .iter()
            .filter_map(|copy| copy.present?.recorded.as_ref());
        for token in present.flat_map(|recorded| &recorded.tokens) {
            let at = token.lifetime.requested_at;
            let newest = requested_at.entry(token.corp_id.as_str()).or_insert(at);
            *newest = at.max(*newest);
        }
        let sources = copies.iter().map(|copy| copy.source?.recorded.as_ref());
        let sources: Option<Vec<&Recorded>> = sources.collect();
        let wanted = sources.map(|sources| {
            let tokens = sources.into_iter().flat_map(|recorded| &recorded.tokens);
            tokens.map(|token| token.corp_id.as_str()).collect()
        });
        Self {
            requested_at,
            wanted,
        }
    }

    /// Whether a former copy's token is valid, may be wanted, and is in no copy.
    pub(super) fn lacks(&self, token: &TokenRecord, now: Timestamp) -> bool {
        let corp_id = token.corp_id.as_str();
        let is_wanted = self.wanted.as_ref().is_none_or(|all| all.contains(corp_id));
        let newest = self.requested_at.get(corp_id);
        let is_shown = newest.is_some_and(|at| *at >= token.lifetime.requested_at);
        token.lifetime.expires_at > now && is_wanted && !is_shown
    }
}
