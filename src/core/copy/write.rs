//! Builds the write of a copy.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::view::{ReferenceMemory, ReferenceView};
use super::whose::is_ours;
use crate::api::{AppRef, Cause, DingTalkTokenReference, full_name};
use crate::core::secret::news::News;
use crate::core::secret::owner::Owner;
use crate::core::secret::recorded::Recorded;
use crate::core::secret::target::TargetMeta;
use crate::core::secret::write::{Write, removal};
use crate::core::secret::writing::{Turn, Writing};
use crate::core::token::why::Why;

/// Builds the write of a copy, without its data.
pub(crate) fn copy_write(
    reference: &DingTalkTokenReference,
    name: &str,
    recorded: Recorded,
    present: Option<&TargetMeta>,
) -> Write {
    let target = &reference.spec.target;
    let owner = Owner::of(reference, &target.labels, &target.annotations);
    owner.write(name, recorded, BTreeMap::new(), present)
}

/// Builds the write of the copy `name` from its source as it was read, without the data, and why
/// it is made. `None` if the copy is no longer allowed or must wait, or if the source has
/// changed since, or the Secret under the copy's name has become a foreign one.
pub(crate) fn copy_now(
    view: &ReferenceView<'_>,
    memory: &mut ReferenceMemory,
    name: &str,
    source: &TargetMeta,
    now: Timestamp,
) -> Option<(Write, Why)> {
    let copy = view.copies.iter().find(|copy| copy.name == name)?;
    if copy.source.map(|source| &source.version) != Some(&source.version) {
        return None;
    }
    if let Some(present) = copy.present
        && (present.is_past_bounds() || !is_ours(view.reference, name, present, memory))
    {
        return None;
    }
    let recorded = source.recorded.clone()?;
    let mut write = copy_write(view.reference, name, recorded, copy.present);
    write.data = removal(copy.present);
    let generation = view.reference.metadata.generation;
    let writing = memory.writing(name);
    let turn = writing.turn(&write.recorded, write.replaces.as_ref(), generation, now);
    let Turn::Now { is_repair } = turn else {
        return None;
    };
    let cause = cause(writing, copy.present, &write.recorded, is_repair);
    let former = copy.present.and_then(|present| present.recorded.as_ref());
    let was_changed_at = former.and_then(|former| former.value_changed_at);
    // A Secret does not record when each of its values changed.
    let has_changed = write.recorded.value_changed_at != was_changed_at;
    write.news = News::of(&write.recorded, former, |_, _| has_changed);
    let app = &view.reference.spec.app_ref;
    let app = AppRef::new(&app.name).within(&app.namespace);
    let why = Why {
        shared_by: Some(full_name(&app)),
        ..cause.into()
    };
    Some((write, why))
}

fn cause(
    writing: &Writing,
    present: Option<&TargetMeta>,
    recorded: &Recorded,
    is_repair: bool,
) -> Cause {
    match present {
        None if is_repair || writing.has_written_once() => Cause::TargetMissing,
        None => Cause::FirstToken,
        Some(_) if is_repair => Cause::TargetChanged,
        Some(present) if present.recorded.as_ref() != Some(recorded) => Cause::SourceChanged,
        Some(_) => Cause::SpecChanged,
    }
}
