//! Which reference copies which app's Secrets.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::admission::{Load, Moved};
use super::maps::take_away;
use super::names::{SecretRef, secret_beside};
use super::reference::{Reference, ReferenceState, copy_names, grant};
use super::stub::Stub;
use super::{App, Index};
use crate::api::{AppRef, DingTalkTokenReference, ReferenceRef, reference_ref};

impl Index {
    /// Records a reference. Returns the other references that are served or refused because of it.
    pub(crate) fn reference_applied(
        &mut self,
        reference: &DingTalkTokenReference,
    ) -> Vec<ReferenceRef> {
        let key = reference_ref(reference);
        let metadata = &reference.metadata;
        let created = metadata.creation_timestamp.as_ref().map(|time| time.0);
        let uid = metadata.uid.clone().unwrap_or_default();
        let age = (created.unwrap_or(Timestamp::MAX), uid);
        let load = Load::of(0, &reference.spec);
        let moved = self.reference_admission.put(&key, &age, load);
        let others = self.follow_references(&key, moved);
        let old = self.unlink(&key);
        let old = old.filter(|old| old.metadata.uid == metadata.uid);
        if self.reference_admission.refusal(&key).is_some() {
            return others;
        }
        let named = &reference.spec.app_ref;
        let app = AppRef::new(&named.name).within(&named.namespace);
        let new = Reference {
            app: app.clone(),
            target: reference.target_name(),
            namespace_uid: old.and_then(|old| old.namespace_uid),
            metadata: ObjectMeta {
                name: metadata.name.clone(),
                namespace: metadata.namespace.clone(),
                uid: metadata.uid.clone(),
                resource_version: metadata.resource_version.clone(),
                generation: metadata.generation,
                creation_timestamp: metadata.creation_timestamp.clone(),
                ..ObjectMeta::default()
            },
        };
        self.referrers.entry(app).or_default().insert(key.clone());
        let copies = secret_beside(&key, &new.target);
        self.copiers.entry(copies).or_default().insert(key.clone());
        self.references.insert(key, new);
        others
    }

    /// Returns the names that a reference's copies have, or would have if the app granted them.
    pub(crate) fn copies_of(&self, reference: &DingTalkTokenReference) -> Vec<String> {
        let Some(entry) = self.references.get(&reference_ref(reference)) else {
            return Vec::new();
        };
        let app = self.apps.get(&entry.app);
        let names = app.map(|app| copy_names(entry, app)).unwrap_or_default();
        names.into_iter().map(|(_, copy)| copy).collect()
    }

    /// Takes the stubs of the references of `scope` that have been refused since the last call.
    pub(crate) fn newly_refused_references(
        &mut self,
        scope: Option<&str>,
    ) -> Vec<DingTalkTokenReference> {
        self.newly_refused_references.take(scope)
    }

    /// Applies the changes of admission caused by `cause`. Returns the other references that moved.
    fn follow_references(
        &mut self,
        cause: &ReferenceRef,
        moved: Moved<ReferenceRef>,
    ) -> Vec<ReferenceRef> {
        let mut others = moved.served;
        for key in moved.refused {
            if key == *cause {
                continue;
            }
            if let Some(reference) = self.unlink(&key) {
                let stub = DingTalkTokenReference::stub(reference.metadata);
                self.newly_refused_references.add(stub);
            }
            others.push(key);
        }
        others.retain(|other| other != cause);
        others
    }

    /// Records the UID of a reference's namespace. Returns the app whose status should record it.
    pub(crate) fn namespace_read(
        &mut self,
        key: &ReferenceRef,
        uid: &str,
        namespace_uid: String,
    ) -> Option<AppRef> {
        let reference = self.references.get_mut(key)?;
        if reference.metadata.uid.as_deref() == Some(uid) {
            reference.namespace_uid = Some(namespace_uid);
        }
        Some(reference.app.clone())
    }

    /// Returns the namespaces with references to an app by name, with their UIDs; those with an
    /// unknown UID are left out.
    pub(crate) fn referring_namespaces(&self, app: &AppRef) -> BTreeMap<String, String> {
        let referrers = self.referrers.get(app).into_iter().flatten();
        referrers
            .filter_map(|key| {
                let uid = self.references.get(key)?.namespace_uid.clone()?;
                Some((key.namespace.clone()?, uid))
            })
            .collect()
    }

    /// Forgets a reference and returns the others that there is now room for.
    pub(crate) fn reference_deleted(&mut self, key: &ReferenceRef) -> Vec<ReferenceRef> {
        self.newly_refused_references.forget(key);
        let moved = self.reference_admission.remove(key);
        let others = self.follow_references(key, moved);
        self.unlink(key);
        others
    }

    fn unlink(&mut self, key: &ReferenceRef) -> Option<Reference> {
        let reference = self.references.remove(key)?;
        take_away(&mut self.referrers, &reference.app, |them| them.remove(key));
        let copies = secret_beside(key, &reference.target);
        take_away(&mut self.copiers, &copies, |copiers| copiers.remove(key));
        Some(reference)
    }

    /// Returns the references to an app.
    pub(crate) fn referrers(&self, app: &AppRef) -> Vec<ReferenceRef> {
        let referrers = self.referrers.get(app).into_iter().flatten();
        referrers.cloned().collect()
    }

    /// Returns the references that a Secret concerns, as a copy or as a source.
    pub(crate) fn references_of(&self, secret: &SecretRef) -> Vec<ReferenceRef> {
        if self.references.is_empty() {
            return Vec::new();
        }
        let users = self.users_of(secret);
        let sources = users.iter().flat_map(|app| self.referrers(app));
        sources.chain(self.copiers(secret).cloned()).collect()
    }

    /// Whether a Secret has the exact name of a reference's copy.
    pub(super) fn is_copy(&self, secret: &SecretRef) -> bool {
        let copied_by = self.copiers(secret);
        let mut copied_by = copied_by.filter_map(|key| self.references.get(key));
        copied_by.any(|reference| {
            let app = self.apps.get(&reference.app);
            let rest = secret.1.strip_prefix(reference.target.as_str());
            let corp_id = rest.and_then(|rest| rest.strip_prefix('-'));
            let has_corp = |app: &App| corp_id.is_some_and(|corp_id| app.has_corp(corp_id));
            rest == Some("") || app.is_some_and(has_corp)
        })
    }

    pub(super) fn copiers<'a>(
        &'a self,
        (namespace, name): &'a SecretRef,
    ) -> impl Iterator<Item = &'a ReferenceRef> {
        let prefixes = name
            .match_indices('-')
            .filter_map(|(end, _)| name.get(..end));
        let targets = prefixes.chain([name.as_str()]);
        targets
            .filter_map(move |target| self.copiers.get(&(namespace.clone(), target.to_owned())))
            .flatten()
    }

    /// Returns the generations of a reference and its app, and the state of the grant. While they
    /// stay the same, so do the wanted copies.
    pub(crate) fn reference_state(&self, reference: &ReferenceRef) -> Option<ReferenceState> {
        let entry = self.references.get(reference)?;
        let app = self.apps.get(&entry.app);
        let namespace = reference.namespace.as_deref().unwrap_or_default();
        Some(ReferenceState {
            uid: entry.metadata.uid.clone(),
            generation: entry.metadata.generation,
            app: app.map(|app| (app.uid().to_owned(), app.generation)),
            grant: grant(app, namespace, entry.namespace_uid.as_deref()),
        })
    }
}
