//! The metadata of a target Secret.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use crate::api::{
    ANNOTATION_ADOPT_BY, ANNOTATION_OWNER, GROUP, LABEL_MANAGED_BY, LABEL_OWNER_UID, MANAGER,
};
use crate::core::secret::managed::Managed;
use crate::core::secret::marks::Marks;
use crate::core::secret::recorded::{NAME_MAX, Recorded};
use crate::core::token::record::ObjectVersion;

/// Longest kind and name of an owner that is kept.
const OWNER_NAME_MAX: usize = "DingTalkTokenReference/".len() + NAME_MAX;

/// Most labels and annotations that a target may carry, including the operator's. An app's spec may
/// ask for 64, and the operator sets 7.
pub(crate) const MARKS_MAX: usize = 256;
/// Most owners that a target may have.
pub(crate) const OWNERS_MAX: usize = 16;
/// Most bytes that are kept of a namespace's targets, not counting small ones.
pub(crate) const TARGETS_MAX: usize = 16 << 20;
/// Most bytes of the label and annotation keys that only the operator set: the longest ones of a
/// spec, with a prefix of 253 bytes and a name of 63.
const OUR_KEYS_MAX: usize = 64 * (253 + "/".len() + 63);
/// Most bytes of one owner reference.
const OWNER_MAX: usize = 1024;

/// What is kept of a Secret's metadata, within bounds. Its data is not kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct TargetMeta {
    pub version: ObjectVersion,
    pub labels: Marks,
    pub annotations: Marks,
    /// The UID in the label `owner-uid`, if the label `managed-by` is the operator's.
    pub managed_for: Option<Box<str>>,
    /// Kind and name of the app or reference that it was written for.
    pub owner: Option<Box<str>>,
    /// Kind and name of the app or reference that it is handed over to.
    pub adopt_by: Option<Box<str>>,
    pub owner_references: Vec<OwnerReference>,
    pub recorded: Option<Recorded>,
    /// Whether the operator was the last to write what is recorded, according to the managed
    /// fields.
    pub data_is_ours: bool,
    /// Labels that only the operator set.
    pub our_labels: BTreeSet<String>,
    /// Annotations that only the operator set.
    pub our_annotations: BTreeSet<String>,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Why nothing else is kept, if that is so.
    pub excess: Option<Excess>,
}

/// Why nothing is kept of a Secret's metadata but its version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Excess {
    /// It exceeds a bound.
    Metadata,
    /// The other Secrets of its namespace use up the room.
    Room,
}

impl TargetMeta {
    /// Keeps what is needed of an object's metadata.
    pub(crate) fn of(meta: ObjectMeta) -> Self {
        let bare = Self {
            version: ObjectVersion::of(&meta),
            deleting: meta.deletion_timestamp.is_some(),
            ..Self::default()
        };
        let annotations = meta.annotations.unwrap_or_default();
        let labels = meta.labels.unwrap_or_default();
        let owners = meta.owner_references.unwrap_or_default();
        let owners = are_within_bounds(&owners).then_some(owners);
        let mut keys = labels.keys().chain(annotations.keys());
        if !keys.any(|key| key.starts_with(GROUP)) {
            // A foreign Secret, such as the credentials. Only its version matters, and its owners
            // in case it is a target that has lost the operator's labels and annotations.
            return Self {
                owner_references: owners.unwrap_or_default(),
                ..bare
            };
        }
        let heavy = |bare| Self {
            excess: Some(Excess::Metadata),
            ..bare
        };
        let is_light = labels.len() + annotations.len() <= MARKS_MAX;
        let Some(owner_references) = owners.filter(|_| is_light) else {
            return heavy(bare);
        };
        let managed = Managed::of(meta.managed_fields.as_deref().unwrap_or_default());
        let our_labels = managed.ours("/f:metadata/f:labels");
        let our_annotations = managed.ours("/f:metadata/f:annotations");
        let our_keys = our_labels.iter().chain(&our_annotations);
        if our_keys.map(String::len).sum::<usize>() > OUR_KEYS_MAX {
            return heavy(bare);
        }
        let recorded = Recorded::read(&annotations, &managed);
        let is_managed = labels.get(LABEL_MANAGED_BY).map(String::as_str) == Some(MANAGER);
        let name = |key: &str| {
            let name = annotations.get(key)?;
            (name.len() <= OWNER_NAME_MAX).then(|| Box::from(name.as_str()))
        };
        Self {
            data_is_ours: recorded.as_ref().is_some_and(|it| is_ours(it, &managed)),
            our_labels,
            our_annotations,
            recorded,
            managed_for: labels
                .get(LABEL_OWNER_UID)
                .filter(|uid| is_managed && !uid.is_empty())
                .map(|uid| Box::from(uid.as_str())),
            owner: name(ANNOTATION_OWNER),
            adopt_by: name(ANNOTATION_ADOPT_BY),
            labels: Marks::of(&labels),
            annotations: Marks::of(&annotations),
            owner_references,
            ..bare
        }
    }

    /// Returns the same version as past its bounds, with nothing else.
    #[must_use]
    pub(crate) fn past_bounds(&self) -> Self {
        Self {
            version: self.version.clone(),
            deleting: self.deleting,
            excess: Some(self.excess.unwrap_or(Excess::Room)),
            ..Self::default()
        }
    }

    /// Whether its metadata is past the bounds, so that nothing is known but its version.
    pub(crate) fn is_past_bounds(&self) -> bool {
        self.excess.is_some()
    }

    /// Whether it is past the bounds only because there was no room for it.
    pub(crate) fn has_no_room(&self) -> bool {
        self.excess == Some(Excess::Room)
    }

    /// Estimates the memory use in bytes.
    pub(crate) fn weight(&self) -> usize {
        let our_keys = self.our_labels.iter().chain(&self.our_annotations);
        let our_keys = our_keys.map(|key| size_of::<String>() + key.len());
        let owners = self.owner_references.iter().map(owner_size);
        size_of::<Self>()
            + our_keys.sum::<usize>()
            + 16 * (self.labels.len() + self.annotations.len())
            + owners.sum::<usize>()
            + self.recorded.as_ref().map_or(0, Recorded::weight)
    }

    /// Whether its labels name the operator as its manager.
    pub(crate) fn is_managed(&self) -> bool {
        self.managed_for.is_some()
    }

    /// Returns the UID of the app or reference that it was written for.
    pub(crate) fn owner_uid(&self) -> Option<&str> {
        self.managed_for.as_deref()
    }
}

/// Whether the operator was the last to write both the record and the recorded data.
fn is_ours(recorded: &Recorded, managed: &Managed) -> bool {
    let data = managed.recorded_data();
    recorded.keys().all(|key| data.contains(key.as_str()))
}

fn are_within_bounds(owners: &[OwnerReference]) -> bool {
    owners.len() <= OWNERS_MAX && owners.iter().all(|owner| owner_size(owner) <= OWNER_MAX)
}

fn owner_size(owner: &OwnerReference) -> usize {
    let texts = [&owner.api_version, &owner.kind, &owner.name, &owner.uid];
    size_of::<OwnerReference>() + texts.iter().map(|text| text.len()).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry};
    use serde_json::{Value, json};

    use super::*;
    use crate::core::secret::managed::LOOKED_AT;
    use crate::core::secret::state::example;
    use crate::core::token::record::TokenRecord;

    /// Returns the metadata of a target, with this many foreign annotations.
    fn meta(others: usize, length: usize) -> ObjectMeta {
        let mut annotations = example().annotations();
        annotations.extend((0..others).map(|n| (format!("other-{n}"), "x".repeat(length))));
        let labels = [(LABEL_MANAGED_BY, MANAGER), (LABEL_OWNER_UID, "u1")];
        ObjectMeta {
            labels: Some(labels.map(|(key, value)| (key.into(), value.into())).into()),
            annotations: Some(annotations),
            ..ObjectMeta::default()
        }
    }

    /// Returns the metadata of a target with this many tokens, which has this many other managers.
    fn managed(corps: usize, others: usize) -> ObjectMeta {
        let token = example().tokens.remove(0);
        let tokens = (0..corps).map(|n| TokenRecord {
            corp_id: format!("ding{n}"),
            ..token.clone()
        });
        let keys = vec!["*.access_token".to_owned()];
        let recorded = Recorded {
            digest: Some("d".into()),
            ..Recorded::of(keys, tokens.collect()).expect("a shape")
        };
        let annotations = recorded.annotations();
        let fields = |keys: Vec<String>| -> Value {
            let fields = keys.iter().map(|key| (format!("f:{key}"), json!({})));
            fields.collect::<serde_json::Map<_, _>>().into()
        };
        let entry = |manager: &str, data: Vec<String>, annotations: Vec<String>| {
            let fields = json!({
                "f:data": fields(data),
                "f:metadata": {"f:annotations": fields(annotations)},
            });
            ManagedFieldsEntry {
                manager: Some(manager.to_owned()),
                fields_v1: Some(FieldsV1(fields)),
                ..ManagedFieldsEntry::default()
            }
        };
        let ours = annotations.keys().cloned().collect();
        let mut entries = vec![entry(MANAGER, recorded.keys().collect(), ours)];
        entries.extend((0..others).map(|n| {
            let key = format!("other-{n}");
            entry("other", vec![key.clone()], vec![key])
        }));
        ObjectMeta {
            annotations: Some(annotations),
            managed_fields: Some(entries),
            ..meta(0, 0)
        }
    }

    /// Returns what is kept, and how often an entry of the managed fields was looked at for it.
    fn looked_at(meta: ObjectMeta) -> (TargetMeta, usize) {
        LOOKED_AT.set(0);
        let target = TargetMeta::of(meta);
        (target, LOOKED_AT.get())
    }

    /// Regression: each key was looked for in what each manager had set.
    #[test]
    fn the_managers_of_a_target_are_looked_at_as_often_whatever_the_number_of_its_keys() {
        let (few, times) = looked_at(managed(10, 100));
        let (many, times_for_many) = looked_at(managed(1000, 100));
        assert!(few.data_is_ours && many.data_is_ours);
        assert!(times > 0);
        assert_eq!(times_for_many, times);
        let (_, times_for_twice_the_managers) = looked_at(managed(10, 201));
        assert_eq!(times_for_twice_the_managers, 2 * times);
    }

    /// Regression: the managed fields were compared before the bounds were checked.
    #[test]
    fn the_managers_of_a_target_past_its_bounds_are_not_looked_at() {
        let mut marked = managed(10, 100);
        let others = (0..=MARKS_MAX).map(|n| (format!("other-{n}"), String::new()));
        marked.annotations.get_or_insert_default().extend(others);
        let owned = ObjectMeta {
            owner_references: Some(vec![OwnerReference::default(); OWNERS_MAX + 1]),
            ..managed(10, 100)
        };
        for past in [marked, owned] {
            let (target, times) = looked_at(past);
            assert!(target.is_past_bounds());
            assert_eq!(times, 0);
        }
    }

    /// Regression: such a target counted as past its bounds as soon as it was written.
    #[test]
    fn a_target_with_all_that_a_spec_may_ask_for_is_within_its_bounds() {
        let key = |n: usize| format!("{n:0253}/{}", "n".repeat(63));
        let marks = (0..32).map(|n| (key(n), String::new()));
        let fields = (0..32).map(|n| (format!("f:{}", key(n)), json!({})));
        let fields: serde_json::Map<_, _> = fields.collect();
        let mut meta = managed(1, 0);
        meta.labels.get_or_insert_default().extend(marks.clone());
        meta.annotations.get_or_insert_default().extend(marks);
        let fields = json!({"f:metadata": {"f:labels": fields, "f:annotations": fields}});
        let entry = ManagedFieldsEntry {
            manager: Some(MANAGER.to_owned()),
            fields_v1: Some(FieldsV1(fields)),
            ..ManagedFieldsEntry::default()
        };
        meta.managed_fields.get_or_insert_default().push(entry);
        let target = TargetMeta::of(meta);
        assert!(!target.is_past_bounds());
        assert_eq!(target.our_labels.len() + target.our_annotations.len(), 64);
    }

    #[test]
    fn what_somebody_else_has_set_as_well_is_not_ours() {
        let mut meta = managed(2, 0);
        assert!(TargetMeta::of(meta.clone()).data_is_ours);
        let entries = meta.managed_fields.as_mut().expect("entries");
        entries.push(ManagedFieldsEntry {
            manager: Some("other".into()),
            ..entries[0].clone()
        });
        assert!(!TargetMeta::of(meta).data_is_ours);
    }

    #[test]
    fn what_others_write_into_a_target_takes_next_to_no_memory() {
        let plain = TargetMeta::of(meta(0, 0));
        let heavy = TargetMeta::of(meta(100, 2500));
        assert_eq!(heavy.weight() - plain.weight(), 1600);
        assert_eq!(heavy.owner_uid(), Some("u1"));
        assert_eq!(heavy.recorded, plain.recorded);
        let value = "x".repeat(2500);
        assert!(heavy.annotations.agrees("other-7", Some(&value)));
        let past = TargetMeta::of(meta(MARKS_MAX, 1));
        assert!(past.is_past_bounds() && !past.has_no_room() && !past.is_managed());
        assert_eq!(past.weight(), size_of::<TargetMeta>());
    }

    #[test]
    fn the_weight_of_a_target_is_that_of_all_its_parts() {
        let target = TargetMeta::of(meta(0, 0));
        let record = target.recorded.as_ref().expect("a record").weight();
        let keys = target.our_labels.iter().chain(&target.our_annotations);
        let keys: usize = keys.map(|key| size_of::<String>() + key.len()).sum();
        assert!(record > size_of::<Recorded>());
        let others = 16 * (target.labels.len() + target.annotations.len());
        assert_eq!(
            target.weight(),
            size_of::<TargetMeta>() + keys + others + record
        );
    }

    #[test]
    fn an_owner_counts_only_with_the_label_of_the_operator() {
        let mut unmanaged = meta(0, 0);
        let labels = unmanaged.labels.as_mut().expect("labels");
        labels.insert(LABEL_MANAGED_BY.into(), "somebody".into());
        let unmanaged = TargetMeta::of(unmanaged);
        assert!(!unmanaged.is_managed());
        assert_eq!(unmanaged.owner_uid(), None);
    }

    #[test]
    fn owners_past_the_bound_are_not_kept() {
        let owned = |count: usize, name: usize| {
            let owner = OwnerReference {
                name: "n".repeat(name),
                ..OwnerReference::default()
            };
            TargetMeta::of(ObjectMeta {
                owner_references: Some(vec![owner; count]),
                ..meta(0, 0)
            })
        };
        assert_eq!(owned(OWNERS_MAX, 253).owner_references.len(), OWNERS_MAX);
        assert!(owned(OWNERS_MAX + 1, 1).is_past_bounds());
        assert!(owned(1, OWNER_MAX).is_past_bounds());
    }

    /// Regression: an annotation under `mykubernetes.io/`, which the schema accepts, was mistaken
    /// for one of Kubernetes' own and ignored, so it was written again and again.
    #[test]
    fn an_annotation_that_only_looks_like_one_of_kubernetes_is_seen() {
        let mut meta = meta(0, 0);
        let annotations = meta.annotations.as_mut().expect("annotations");
        annotations.insert("mykubernetes.io/x".into(), "1".into());
        let target = TargetMeta::of(meta);
        assert!(target.annotations.agrees("mykubernetes.io/x", Some("1")));
    }
}
