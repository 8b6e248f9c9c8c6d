//! The responses of the simulated API server.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::runtime::watcher::Event;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use zeroize::Zeroizing;

use super::kept::CREDENTIALS;
use super::store::{Change, Store, StoredSecret, Told};
use crate::controller::cluster::{ClusterError, SecretContents};
use crate::core::{ObjectVersion, Readers, Write};

fn refused(operation: &'static str, code: u16, message: &str) -> ClusterError {
    let reason = match code {
        403 => "Forbidden",
        404 => "NotFound",
        422 => "Invalid",
        _ => message,
    };
    let status = kube::core::Status::failure(message, reason).with_code(code);
    ClusterError::Call {
        operation,
        source: kube::Error::Api(Box::new(status)),
    }
}

impl Store {
    pub fn read(
        &mut self,
        operation: &'static str,
        name: &str,
    ) -> Result<SecretContents, ClusterError> {
        *self.reads.entry(name.to_owned()).or_default() += 1;
        self.concerns = Some(name.to_owned());
        if let Some(code) = self.read_refusal.filter(|_| !CREDENTIALS.contains(&name)) {
            return Err(refused(operation, code, "no read"));
        }
        let stored = self.secrets.get(name);
        let stored = stored.ok_or_else(|| refused(operation, 404, "NotFound"))?;
        let data = stored.data.iter();
        let data =
            data.map(|(key, value)| (key.clone(), Zeroizing::new(value.clone().into_bytes())));
        Ok(SecretContents {
            metadata: stored.meta(name),
            data: data.collect(),
        })
    }

    pub fn read_meta(&mut self, name: &str) -> Result<ObjectMeta, ClusterError> {
        self.concerns = Some(name.to_owned());
        let operation = "read the target Secret's metadata";
        let stored = self.secrets.get(name);
        let stored = stored.ok_or_else(|| refused(operation, 404, "NotFound"))?;
        Ok(stored.meta(name))
    }

    pub fn write(&mut self, write: &Write) -> Result<ObjectMeta, ClusterError> {
        let operation = "write the target Secret";
        self.concerns = Some(write.name.clone());
        if let Some(refusal) = self.refusal {
            return Err(refused(operation, 403, refusal));
        }
        let known = self.secrets.get(&write.name);
        let is_expected = match (known, &write.replaces) {
            (None, None) if self.quota.is_some_and(|quota| quota <= self.secrets.len()) => {
                return Err(refused(operation, 403, "exceeded quota"));
            }
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
        if known.is_some_and(|known| known.is_immutable) && !write.data.is_empty() {
            let message = "field is immutable when `immutable` is set";
            return Err(refused(operation, 422, message));
        }
        let before = known.cloned();
        let version = self.next_version();
        self.changes.push(Change {
            secret: write.name.clone(),
            before,
            version,
            at: self.now,
        });
        let stored = self.secrets.entry(write.name.clone()).or_default();
        if stored.uid.is_empty() {
            stored.uid = format!("secret-{version}");
        }
        stored.version = version;
        stored.owners.clone_from(&write.owner_references);
        stored.written_at = Some(self.now);
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
        if let Some(label) = self.label_taken_off {
            stored.labels.remove(label);
            stored.ours.remove(&format!("label/{label}"));
        }
        let meta = stored.meta(&write.name);
        self.writes.push(format!("write {}", write.name));
        self.tell(&write.name);
        self.owners_written(&write.name);
        Ok(meta)
    }

    pub fn delete(&mut self, name: &str, version: &ObjectVersion) -> Result<(), ClusterError> {
        let operation = "delete the target Secret";
        self.concerns = Some(name.to_owned());
        if let Some(refusal) = self.deletion_refusal {
            return Err(refused(operation, 403, refusal));
        }
        let known = self.secrets.get(name);
        let known = known.ok_or_else(|| refused(operation, 404, "NotFound"))?;
        if known.uid != version.uid || known.version.to_string() != version.resource_version {
            return Err(refused(operation, 409, "Conflict"));
        }
        let before = Some(known.clone());
        self.writes.push(format!("delete {name}"));
        self.remove_secret(name);
        self.changes.push(Change {
            secret: name.to_owned(),
            before,
            version: self.version,
            at: self.now,
        });
        Ok(())
    }

    pub fn restart(&self) -> Result<(), ClusterError> {
        match self.restart_failure {
            Some(code) => Err(refused("restart the workload", code, "no restart")),
            None => Ok(()),
        }
    }

    pub fn readers(
        &mut self,
        written: &BTreeSet<String>,
        any: &BTreeSet<String>,
    ) -> Result<Readers, ClusterError> {
        self.pod_lists += 1;
        if let Some(code) = self.pods_failure {
            return Err(refused("list the pods", code, "no pods"));
        }
        let mut readers = Readers::default();
        readers.look_at(&self.pods, written, any);
        Ok(readers)
    }

    pub fn patch_status(
        &mut self,
        path: &str,
        name: &str,
        body: &Value,
    ) -> Result<ObjectMeta, ClusterError> {
        let operation = "write the status";
        self.status_attempts += 1;
        if let Some(code) = self.status_refusal {
            return Err(refused(operation, code, "no status"));
        }
        let gone = || refused(operation, 404, "NotFound");
        let version = self.next_version().to_string();
        self.writes.push(format!("status {name}"));
        if path.ends_with("/dingtalktokenreferences") {
            let reference = self.references.get_mut(name).ok_or_else(gone)?;
            patch_object(
                &mut reference.metadata,
                &mut reference.status,
                body,
                version,
            )?;
            let event = Event::Apply(reference.clone());
            self.events.push_back(Told::Reference(event));
            return Ok(reference.metadata.clone());
        }
        let app = self.apps.get_mut(name).ok_or_else(gone)?;
        patch_object(&mut app.metadata, &mut app.status, body, version)?;
        self.events.push_back(Told::App(Event::Apply(app.clone())));
        Ok(app.metadata.clone())
    }
}

fn patch_object<S: Serialize + DeserializeOwned + Default>(
    metadata: &mut ObjectMeta,
    status: &mut Option<S>,
    body: &Value,
    version: String,
) -> Result<(), ClusterError> {
    let is_another = |version: &str| metadata.resource_version.as_deref() != Some(version);
    let version_meant = body["metadata"]["resourceVersion"].as_str();
    if body["metadata"]["uid"].as_str() != metadata.uid.as_deref()
        || version_meant.is_some_and(is_another)
    {
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
