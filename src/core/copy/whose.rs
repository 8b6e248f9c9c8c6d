//! Whose Secret has a copy's name.

use super::view::ReferenceMemory;
use crate::api::DingTalkTokenReference;
use crate::core::secret::ownership::owner_name;
use crate::core::secret::target::TargetMeta;

/// Returns the reference's name as in the annotations of its copies.
pub(super) fn my_name(reference: &DingTalkTokenReference) -> String {
    let name = reference.metadata.name.as_deref().unwrap_or_default();
    owner_name::<DingTalkTokenReference>(name)
}

/// Whether the Secret under a copy's name was made for this reference, or is handed over to it.
pub(super) fn is_ours(
    reference: &DingTalkTokenReference,
    name: &str,
    present: &TargetMeta,
    memory: &ReferenceMemory,
) -> bool {
    let my_name = my_name(reference);
    // The Secret of a former reference of this name, restored from a backup for example, is ours.
    let is_predecessors =
        present.is_managed() && present.owner.as_deref() == Some(my_name.as_str());
    let writing = memory.writings.get(name);
    is_predecessors
        || present.owner_uid() == Some(memory.uid.as_str())
        || writing.is_some_and(|writing| writing.has_written(present, &memory.uid))
        || present.adopt_by.as_deref() == Some(my_name.as_str())
}
