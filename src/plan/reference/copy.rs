//! The write of a copy.

use std::collections::BTreeMap;

use kube::Resource;

use crate::api::{Cause, DingTalkTokenReference};
use crate::plan::data::Data;
use crate::plan::owner::{Owner, owner_reference};
use crate::plan::recorded::Recorded;
use crate::plan::write::Write;
use crate::plan::writing::Writing;
use crate::plan::{TargetMeta, owner_name};

/// A reference as its copies' annotations name it.
pub(super) fn my_name(reference: &DingTalkTokenReference) -> String {
    let name = reference.metadata.name.as_deref().unwrap_or_default();
    owner_name::<DingTalkTokenReference>(name)
}

/// The write of a copy; without `data`, only what its metadata is to be.
pub fn copy_write(
    reference: &DingTalkTokenReference,
    name: &str,
    recorded: Recorded,
    data: Option<&Data>,
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
    let mut changes = BTreeMap::new();
    if let Some(data) = data {
        let former = present.and_then(|present| present.recorded.as_ref());
        for key in former.into_iter().flat_map(Recorded::keys) {
            changes.insert(key, None);
        }
        for (key, value) in data.iter() {
            changes.insert(key.to_owned(), Some(value.clone()));
        }
    }
    owner.write(name, recorded, changes, present)
}

/// Why a copy is written.
pub fn copy_cause(
    writing: &Writing,
    present: Option<&TargetMeta>,
    recorded: &Recorded,
    repair: bool,
) -> Cause {
    match present {
        None if repair || writing.has_written_once() => Cause::TargetMissing,
        None => Cause::FirstToken,
        Some(_) if repair => Cause::TargetChanged,
        Some(present) if present.recorded.as_ref() != Some(recorded) => Cause::SourceChanged,
        Some(_) => Cause::SpecChanged,
    }
}
