//! Which reference copies which app's Secrets.

use std::collections::{BTreeMap, HashSet};

use kube::ResourceExt;

use super::names::SecretRef;
use super::{App, AppRef, Index, ReferenceRef, in_scope};
use crate::api::{DingTalkTokenReference, Layout};
use crate::plan::{CopySeen, Grant, ReferenceView, per_corp_name};

/// What is kept of a reference.
pub(super) struct Reference {
    uid: String,
    app: AppRef,
    target: String,
    namespace_uid: Option<String>,
}

impl Index {
    /// Takes note of a reference.
    pub fn reference_applied(&mut self, reference: &DingTalkTokenReference) {
        let key = ReferenceRef::from_obj(reference);
        let uid = reference.uid().unwrap_or_default();
        let old = self.references.get(&key).filter(|old| old.uid == uid);
        let namespace_uid = old.and_then(|old| old.namespace_uid.clone());
        self.reference_deleted(&key);
        let named = &reference.spec.app_ref;
        let app = AppRef::new(&named.name).within(&named.namespace);
        let new = Reference {
            uid,
            app: app.clone(),
            target: reference.target_name(),
            namespace_uid,
        };
        self.referrers.entry(app).or_default().insert(key.clone());
        self.references.insert(key, new);
    }

    /// Takes note of the UID of a reference's namespace; gives the app that is to record it.
    pub fn namespace_read(
        &mut self,
        key: &ReferenceRef,
        uid: &str,
        namespace_uid: String,
    ) -> Option<AppRef> {
        let reference = self.references.get_mut(key)?;
        if reference.uid == uid {
            reference.namespace_uid = Some(namespace_uid);
        }
        Some(reference.app.clone())
    }

    /// The namespaces with references to an app, and their UIDs where they are known.
    pub fn referring_namespaces(&self, app: &AppRef) -> BTreeMap<String, String> {
        let referrers = self.referrers.get(app).into_iter().flatten();
        referrers
            .filter_map(|key| {
                let uid = self.references.get(key)?.namespace_uid.clone()?;
                Some((key.namespace.clone()?, uid))
            })
            .collect()
    }

    /// Forgets a reference.
    pub fn reference_deleted(&mut self, key: &ReferenceRef) {
        let Some(reference) = self.references.remove(key) else {
            return;
        };
        if let Some(referrers) = self.referrers.get_mut(&reference.app) {
            referrers.remove(key);
            if referrers.is_empty() {
                self.referrers.remove(&reference.app);
            }
        }
    }

    /// The references of `scope` that are not in `listed`.
    pub fn references_gone(
        &self,
        scope: Option<&str>,
        listed: &HashSet<ReferenceRef>,
    ) -> Vec<ReferenceRef> {
        let known = self.references.keys();
        known
            .filter(|key| in_scope(scope, key.namespace.as_deref()) && !listed.contains(key))
            .cloned()
            .collect()
    }

    /// The references to an app.
    pub fn referrers(&self, app: &AppRef) -> Vec<ReferenceRef> {
        let referrers = self.referrers.get(app).into_iter().flatten();
        referrers.cloned().collect()
    }

    /// The references that a Secret matters to: their copies, or what they copy.
    pub fn references_of(&self, namespace: &str, name: &str) -> Vec<ReferenceRef> {
        if self.references.is_empty() {
            return Vec::new();
        }
        let users = self.users_of(&(namespace.to_owned(), name.to_owned()));
        let sources = users.iter().flat_map(|app| self.referrers(app));
        sources
            .chain(self.copiers(namespace, name).cloned())
            .collect()
    }

    /// Whether a Secret has the very name of a reference's copy.
    pub(super) fn is_copy(&self, (namespace, name): &SecretRef) -> bool {
        self.copiers(namespace, name).any(|key| {
            let Some(reference) = self.references.get(key) else {
                return false;
            };
            let rest = name.strip_prefix(reference.target.as_str());
            let corp_id = rest.and_then(|rest| rest.strip_prefix('-'));
            let app = self.apps.get(&reference.app);
            rest == Some("")
                || corp_id.is_some_and(|corp_id| {
                    app.is_some_and(|app| app.corp_ids.iter().any(|id| id == corp_id))
                })
        })
    }

    pub(super) fn copiers<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
    ) -> impl Iterator<Item = &'a ReferenceRef> {
        let is_copy = move |(key, reference): &(&ReferenceRef, &Reference)| {
            let rest = name.strip_prefix(reference.target.as_str());
            key.namespace.as_deref() == Some(namespace)
                && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        };
        self.references.iter().filter(is_copy).map(|(key, _)| key)
    }

    /// What is seen for a reference; `None` where it is gone or was recreated.
    pub fn reference_view<'a>(
        &'a self,
        reference: &'a DingTalkTokenReference,
    ) -> Option<ReferenceView<'a>> {
        let key = ReferenceRef::from_obj(reference);
        let uid = reference.metadata.uid.as_deref().unwrap_or_default();
        let entry = self.references.get(&key).filter(|entry| entry.uid == uid)?;
        if self.refusal(&entry.app).is_some() {
            // Whom the app grants a copy is not kept while it is not served: its copies stay.
            return Some(ReferenceView {
                reference,
                grant: Grant::Given,
                copies: Some(Vec::new()),
                metadata_prefixes: &[],
                former: BTreeMap::new(),
            });
        }
        let namespace = key.namespace.clone().unwrap_or_default();
        let app = self.apps.get(&entry.app);
        let grant = grant(app, &namespace, entry.namespace_uid.as_deref());
        let granted = app.filter(|_| grant == Grant::Given);
        let copies = granted.map(|app| {
            let names = match app.layout {
                Layout::Single | Layout::Combined => {
                    vec![(app.target.clone(), entry.target.clone())]
                }
                Layout::PerCorp => app
                    .corp_ids
                    .iter()
                    .map(|corp_id| {
                        (
                            per_corp_name(&app.target, corp_id),
                            per_corp_name(&entry.target, corp_id),
                        )
                    })
                    .collect(),
            };
            let seen = |(source_name, name): (String, String)| {
                let source = self
                    .secret(&entry.app, &source_name)
                    .filter(|source| source.app_uid() == Some(&app.uid));
                let present = self.secret_in(&namespace, &name);
                CopySeen {
                    name,
                    source_name,
                    source,
                    present,
                }
            };
            names.into_iter().map(seen).collect::<Vec<_>>()
        });
        let is_wanted = |name: &str| copies.iter().flatten().any(|copy| copy.name == name);
        let owned = self.owned.get(uid).into_iter().flatten();
        let former = owned
            .filter(|(owned_in, name)| *owned_in == namespace && !is_wanted(name))
            .filter_map(|(namespace, name)| Some((name.as_str(), self.secret_in(namespace, name)?)))
            .collect();
        Some(ReferenceView {
            reference,
            grant,
            copies,
            metadata_prefixes: &[],
            former,
        })
    }
}

fn grant(app: Option<&App>, namespace: &str, uid: Option<&str>) -> Grant {
    let Some(app) = app else {
        return Grant::NoApp;
    };
    let granted = Some(app).filter(|app| app.grants.contains(namespace));
    let recorded = granted.map(|app| app.granted.get(namespace));
    match (recorded, uid) {
        (None, _) => Grant::Absent,
        (Some(_), None) => Grant::Unread,
        (Some(None), Some(_)) => Grant::Unrecorded,
        (Some(Some(recorded)), Some(uid)) if recorded == uid => Grant::Given,
        (Some(Some(_)), Some(_)) => Grant::Former,
    }
}
