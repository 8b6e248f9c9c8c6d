//! What the simulated API server holds, and the events of its watches.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{
    FieldsV1, ManagedFieldsEntry, ObjectMeta, OwnerReference, Time,
};
use kube::runtime::watcher::Event;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::api::{DingTalkApp, DingTalkTokenReference, MANAGER};
use crate::controller::cluster::{ClusterError, SecretContents};
use crate::plan::{ObjectVersion, Write};

pub const NAMESPACE: &str = "hr";

/// A Secret; `ours` are the keys that the operator wrote last.
#[derive(Clone, Debug, Default)]
pub struct StoredSecret {
    pub uid: String,
    pub version: u64,
    pub data: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    pub owners: Vec<OwnerReference>,
    pub ours: BTreeSet<String>,
}

#[derive(Default)]
pub struct Store {
    pub apps: BTreeMap<String, DingTalkApp>,
    pub references: BTreeMap<String, DingTalkTokenReference>,
    pub secrets: BTreeMap<String, StoredSecret>,
    pub app_events: VecDeque<Event<DingTalkApp>>,
    pub reference_events: VecDeque<Event<DingTalkTokenReference>>,
    pub secret_events: VecDeque<Event<ObjectMeta>>,
    /// What the operator did, for the judge.
    pub writes: Vec<String>,
    pub now: Timestamp,
    pub version: u64,
}

fn refused(operation: &'static str, code: u16, reason: &str) -> ClusterError {
    let status = kube::core::Status::failure(reason, reason).with_code(code);
    ClusterError::Call {
        operation,
        source: kube::Error::Api(Box::new(status)),
    }
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

    // What users do.

    pub fn put_app(&mut self, mut app: DingTalkApp) {
        let name = app.metadata.name.clone().expect("a name");
        let version = self.next_version();
        match self.apps.get(&name) {
            Some(old) => {
                let generation = old.metadata.generation.unwrap_or_default();
                let is_new =
                    serde_json::to_value(&old.spec).ok() != serde_json::to_value(&app.spec).ok();
                app.metadata.uid.clone_from(&old.metadata.uid);
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
        self.app_events.push_back(Event::Apply(app.clone()));
        self.apps.insert(name, app);
    }

    /// Deletes an app, and what it owns as the garbage collector does.
    pub fn delete_app(&mut self, name: &str) {
        let Some(mut app) = self.apps.remove(name) else {
            return;
        };
        app.metadata.resource_version = Some(self.next_version().to_string());
        let uid = app.metadata.uid.clone().unwrap_or_default();
        self.app_events.push_back(Event::Delete(app));
        self.collect_garbage(&uid);
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
        self.reference_events
            .push_back(Event::Apply(reference.clone()));
        self.references.insert(name, reference);
    }

    /// Deletes a reference, and its copies.
    pub fn delete_reference(&mut self, name: &str) {
        let Some(mut reference) = self.references.remove(name) else {
            return;
        };
        reference.metadata.resource_version = Some(self.next_version().to_string());
        let uid = reference.metadata.uid.clone().unwrap_or_default();
        self.reference_events.push_back(Event::Delete(reference));
        self.collect_garbage(&uid);
    }

    fn collect_garbage(&mut self, uid: &str) {
        let owned = self.secrets.iter();
        let owned = owned.filter(|(_, secret)| secret.owners.iter().any(|owner| owner.uid == uid));
        let owned: Vec<String> = owned.map(|(name, _)| name.clone()).collect();
        for name in owned {
            self.remove_secret(&name);
        }
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

    /// Somebody else changes a key of a Secret.
    pub fn tamper(&mut self, name: &str) {
        let version = self.next_version();
        let Some(stored) = self.secrets.get_mut(name) else {
            return;
        };
        let Some(key) = stored.data.keys().next().cloned() else {
            return;
        };
        stored.ours.remove(&format!("data/{key}"));
        stored.data.insert(key, "tampered".to_owned());
        stored.version = version;
        self.tell(name);
    }

    pub fn remove_secret(&mut self, name: &str) {
        if let Some(mut stored) = self.secrets.remove(name) {
            stored.version = self.next_version();
            self.secret_events
                .push_back(Event::Delete(stored.meta(name)));
        }
    }

    fn tell(&mut self, name: &str) {
        if let Some(stored) = self.secrets.get(name) {
            self.secret_events
                .push_back(Event::Apply(stored.meta(name)));
        }
    }

    // What the operator asks for.

    pub fn read(
        &self,
        operation: &'static str,
        name: &str,
    ) -> Result<SecretContents, ClusterError> {
        let stored = self.secrets.get(name);
        let stored = stored.ok_or_else(|| refused(operation, 404, "NotFound"))?;
        let data = stored.data.iter();
        let data =
            data.map(|(key, value)| (key.clone(), Zeroizing::new(value.clone().into_bytes())));
        Ok(SecretContents::new(stored.meta(name), data.collect()))
    }

    pub fn read_meta(&self, name: &str) -> Result<ObjectMeta, ClusterError> {
        let operation = "read the target Secret's metadata";
        let stored = self.secrets.get(name);
        let stored = stored.ok_or_else(|| refused(operation, 404, "NotFound"))?;
        Ok(stored.meta(name))
    }

    pub fn write(&mut self, write: &Write) -> Result<ObjectMeta, ClusterError> {
        let operation = "write the target Secret";
        let known = self.secrets.get(&write.name);
        let is_expected = match (known, &write.replaces) {
            (None, None) => true,
            (None, Some(_)) => return Err(refused(operation, 404, "NotFound")),
            (Some(_), None) => return Err(refused(operation, 409, "AlreadyExists")),
            (Some(known), Some(expected)) => {
                known.uid == expected.uid && known.version.to_string() == expected.resource_version
            }
        };
        if !is_expected {
            return Err(refused(operation, 409, "Conflict"));
        }
        let version = self.next_version();
        let stored = self.secrets.entry(write.name.clone()).or_default();
        if stored.uid.is_empty() {
            stored.uid = format!("secret-{version}");
        }
        stored.version = version;
        stored.owners.clone_from(&write.owner_references);
        let StoredSecret {
            data,
            labels,
            annotations,
            ours,
            ..
        } = stored;
        let changes = write
            .data
            .iter()
            .map(|(key, value)| (key, value.as_ref().map(|it| it.as_str())));
        patch("data/", data, ours, changes);
        patch(
            "label/",
            labels,
            ours,
            write
                .labels
                .iter()
                .map(|(key, value)| (key, value.as_deref())),
        );
        patch(
            "annotation/",
            annotations,
            ours,
            write
                .annotations
                .iter()
                .map(|(key, value)| (key, value.as_deref())),
        );
        let meta = stored.meta(&write.name);
        self.writes.push(format!("write {}", write.name));
        self.tell(&write.name);
        let apps = self.apps.values().map(|app| &app.metadata.uid);
        let references = self.references.values();
        let uids = apps.chain(references.map(|reference| &reference.metadata.uid));
        let uids: Vec<&str> = uids.flatten().map(String::as_str).collect();
        let lives = |uid: &str| uids.contains(&uid);
        let owners = &write.owner_references;
        // The garbage collector takes what only those own that are gone.
        if !owners.is_empty() && !owners.iter().any(|owner| lives(&owner.uid)) {
            self.remove_secret(&write.name);
        }
        Ok(meta)
    }

    pub fn delete(&mut self, name: &str, version: &ObjectVersion) -> Result<(), ClusterError> {
        let operation = "delete the target Secret";
        let known = self.secrets.get(name);
        let known = known.ok_or_else(|| refused(operation, 404, "NotFound"))?;
        if known.uid != version.uid || known.version.to_string() != version.resource_version {
            return Err(refused(operation, 409, "Conflict"));
        }
        self.writes.push(format!("delete {name}"));
        self.remove_secret(name);
        Ok(())
    }

    pub fn patch_status(
        &mut self,
        kind: &str,
        name: &str,
        body: &Value,
    ) -> Result<ObjectMeta, ClusterError> {
        let operation = "write the status";
        let gone = || refused(operation, 404, "NotFound");
        let version = self.next_version().to_string();
        self.writes.push(format!("status {name}"));
        if kind == "DingTalkTokenReference" {
            let reference = self.references.get_mut(name).ok_or_else(gone)?;
            patch_object(
                &mut reference.metadata,
                &mut reference.status,
                body,
                version,
            )?;
            let event = Event::Apply(reference.clone());
            self.reference_events.push_back(event);
            return Ok(reference.metadata.clone());
        }
        let app = self.apps.get_mut(name).ok_or_else(gone)?;
        patch_object(&mut app.metadata, &mut app.status, body, version)?;
        self.app_events.push_back(Event::Apply(app.clone()));
        Ok(app.metadata.clone())
    }
}

fn patch_object<S: Serialize + DeserializeOwned + Default>(
    metadata: &mut ObjectMeta,
    status: &mut Option<S>,
    body: &Value,
    version: String,
) -> Result<(), ClusterError> {
    if body["metadata"]["uid"].as_str() != metadata.uid.as_deref() {
        return Err(refused("write the status", 409, "Conflict"));
    }
    let mut new = serde_json::to_value(status.take().unwrap_or_default()).expect("JSON");
    if let (Some(new), Some(patch)) = (new.as_object_mut(), body["status"].as_object()) {
        for (key, value) in patch {
            match value {
                Value::Null => new.remove(key),
                value => new.insert(key.clone(), value.clone()),
            };
        }
    }
    *status = Some(serde_json::from_value(new).expect("a status"));
    metadata.resource_version = Some(version);
    Ok(())
}

fn patch<'a>(
    prefix: &str,
    map: &mut BTreeMap<String, String>,
    ours: &mut BTreeSet<String>,
    changes: impl Iterator<Item = (&'a String, Option<&'a str>)>,
) {
    for (key, value) in changes {
        match value {
            Some(value) => {
                ours.insert(format!("{prefix}{key}"));
                map.insert(key.clone(), value.to_owned());
            }
            None => {
                ours.remove(&format!("{prefix}{key}"));
                map.remove(key);
            }
        }
    }
}
