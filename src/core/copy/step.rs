//! What to do next for a reference.

use std::collections::HashSet;

use jiff::Timestamp;

use super::former::{Shown, delete_former};
use super::look::{Look, look};
use super::next::ReferenceStep;
use super::told::Told;
use super::view::{Grant, ReferenceMemory, ReferenceView};
use crate::api::Reason;
use crate::core::app::view::Wake;
use crate::core::secret::former::deletion_retried_at;
use crate::core::secret::metadata::{forbidden_key, forbidden_message};
use crate::core::secret::write::TARGET_STEPS_MAX;

/// Decides the next step.
pub(crate) fn reference_step(
    view: &ReferenceView<'_>,
    memory: &mut ReferenceMemory,
    now: Timestamp,
) -> ReferenceStep {
    if view.grant == Grant::Unread {
        return ReferenceStep::ReadNamespace;
    }
    let Some(told) = Told::of_grant(view) else {
        prepare(view, memory, now);
        return keep(view, memory, now);
    };
    let mut wake = Wake::default();
    if view.grant != Grant::Unrecorded {
        let generation = view.reference.metadata.generation;
        prepare(view, memory, now);
        let steps = delete_former(view, memory, now, |_| false);
        if !steps.is_empty() {
            return ReferenceStep::Copies(steps);
        }
        wake.later(deletion_retried_at(&memory.writings, generation, now), now);
    }
    ReferenceStep::settle(told, None, wake)
}

/// Forgets what is no longer wanted and adjusts times to the clock.
fn prepare(view: &ReferenceView<'_>, memory: &mut ReferenceMemory, now: Timestamp) {
    let copies = view.copies.iter();
    let names: HashSet<&str> = copies.map(|copy| copy.name.as_str()).collect();
    let is_known = |name: &str| names.contains(name) || view.former.contains_key(name);
    memory.copies = names.len();
    memory.writings.retain(|name, _| is_known(name));
    let copies = view.copies.iter();
    let sources: HashSet<&str> = copies.map(|copy| copy.source_name.as_str()).collect();
    memory
        .sources
        .retain(|name, _| sources.contains(name.as_str()));
    for writing in memory.writings.values_mut() {
        writing.notice_clock(now);
    }
}

/// Decides what keeps the granted copies right.
fn keep(view: &ReferenceView<'_>, memory: &mut ReferenceMemory, now: Timestamp) -> ReferenceStep {
    let target = &view.reference.spec.target;
    if let Some(key) = forbidden_key(&target.labels, &target.annotations, view.metadata_prefixes) {
        let message = forbidden_message(key, view.metadata_prefixes);
        let told = Told::new(Reason::MetadataNotAllowed, message);
        return ReferenceStep::settle(told, None, Wake::default());
    }
    let mut steps = Vec::new();
    let mut first_problem = None;
    let mut expires_at = None;
    let mut wake = Wake::default();
    for copy in &view.copies {
        if steps.len() == TARGET_STEPS_MAX {
            break;
        }
        match look(view.reference, copy, memory, now) {
            Look::Act(step) => steps.push(step),
            Look::InOrder(until) => {
                wake.later(Some(until), now);
                expires_at = expires_at.into_iter().chain([until]).min();
            }
            Look::Problem(told, retry_at) => {
                first_problem.get_or_insert(told);
                wake.later(retry_at, now);
            }
        }
    }
    if steps.is_empty() && !view.former.is_empty() {
        let shown = Shown::by(&view.copies);
        let generation = view.reference.metadata.generation;
        wake.later(deletion_retried_at(&memory.writings, generation, now), now);
        steps = delete_former(view, memory, now, |token| {
            let is_needed = shown.lacks(token, now);
            if is_needed {
                wake.at(token.lifetime.expires_at);
            }
            is_needed
        });
    }
    if !steps.is_empty() {
        return ReferenceStep::Copies(steps);
    }
    let told = first_problem.unwrap_or_else(|| Told::of_copies(expires_at, now));
    ReferenceStep::settle(told, expires_at, wake)
}
