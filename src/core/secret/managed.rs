//! Who set which fields of an object, according to its `managedFields`.

#[cfg(test)]
use std::cell::Cell;
use std::collections::{BTreeSet, HashSet};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta};

use crate::api::{ANNOTATION_STATE, GROUP, LABEL_MANAGED_BY, MANAGER};

#[cfg(test)]
thread_local! {
    /// How often an entry was looked at.
    pub(in crate::core) static LOOKED_AT: Cell<usize> = const { Cell::new(0) };
}

/// The fields of an object, by whether the operator set them.
#[derive(Default)]
pub struct Managed<'a> {
    ours: Vec<&'a serde_json::Value>,
    others: Vec<&'a serde_json::Value>,
    /// When the operator last wrote.
    pub written_at: Option<Timestamp>,
}

impl<'a> Managed<'a> {
    /// Sorts the entries by manager.
    pub fn of(entries: &'a [ManagedFieldsEntry]) -> Self {
        let mut managed = Self::default();
        for entry in entries {
            let Some(fields) = &entry.fields_v1 else {
                continue;
            };
            if entry.manager.as_deref() != Some(MANAGER) {
                managed.others.push(&fields.0);
                continue;
            }
            managed.ours.push(&fields.0);
            let written_at = entry.time.as_ref().map(|time| time.0);
            managed.written_at = managed.written_at.max(written_at);
        }
        managed
    }

    /// Returns the keys of a map that the operator, and nobody else, set.
    pub fn keys(&self, map: &str) -> BTreeSet<&'a str> {
        let others: HashSet<&str> = keys_in(&self.others, map).collect();
        keys_in(&self.ours, map)
            .filter(|key| !others.contains(key))
            .collect()
    }

    /// Returns the keys of the data that only the operator set; none if another has written the record
    /// of them.
    pub fn recorded_data(&self) -> BTreeSet<&'a str> {
        let annotations = self.keys("/f:metadata/f:annotations");
        match annotations.contains(ANNOTATION_STATE) {
            true => self.keys("/f:data"),
            false => BTreeSet::new(),
        }
    }

    /// Returns the keys of a map that only the operator set, apart from this project's own.
    pub fn ours(&self, map: &str) -> BTreeSet<String> {
        self.keys(map)
            .into_iter()
            .filter(|key| !key.starts_with(GROUP) && *key != LABEL_MANAGED_BY)
            .map(str::to_owned)
            .collect()
    }
}

/// Returns the keys of a Secret's data whose values are those that the operator has recorded.
pub(crate) fn our_data(meta: &ObjectMeta) -> BTreeSet<String> {
    let managed = Managed::of(meta.managed_fields.as_deref().unwrap_or_default());
    let keys = managed.recorded_data().into_iter();
    keys.map(str::to_owned).collect()
}

/// Returns the keys of a map in these entries.
fn keys_in<'a>(entries: &[&'a serde_json::Value], map: &str) -> impl Iterator<Item = &'a str> {
    let entries = entries.iter().copied();
    #[cfg(test)]
    let entries = entries.inspect(|_| LOOKED_AT.set(LOOKED_AT.get() + 1));
    entries
        .filter_map(move |fields| fields.pointer(map)?.as_object())
        .flat_map(|map| map.keys())
        .filter_map(|field| field.strip_prefix("f:"))
}
