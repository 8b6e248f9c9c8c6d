//! Who set which fields of an object, according to its `managedFields`.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;

use crate::api::{GROUP, LABEL_MANAGED_BY, MANAGER};

/// The fields of an object, by whether the operator set them.
pub struct Managed<'a> {
    ours: Vec<&'a serde_json::Value>,
    others: Vec<&'a serde_json::Value>,
    written_at: Option<Timestamp>,
}

impl<'a> Managed<'a> {
    /// Sorts the entries by manager.
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

    /// Whether the operator, and nobody else, set a key of a map.
    pub fn is_ours(&self, map: &str, key: &str) -> bool {
        let field = format!("f:{key}");
        let set = |fields: &&serde_json::Value| {
            fields
                .pointer(map)
                .is_some_and(|map| map.get(&field).is_some())
        };
        self.ours.iter().any(set) && !self.others.iter().any(set)
    }

    /// Returns when the operator last wrote.
    pub fn written_at(&self) -> Option<Timestamp> {
        self.written_at
    }

    /// Returns the keys of a map that only the operator set, apart from this project's own.
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
