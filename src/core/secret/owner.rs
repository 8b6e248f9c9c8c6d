//! The owner of a Secret, and the metadata that names it.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Resource;

use crate::api::{
    ANNOTATION_ADOPT_BY, ANNOTATION_CORP_ID, ANNOTATION_OWNER, ANNOTATION_STATE, GROUP,
    LABEL_MANAGED_BY, LABEL_OWNER_UID, MANAGER,
};
use crate::core::secret::marks::Marks;
use crate::core::secret::recorded::Recorded;
use crate::core::secret::target::TargetMeta;
use crate::core::secret::write::{Changes, Write};

/// The owner that a Secret is written for, and the metadata that the owner wants.
pub(crate) struct Owner<'a> {
    /// Without `blockOwnerDeletion`: setting that requires a permission on the owner's finalizers if
    /// `OwnerReferencesPermissionEnforcement` is on, and it only delays a foreground deletion.
    reference: OwnerReference,
    labels: &'a BTreeMap<String, String>,
    annotations: &'a BTreeMap<String, String>,
    /// Whether the Secret outlives its owner, so that it has no owner reference.
    pub is_retained: bool,
}

impl<'a> Owner<'a> {
    /// Returns an object as an owner that wants these labels and annotations.
    pub(crate) fn of<K: Resource<DynamicType = ()>>(
        object: &K,
        labels: &'a BTreeMap<String, String>,
        annotations: &'a BTreeMap<String, String>,
    ) -> Self {
        Self {
            reference: object.controller_owner_ref(&()).unwrap_or_default(),
            labels,
            annotations,
            is_retained: false,
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
            owner_references: self.owners(present),
            data,
            recorded,
        }
    }

    fn labels(&self, present: Option<&TargetMeta>) -> BTreeMap<String, Option<String>> {
        let mut labels = replaced(present.map(|present| &present.our_labels), self.labels);
        labels.insert(LABEL_MANAGED_BY.to_owned(), Some(MANAGER.to_owned()));
        let uid = self.reference.uid.clone();
        labels.insert(LABEL_OWNER_UID.to_owned(), Some(uid));
        labels
    }

    fn annotations(
        &self,
        recorded: &Recorded,
        present: Option<&TargetMeta>,
    ) -> BTreeMap<String, Option<String>> {
        let former = present.map(|present| &present.our_annotations);
        let mut annotations = replaced(former, self.annotations);
        // `corp-id` only fits some shapes, and an adoption is done once.
        for key in [ANNOTATION_CORP_ID, ANNOTATION_ADOPT_BY] {
            if present.is_some_and(|present| present.annotations.has(key)) {
                annotations.insert(key.to_owned(), None);
            }
        }
        let owner = format!("{}/{}", self.reference.kind, self.reference.name);
        annotations.insert(ANNOTATION_OWNER.to_owned(), Some(owner));
        let recorded = recorded.annotations().into_iter();
        annotations.extend(recorded.map(|(key, value)| (key, Some(value))));
        annotations
    }

    /// Returns the owner references that the Secret should have: its owner's, and those of other
    /// projects. The API server allows only one controller: another project's remains so.
    fn owners(&self, present: Option<&TargetMeta>) -> Vec<OwnerReference> {
        let others = present.into_iter().flat_map(|at| &at.owner_references);
        let others = others.filter(|other| identity(other).0 != GROUP);
        let has_controller = others.clone().any(|other| other.controller == Some(true));
        let own = OwnerReference {
            controller: (!has_controller).then_some(true),
            ..self.reference.clone()
        };
        let own = Some(own).filter(|_| !self.is_retained);
        others.cloned().chain(own).collect()
    }
}

/// Returns the change that removes former keys and sets the wanted ones.
fn replaced(
    former: Option<&BTreeSet<String>>,
    wanted: &BTreeMap<String, String>,
) -> BTreeMap<String, Option<String>> {
    let former = former.into_iter().flatten();
    let removed = former.map(|key| (key.clone(), None));
    let set = wanted.iter();
    let set = set.map(|(key, value)| (key.clone(), Some(value.clone())));
    removed.chain(set).collect()
}

/// Whether the metadata already equals what this write sets. The state is compared by meaning,
/// because another release may word it differently.
pub(crate) fn is_in_order(present: &TargetMeta, write: &Write) -> bool {
    let agrees = |present: &Marks, wanted: &BTreeMap<String, Option<String>>| {
        let mut wanted = wanted.iter().filter(|(key, _)| *key != ANNOTATION_STATE);
        wanted.all(|(key, value)| present.agrees(key, value.as_deref()))
    };
    let owners = present.owner_references.iter().map(identity);
    agrees(&present.labels, &write.labels)
        && agrees(&present.annotations, &write.annotations)
        && owners.eq(write.owner_references.iter().map(identity))
        && has_state(present, write)
}

fn has_state(present: &TargetMeta, write: &Write) -> bool {
    let state = write.annotations.get(ANNOTATION_STATE);
    let state = state.and_then(Option::as_deref);
    let is_same = || present.recorded.is_some() && present.recorded == write.recorded.read_back();
    present.annotations.agrees(ANNOTATION_STATE, state) || is_same()
}

/// Returns what tells owners apart: group, kind and UID. The version of a kind may move on.
fn identity(owner: &OwnerReference) -> (&str, &str, &str) {
    let group = owner.api_version.split_once('/');
    (
        group.map_or("", |(group, _)| group),
        &owner.kind,
        &owner.uid,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::DingTalkApp;
    use crate::core::secret::state::example;

    /// Regression: the API server refused every write of a Secret that was handed over by the
    /// External Secrets Operator, or by a `DingTalkTokenReference`: it allows one controller.
    #[test]
    fn a_secret_keeps_its_controller_unless_that_is_of_this_project() {
        let app: DingTalkApp = serde_json::from_value(serde_json::json!({
            "apiVersion": "dingtalk-token-operator.github.io/v1alpha1", "kind": "DingTalkApp",
            "metadata": {"name": "payroll", "uid": "u1"},
            "spec": {"credentialsSecretRef": {"name": "credentials"}, "site": "global", "corpIds": ["ding1"]},
        }))
        .expect("an app");
        let owned_by = |owners: Vec<OwnerReference>| {
            let present = TargetMeta {
                owner_references: owners,
                ..TargetMeta::default()
            };
            let none = BTreeMap::new();
            let owner = Owner::of(&app, &none, &none);
            let write = owner.write("token", example(), Changes::new(), Some(&present));
            let owners = write.owner_references.into_iter();
            let owners = owners.map(|owner| (owner.kind, owner.controller == Some(true)));
            owners.collect::<Vec<_>>()
        };
        let owner = |group: &str, kind: &str, controller| OwnerReference {
            api_version: format!("{group}/v1"),
            kind: kind.to_owned(),
            controller,
            ..OwnerReference::default()
        };
        let own = |is_controller| ("DingTalkApp".to_owned(), is_controller);
        let theirs = "ExternalSecret".to_owned();
        assert_eq!(owned_by(Vec::new()), [own(true)]);
        let reference = owner(GROUP, "DingTalkTokenReference", Some(true));
        assert_eq!(owned_by(vec![reference]), [own(true)]);
        for controller in [None, Some(false)] {
            let other = owner("external-secrets.io", &theirs, controller);
            assert_eq!(owned_by(vec![other]), [(theirs.clone(), false), own(true)]);
        }
        let other = owner("external-secrets.io", &theirs, Some(true));
        assert_eq!(owned_by(vec![other]), [(theirs, true), own(false)]);
    }
}
