//! What to do next for a reference.

use std::collections::HashSet;

use jiff::Timestamp;

use super::former::{Shown, delete_former, retry_deletions};
use super::look::{Look, look};
use super::next::{CopyStep, ReferenceStep};
use super::told::Told;
use super::view::{CopySeen, Grant, ReferenceMemory, ReferenceView};
use crate::api::Reason;
use crate::core::app::view::Wake;
use crate::core::secret::metadata::{forbidden_key, forbidden_message};
use crate::core::secret::write::{Deletion, TARGET_STEPS_MAX};

/// Decides the next step.
pub(crate) fn reference_step(
    view: &ReferenceView<'_>,
    memory: &mut ReferenceMemory,
    now: Timestamp,
) -> ReferenceStep {
    let mut wake = Wake::default();
    match view.grant {
        Grant::Unread => return ReferenceStep::ReadNamespace,
        Grant::Unrecorded | Grant::Given => {}
        Grant::NoApp | Grant::Absent | Grant::Former => {
            prepare(view, memory, now);
            let steps = delete_former(view, memory, now, |_| false);
            if !steps.is_empty() {
                return ReferenceStep::Copies(steps);
            }
            retry_deletions(view, memory, &mut wake, now);
        }
    }
    match (Told::of_grant(view), &view.copies) {
        (Some(told), _) => ReferenceStep::settle(told, None, wake),
        (None, Some(copies)) => {
            prepare(view, memory, now);
            keep(view, copies, memory, now)
        }
        // A given grant always comes with copies.
        (None, None) => ReferenceStep::settle(Told::of_copies(None, now), None, Wake::default()),
    }
}

/// Forgets what is no longer wanted and adjusts times to the clock.
fn prepare(view: &ReferenceView<'_>, memory: &mut ReferenceMemory, now: Timestamp) {
    let copies = || view.copies.iter().flatten();
    let names: HashSet<&str> = copies().map(|copy| copy.name.as_str()).collect();
    let is_known = |name: &str| names.contains(name) || view.former.contains_key(name);
    memory.copies = names.len();
    memory.writings.retain(|name, _| is_known(name));
    let sources: HashSet<&str> = copies().map(|copy| copy.source_name.as_str()).collect();
    memory
        .sources
        .retain(|name, _| sources.contains(name.as_str()));
    for writing in memory.writings.values_mut() {
        writing.notice_clock(now);
    }
}

/// Decides what keeps the granted copies right.
fn keep(
    view: &ReferenceView<'_>,
    copies: &[CopySeen<'_>],
    memory: &mut ReferenceMemory,
    now: Timestamp,
) -> ReferenceStep {
    let target = &view.reference.spec.target;
    if let Some(key) = forbidden_key(&target.labels, &target.annotations, view.metadata_prefixes) {
        let message = forbidden_message(key, view.metadata_prefixes);
        let told = Told::failing(Reason::MetadataNotAllowed, message);
        return ReferenceStep::settle(told, None, Wake::default());
    }
    let mut seen = Seen::default();
    for copy in copies {
        if seen.steps.len() == TARGET_STEPS_MAX {
            break;
        }
        let look = look(view.reference, copy, memory, now);
        seen.add(copy, look, now);
    }
    let Seen {
        mut steps,
        told,
        expires_at,
        mut wake,
    } = seen;
    if steps.is_empty() && !view.former.is_empty() {
        let shown = Shown::by(copies);
        retry_deletions(view, memory, &mut wake, now);
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
    let told = told.unwrap_or_else(|| Told::of_copies(expires_at, now));
    ReferenceStep::settle(told, expires_at, wake)
}

/// The combined result of looking at the copies.
#[derive(Default)]
struct Seen {
    steps: Vec<CopyStep>,
    /// The first problem.
    told: Option<Told>,
    expires_at: Option<Timestamp>,
    wake: Wake,
}

impl Seen {
    fn add(&mut self, copy: &CopySeen<'_>, look: Look, now: Timestamp) {
        match look {
            Look::ReadSource => self.steps.push(CopyStep::ReadSource {
                name: copy.source_name.clone(),
            }),
            Look::Again => self.steps.push(CopyStep::Look {
                name: copy.name.clone(),
            }),
            Look::Copy => self.steps.push(CopyStep::Write {
                name: copy.name.clone(),
                source_name: copy.source_name.clone(),
            }),
            Look::Replace(version) => self.steps.push(CopyStep::Delete {
                name: copy.name.clone(),
                version,
                why: Deletion::Immutable,
            }),
            Look::InOrder(life) => {
                if life > now {
                    self.wake.at(life);
                }
                let first = self.expires_at.map_or(life, |earlier| earlier.min(life));
                self.expires_at = Some(first);
            }
            Look::Problem(told, retry_at) => {
                self.told.get_or_insert(told);
                if let Some(at) = retry_at {
                    self.wake.at(at);
                }
            }
        }
    }
}
