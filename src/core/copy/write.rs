//! Builds the write of a copy.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kube::Resource;

use super::view::{ReferenceMemory, ReferenceView};
use super::whose::{is_ours, my_name};
use crate::api::{Cause, DingTalkTokenReference};
use crate::core::secret::owner::{Owner, owner_reference};
use crate::core::secret::recorded::Recorded;
use crate::core::secret::target::TargetMeta;
use crate::core::secret::write::Write;
use crate::core::secret::writing::{Turn, Writing};

/// Builds the write of a copy, without its data.
pub(crate) fn copy_write(
    reference: &DingTalkTokenReference,
    name: &str,
    recorded: Recorded,
    present: Option<&TargetMeta>,
) -> Write {
    let owner = Owner {
        uid: reference.metadata.uid.as_deref().unwrap_or_default(),
        name: my_name(reference),
        labels: &reference.spec.target.labels,
        annotations: &reference.spec.target.annotations,
        kind: &DingTalkTokenReference::kind(&()),
        reference: Some(owner_reference(reference)),
    };
    owner.write(name, recorded, BTreeMap::new(), present)
}

/// Builds the write of the copy `name` from its source as it was read, without the data, and the
/// write's cause. `None` if the copy is no longer allowed or must wait, or if the source has
/// changed since, or the Secret under the copy's name has become a foreign one.
pub(crate) fn copy_now(
    view: &ReferenceView<'_>,
    memory: &mut ReferenceMemory,
    name: &str,
    source: &TargetMeta,
    now: Timestamp,
) -> Option<(Write, Cause)> {
    let mut copies = view.copies.iter().flatten();
    let copy = copies.find(|copy| copy.name == name)?;
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
    let former = copy.present.and_then(|present| present.recorded.as_ref());
    let former = former.into_iter().flat_map(Recorded::keys);
    write.data = former.map(|key| (key, None)).collect();
    let generation = view.reference.metadata.generation;
    let writing = memory.writing(name);
    let turn = writing.turn(&write.recorded, write.replaces.as_ref(), generation, now);
    let Turn::Now { is_repair } = turn else {
        return None;
    };
    let cause = cause(writing, copy.present, &write.recorded, is_repair);
    Some((write, cause))
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
