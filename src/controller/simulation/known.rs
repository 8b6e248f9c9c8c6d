//! What a process knows of the world: what its watches have told it.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use kube::runtime::watcher::Event;

use super::store::Told;
use crate::api::{DingTalkApp, DingTalkTokenReference};
use crate::core::wanted;

/// What a process knew when it sent a call.
#[derive(Clone, Default)]
pub struct Known {
    pub apps: BTreeMap<String, Arc<DingTalkApp>>,
    pub references: BTreeMap<String, Arc<DingTalkTokenReference>>,
    /// The latest resourceVersion of a Secret.
    pub secrets: u64,
    /// Since when each suspended app is known to be suspended, by UID.
    pub suspended: BTreeMap<String, Timestamp>,
}

/// The owner of a Secret, as a process knows it.
#[derive(Clone, Copy)]
pub enum Owner<'a> {
    App(&'a DingTalkApp),
    Reference(&'a DingTalkTokenReference),
}

impl Known {
    /// Records an event.
    pub fn told(&mut self, told: &Told, now: Timestamp) {
        match told {
            Told::App(Event::Apply(app) | Event::InitApply(app)) => {
                let uid = app.metadata.uid.clone().unwrap_or_default();
                match app.spec.suspend {
                    true => {
                        self.suspended.entry(uid).or_insert(now);
                    }
                    false => {
                        self.suspended.remove(&uid);
                    }
                }
            }
            Told::Secret(Event::Apply(meta) | Event::InitApply(meta) | Event::Delete(meta)) => {
                let version = meta.resource_version.as_deref().unwrap_or_default();
                self.secrets = self.secrets.max(version.parse().unwrap_or_default());
            }
            _ => {}
        }
    }

    /// Returns the app or reference with this UID.
    pub fn owner(&self, uid: &str) -> Option<Owner<'_>> {
        let app = |app: &&Arc<DingTalkApp>| app.metadata.uid.as_deref() == Some(uid);
        let reference = |it: &&Arc<DingTalkTokenReference>| it.metadata.uid.as_deref() == Some(uid);
        let app = self.apps.values().find(app).map(|app| Owner::App(app));
        let reference = self.references.values().find(reference);
        app.or_else(|| reference.map(|reference| Owner::Reference(reference)))
    }

    /// Returns the Secrets that an owner wants, with their corps.
    pub fn wanted(&self, owner: Owner<'_>) -> Vec<(String, Vec<String>)> {
        match owner {
            Owner::App(app) => targets(app),
            Owner::Reference(reference) => {
                let app = self.apps.get(&reference.spec.app_ref.name);
                app.map_or_else(Vec::new, |app| copies(app, reference))
            }
        }
    }
}

/// Returns the Secrets that an app wants, with their corps.
pub fn targets(app: &DingTalkApp) -> Vec<(String, Vec<String>)> {
    let targets = wanted(app).into_iter();
    let targets = targets.map(|target| (target.name, target.corp_ids.to_vec()));
    targets.collect()
}

/// Returns the copies that a reference to this app wants, with their corps.
pub fn copies(app: &DingTalkApp, reference: &DingTalkTokenReference) -> Vec<(String, Vec<String>)> {
    if app.spec.reference_grants.is_empty() {
        return Vec::new();
    }
    let mut app = app.clone();
    app.spec.target.name = Some(reference.target_name());
    targets(&app)
}
