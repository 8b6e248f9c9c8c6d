//! Who set which fields of an object, by its `managedFields`.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;

use crate::api::{GROUP, LABEL_MANAGED_BY, MANAGER};

/// Who set which fields.
pub struct Managed<'a> {
    ours: Vec<&'a serde_json::Value>,
    others: Vec<&'a serde_json::Value>,
    written_at: Option<Timestamp>,
}

impl<'a> Managed<'a> {
    /// Sorts the entries by whether they are ours.
    pub fn of(entries: &'a [ManagedFieldsEntry]) -> Self {
        let mut managed = Self {
            ours: Vec::new(),
            others: Vec::new(),
            written_at: None,
        };
        for entry in entries {
            let Some(fields) = &entry.fields_v1 else {
                continue;
            };
            match entry.manager.as_deref() {
                Some(MANAGER) => {
                    managed.ours.push(&fields.0);
                    let written_at = entry.time.as_ref().map(|time| time.0);
                    managed.written_at = managed.written_at.max(written_at);
                }
                _ => managed.others.push(&fields.0),
            }
        }
        managed
    }

    /// Whether we set a key of a map, and nobody else did.
    pub fn is_ours(&self, map: &str, key: &str) -> bool {
        let field = format!("f:{key}");
        let set = |fields: &&serde_json::Value| {
            fields
                .pointer(map)
                .is_some_and(|map| map.get(&field).is_some())
        };
        self.ours.iter().any(set) && !self.others.iter().any(set)
    }

    /// When we wrote last.
    pub fn written_at(&self) -> Option<Timestamp> {
        self.written_at
    }

    /// The keys of a map that are ours alone; those of this project are known anyway.
    pub fn ours(&self, map: &str) -> BTreeSet<String> {
        self.ours
            .iter()
            .filter_map(|fields| fields.pointer(map)?.as_object())
            .flat_map(|map| map.keys())
            .filter_map(|field| field.strip_prefix("f:"))
            .filter(|key| !key.starts_with(GROUP) && *key != LABEL_MANAGED_BY)
            .filter(|key| self.is_ours(map, key))
            .map(str::to_owned)
            .collect()
    }
}
