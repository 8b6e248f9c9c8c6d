//! The owner of a Secret, and the metadata that names it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Resource, ResourceExt};

use crate::api::{
    ANNOTATION_ADOPT_BY, ANNOTATION_CORP_ID, ANNOTATION_OWNER, ANNOTATION_STATE, GROUP,
    LABEL_MANAGED_BY, LABEL_OWNER_UID, MANAGER,
};
use crate::core::secret::marks::Marks;
use crate::core::secret::ownership::owner_name;
use crate::core::secret::recorded::Recorded;
use crate::core::secret::target::TargetMeta;
use crate::core::secret::write::{Changes, Write};

/// The owner that a Secret is written for, and the metadata that the owner wants.
pub(crate) struct Owner<'a> {
    /// UID of the owner.
    uid: &'a str,
    /// Kind and name of the owner.
    name: String,
    /// Labels that the owner wants.
    labels: &'a BTreeMap<String, String>,
    /// Annotations that the owner wants.
    annotations: &'a BTreeMap<String, String>,
    /// Kind whose owner references are replaced.
    kind: Cow<'a, str>,
    /// The owner reference that the Secret should have.
    pub reference: Option<OwnerReference>,
}

impl<'a> Owner<'a> {
    /// Returns an object as an owner that wants these labels and annotations.
    pub(crate) fn of<K: Resource<DynamicType = ()>>(
        object: &'a K,
        labels: &'a BTreeMap<String, String>,
        annotations: &'a BTreeMap<String, String>,
    ) -> Self {
        let meta = object.meta();
        Self {
            uid: meta.uid.as_deref().unwrap_or_default(),
            name: owner_name::<K>(meta.name.as_deref().unwrap_or_default()),
            labels,
            annotations,
            kind: K::kind(&()),
            reference: Some(owner_reference(object)),
        }
    }

    /// Builds the write of these keys over the present Secret.
    pub(crate) fn write(
        &self,
        name: &str,
        recorded: Recorded,
        data: Changes,
        present: Option<&TargetMeta>,
    ) -> Write {
        Write {
            name: name.to_owned(),
            replaces: present.map(|present| present.version.clone()),
            labels: self.labels(present),
            annotations: self.annotations(&recorded, present),
            owner_references: self.owners(present.map_or(&[][..], |at| &at.owner_references)),
            data,
            recorded,
        }
    }

    fn labels(&self, present: Option<&TargetMeta>) -> BTreeMap<String, Option<String>> {
        let former = present.into_iter().flat_map(|present| &present.our_labels);
        let mut labels: BTreeMap<_, _> = former.map(|key| (key.clone(), None)).collect();
        for (key, value) in self.labels {
            labels.insert(key.clone(), Some(value.clone()));
        }
        labels.insert(LABEL_MANAGED_BY.to_owned(), Some(MANAGER.to_owned()));
        labels.insert(LABEL_OWNER_UID.to_owned(), Some(self.uid.to_owned()));
        labels
    }

    fn annotations(
        &self,
        recorded: &Recorded,
        present: Option<&TargetMeta>,
    ) -> BTreeMap<String, Option<String>> {
        let former = present
            .into_iter()
            .flat_map(|present| &present.our_annotations);
        let mut annotations: BTreeMap<_, _> = former.map(|key| (key.clone(), None)).collect();
        for (key, value) in self.annotations {
            annotations.insert(key.clone(), Some(value.clone()));
        }
        // `corp-id` only fits some shapes, and an adoption is done once.
        for key in [ANNOTATION_CORP_ID, ANNOTATION_ADOPT_BY] {
            if present.is_some_and(|present| present.annotations.has(key)) {
                annotations.insert(key.to_owned(), None);
            }
        }
        annotations.insert(ANNOTATION_OWNER.to_owned(), Some(self.name.clone()));
        for (key, value) in recorded.annotations() {
            annotations.insert(key, Some(value));
        }
        annotations
    }

    /// Returns the owner references that the Secret should have: `reference`, unless the Secret is
    /// retained, and those of other kinds.
    fn owners(&self, present: &[OwnerReference]) -> Vec<OwnerReference> {
        present
            .iter()
            .filter(|owner| group(owner) != GROUP || owner.kind != self.kind)
            .cloned()
            .chain(self.reference.clone())
            .collect()
    }
}

/// Builds an owner reference, without `blockOwnerDeletion`: setting that requires a permission on
/// the owner's finalizers if `OwnerReferencesPermissionEnforcement` is on, and it only delays a
/// foreground deletion.
fn owner_reference<K: Resource<DynamicType = ()>>(owner: &K) -> OwnerReference {
    OwnerReference {
        api_version: K::api_version(&()).into_owned(),
        kind: K::kind(&()).into_owned(),
        name: owner.name_any(),
        uid: owner.meta().uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: None,
    }
}

/// Whether the metadata already equals what this write sets. The state is compared by meaning,
/// because another release may word it differently.
pub(crate) fn is_in_order(present: &TargetMeta, write: &Write) -> bool {
    let agrees = |present: &Marks, wanted: &BTreeMap<String, Option<String>>| {
        let mut wanted = wanted.iter().filter(|(key, _)| *key != ANNOTATION_STATE);
        wanted.all(|(key, value)| present.agrees(key, value.as_deref()))
    };
    agrees(&present.labels, &write.labels)
        && agrees(&present.annotations, &write.annotations)
        && are_same(&present.owner_references, &write.owner_references)
        && has_state(present, write)
}

fn has_state(present: &TargetMeta, write: &Write) -> bool {
    let state = write.annotations.get(ANNOTATION_STATE);
    let state = state.and_then(Option::as_deref);
    let is_same = || present.recorded.is_some() && present.recorded == write.recorded.read_back();
    present.annotations.agrees(ANNOTATION_STATE, state) || is_same()
}

/// Whether the owners are the same, regardless of their kinds' versions.
fn are_same(present: &[OwnerReference], wanted: &[OwnerReference]) -> bool {
    let mut pairs = present.iter().zip(wanted);
    let is_same = |one: &OwnerReference, other: &OwnerReference| {
        (group(one), &one.kind, &one.uid) == (group(other), &other.kind, &other.uid)
    };
    present.len() == wanted.len() && pairs.all(|(one, other)| is_same(one, other))
}

fn group(owner: &OwnerReference) -> &str {
    let api_version = owner.api_version.split_once('/');
    api_version.map_or("", |(group, _)| group)
}
