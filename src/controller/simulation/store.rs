//! Objects of the simulated API server, and the events of its watches.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{
    FieldsV1, ManagedFieldsEntry, ObjectMeta, OwnerReference, Time,
};
use kube::runtime::watcher::Event;
use serde_json::{Value, json};

use super::records::Recorded;
use crate::api::{DingTalkApp, DingTalkTokenReference, MANAGER};

pub const NAMESPACE: &str = "hr";

/// A Secret; `ours` are the keys that the operator was the last to write.
#[derive(Clone, Debug, Default)]
pub struct StoredSecret {
    pub uid: String,
    pub version: u64,
    pub data: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    pub owners: Vec<OwnerReference>,
    pub ours: BTreeSet<String>,
    /// Whether its data must not change.
    pub is_immutable: bool,
    /// When the operator last wrote it.
    pub written_at: Option<Timestamp>,
    /// What it records about its tokens; known of the states in [`Store::states`].
    pub recorded: Option<Recorded>,
}

/// A change of a Secret.
pub struct Change {
    pub secret: String,
    /// The Secret before; `None` if it did not exist.
    pub before: Option<StoredSecret>,
    /// The resourceVersion after it.
    pub version: u64,
    pub at: Timestamp,
}

/// A watch event.
#[derive(Clone)]
#[expect(clippy::large_enum_variant, reason = "most are events of apps")]
pub enum Told {
    App(Event<DingTalkApp>),
    Reference(Event<DingTalkTokenReference>),
    Secret(Event<ObjectMeta>),
}

#[derive(Default)]
pub struct Store {
    pub apps: BTreeMap<String, DingTalkApp>,
    pub references: BTreeMap<String, DingTalkTokenReference>,
    pub secrets: BTreeMap<String, StoredSecret>,
    /// Events that the watches have not delivered yet.
    pub events: VecDeque<Told>,
    pub lease: Option<Lease>,
    /// The message with which an admission plugin refuses each write of a Secret.
    pub refusal: Option<&'static str>,
    /// The message with which an admission plugin refuses each deletion of a Secret.
    pub deletion_refusal: Option<&'static str>,
    /// The HTTP status with which each read of one of the operator's Secrets fails.
    pub read_refusal: Option<u16>,
    /// The HTTP status with which each restart of a workload fails.
    pub restart_failure: Option<u16>,
    /// The HTTP status with which each write of a status fails.
    pub status_refusal: Option<u16>,
    /// How often the operator has tried to write a status.
    pub status_attempts: usize,
    /// The namespace's pods.
    pub pods: Vec<Pod>,
    /// The HTTP status with which each list of pods fails.
    pub pods_failure: Option<u16>,
    /// How often the pods were listed.
    pub pod_lists: usize,
    /// Reasons of the published events.
    pub published: Vec<String>,
    /// Most Secrets in the namespace.
    pub quota: Option<usize>,
    /// A label that a webhook removes from each Secret that is written.
    pub label_taken_off: Option<&'static str>,
    /// UIDs of owners that are neither apps nor references.
    pub other_owners: BTreeSet<String>,
    /// Secrets that the garbage collector is about to look at, and when.
    pub suspects: BTreeSet<(Timestamp, String)>,
    /// The operator's writes, for the judge.
    pub writes: Vec<String>,
    /// The operator's changes of Secrets, until they are judged.
    pub changes: Vec<Change>,
    /// What others than the operator did to Secrets.
    pub losses: Vec<Change>,
    /// Every state in which a Secret has been, by name and resourceVersion.
    pub states: BTreeMap<String, BTreeMap<u64, StoredSecret>>,
    /// Number of those states of Secrets that are not the operator's.
    pub states_of_others: u64,
    /// The Secret that the last call was about, for the judge.
    pub concerns: Option<String>,
    /// How often the contents of each Secret were read.
    pub reads: BTreeMap<String, usize>,
    pub now: Timestamp,
    pub version: u64,
}

impl StoredSecret {
    pub fn meta(&self, name: &str) -> ObjectMeta {
        let ours = |prefix: &str, keys: &BTreeMap<String, String>| -> Value {
            let keys = keys.keys();
            let ours = keys.filter(|key| self.ours.contains(&format!("{prefix}{key}")));
            let fields = ours.map(|key| (format!("f:{key}"), json!({})));
            fields.collect::<serde_json::Map<_, _>>().into()
        };
        let fields = json!({
            "f:data": ours("data/", &self.data),
            "f:metadata": {
                "f:annotations": ours("annotation/", &self.annotations),
                "f:labels": ours("label/", &self.labels),
            },
        });
        ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(NAMESPACE.to_owned()),
            uid: Some(self.uid.clone()),
            resource_version: Some(self.version.to_string()),
            labels: Some(self.labels.clone()),
            annotations: Some(self.annotations.clone()),
            owner_references: Some(self.owners.clone()),
            managed_fields: Some(vec![ManagedFieldsEntry {
                manager: Some(MANAGER.to_owned()),
                fields_v1: Some(FieldsV1(fields)),
                ..ManagedFieldsEntry::default()
            }]),
            ..ObjectMeta::default()
        }
    }
}

impl Store {
    pub fn next_version(&mut self) -> u64 {
        self.version += 1;
        self.version
    }

    pub fn put_app(&mut self, mut app: DingTalkApp) {
        let name = app.metadata.name.clone().expect("a name");
        let version = self.next_version();
        match self.apps.get(&name) {
            Some(old) => {
                let generation = old.metadata.generation.unwrap_or_default();
                let is_new =
                    serde_json::to_value(&old.spec).ok() != serde_json::to_value(&app.spec).ok();
                app.metadata.uid.clone_from(&old.metadata.uid);
                // Applying a manifest keeps annotations that others have set.
                if app.metadata.annotations.is_none() {
                    let annotations = &mut app.metadata.annotations;
                    annotations.clone_from(&old.metadata.annotations);
                }
                app.metadata
                    .creation_timestamp
                    .clone_from(&old.metadata.creation_timestamp);
                app.metadata.generation = Some(generation + i64::from(is_new));
                app.status.clone_from(&old.status);
            }
            None => {
                app.metadata.uid = Some(format!("app-{version}"));
                app.metadata.generation = Some(1);
                app.metadata.creation_timestamp = Some(Time(self.now));
                app.status = None;
            }
        }
        app.metadata.namespace = Some(NAMESPACE.to_owned());
        app.metadata.resource_version = Some(version.to_string());
        self.events.push_back(Told::App(Event::Apply(app.clone())));
        self.apps.insert(name, app);
    }

    /// Deletes an app.
    pub fn delete_app(&mut self, name: &str) {
        let Some(mut app) = self.apps.remove(name) else {
            return;
        };
        app.metadata.resource_version = Some(self.next_version().to_string());
        let uid = app.metadata.uid.clone().unwrap_or_default();
        self.events.push_back(Told::App(Event::Delete(app)));
        self.owner_gone(&uid);
    }

    pub fn put_reference(&mut self, mut reference: DingTalkTokenReference) {
        let name = reference.metadata.name.clone().expect("a name");
        let version = self.next_version();
        let meta = &mut reference.metadata;
        match self.references.get(&name) {
            Some(old) => {
                let generation = old.metadata.generation.unwrap_or_default();
                meta.uid.clone_from(&old.metadata.uid);
                meta.generation = Some(generation + i64::from(old.spec != reference.spec));
                meta.creation_timestamp
                    .clone_from(&old.metadata.creation_timestamp);
                reference.status.clone_from(&old.status);
            }
            None => {
                meta.uid = Some(format!("reference-{version}"));
                meta.generation = Some(1);
                meta.creation_timestamp = Some(Time(self.now));
            }
        }
        reference.metadata.namespace = Some(NAMESPACE.to_owned());
        reference.metadata.resource_version = Some(version.to_string());
        self.events
            .push_back(Told::Reference(Event::Apply(reference.clone())));
        self.references.insert(name, reference);
    }

    /// Deletes a reference.
    pub fn delete_reference(&mut self, name: &str) {
        let Some(mut reference) = self.references.remove(name) else {
            return;
        };
        reference.metadata.resource_version = Some(self.next_version().to_string());
        let uid = reference.metadata.uid.clone().unwrap_or_default();
        self.events
            .push_back(Told::Reference(Event::Delete(reference)));
        self.owner_gone(&uid);
    }

    pub fn put_credentials(&mut self, name: &str, client_id: &str, secret: &str) {
        let version = self.next_version();
        let stored = self.secrets.entry(name.to_owned()).or_default();
        if stored.uid.is_empty() {
            stored.uid = format!("secret-{version}");
        }
        stored.version = version;
        stored
            .data
            .insert("client_id".to_owned(), client_id.to_owned());
        stored
            .data
            .insert("client_secret".to_owned(), secret.to_owned());
        self.tell(name);
    }

    /// Changes a key of a Secret as another writer.
    pub fn tamper(&mut self, name: &str) {
        let version = self.next_version();
        let Some(stored) = self.secrets.get_mut(name) else {
            return;
        };
        let before = stored.clone();
        let Some(key) = stored.data.keys().next().cloned() else {
            return;
        };
        stored.ours.remove(&format!("data/{key}"));
        stored.data.insert(key, "tampered".to_owned());
        stored.version = version;
        self.losses.push(Change {
            secret: name.to_owned(),
            before: Some(before),
            version,
            at: self.now,
        });
        self.tell(name);
    }

    /// Deletes a Secret as another than the operator.
    pub fn lose(&mut self, name: &str) {
        let before = self.secrets.get(name).cloned();
        self.remove_secret(name);
        self.losses.push(Change {
            secret: name.to_owned(),
            before,
            version: self.version,
            at: self.now,
        });
    }

    pub fn remove_secret(&mut self, name: &str) {
        if let Some(mut stored) = self.secrets.remove(name) {
            stored.version = self.next_version();
            self.events
                .push_back(Told::Secret(Event::Delete(stored.meta(name))));
        }
    }

    /// Returns the states in which a Secret has been, by resourceVersion.
    pub fn states(&self, name: &str) -> &BTreeMap<u64, StoredSecret> {
        static NONE: BTreeMap<u64, StoredSecret> = BTreeMap::new();
        self.states.get(name).unwrap_or(&NONE)
    }

    pub fn tell(&mut self, name: &str) {
        if let Some(stored) = self.secrets.get(name) {
            let states = self.states.entry(name.to_owned()).or_default();
            let mut state = stored.clone();
            state.recorded = Recorded::of(stored);
            states.insert(stored.version, state);
            self.states_of_others += u64::from(stored.owner_uid().is_none());
            self.events
                .push_back(Told::Secret(Event::Apply(stored.meta(name))));
        }
    }
}
