//! The calls as a trait, so that a simulated API server can answer them.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use jiff::Timestamp;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::Serialize;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::error::{ClusterError, Result};
use crate::api::{DingTalkApp, DingTalkTokenReference, RolloutRestartTarget};
use crate::core::{ObjectVersion, Readers, Write};

#[async_trait]
pub(crate) trait Cluster: Send + Sync {
    async fn read_secret(
        &self,
        operation: &'static str,
        namespace: &str,
        name: &str,
    ) -> Result<SecretContents>;

    /// Reads an app by listing, because the operator has no permission to get one. `None` if it is
    /// gone or cannot be decoded, which the watch reports as well.
    async fn read_app(&self, namespace: &str, name: &str) -> Result<Option<DingTalkApp>>;

    /// Reads a reference, as [`Self::read_app`] does an app.
    async fn read_reference(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<DingTalkTokenReference>>;

    /// Reads a namespace's UID. A Role in the namespace suffices for that.
    async fn read_namespace_uid(&self, namespace: &str) -> Result<String>;

    async fn read_secret_metadata(&self, namespace: &str, name: &str) -> Result<ObjectMeta>;

    /// Creates the Secret, or patches the version that the write replaces.
    async fn write_secret(&self, namespace: &str, write: &Write) -> Result<ObjectMeta>;

    /// Deletes a Secret in exactly this version.
    async fn delete_secret(
        &self,
        operation: &'static str,
        namespace: &str,
        name: &str,
        version: &ObjectVersion,
    ) -> Result<()>;

    /// Applies a merge patch to an object's status and returns the object's metadata. `path` is the
    /// URL path of its kind in its namespace.
    async fn patch_status(&self, path: &str, name: &str, patch: Value) -> Result<ObjectMeta>;

    async fn publish(&self, namespace: &str, event: &Event) -> Result<()>;

    /// Triggers a rollout of a workload, as `kubectl rollout restart` does.
    async fn restart(
        &self,
        namespace: &str,
        workload: &RolloutRestartTarget,
        at: Timestamp,
    ) -> Result<()>;

    /// Finds, among the pods of a namespace, the readers of the `written` Secrets of an app, and
    /// those that are stuck with `any` of its Secrets.
    async fn readers(
        &self,
        namespace: &str,
        written: &BTreeSet<String>,
        any: &BTreeSet<String>,
    ) -> Result<Readers>;

    /// Annotates a pod through its status, which cannot change what it runs.
    async fn touch_pod(&self, namespace: &str, name: &str, uid: &str, at: Timestamp) -> Result<()>;
}

/// A Secret with its contents.
pub(crate) struct SecretContents {
    pub metadata: ObjectMeta,
    pub data: BTreeMap<String, Zeroizing<Vec<u8>>>,
}

impl dyn Cluster {
    /// Writes an object's status over `previous` and returns the object's new resourceVersion. With
    /// a `version`, another resourceVersion of the object is a conflict.
    pub(crate) async fn write_status<K, S>(
        &self,
        object: &K,
        (previous, version): (&S, Option<&str>),
        status: &S,
    ) -> Result<Option<String>>
    where
        K: Resource<DynamicType = ()>,
        S: Serialize,
    {
        let operation = "write the status";
        let malformed = |_| ClusterError::Malformed { operation };
        let mut patch = serde_json::to_value(status).map_err(malformed)?;
        // A merge patch keeps what it omits, so removed fields must be null.
        let gone = serde_json::to_value(previous).map_err(malformed)?;
        if let (Value::Object(patch), Value::Object(gone)) = (&mut patch, gone) {
            for (field, _) in gone {
                patch.entry(field).or_insert(Value::Null);
            }
        }
        // With the UID, a recreated object of the same name is a conflict.
        let mut metadata = json!({"uid": object.meta().uid});
        if let (Value::Object(metadata), Some(version)) = (&mut metadata, version) {
            metadata.insert("resourceVersion".to_owned(), version.into());
        }
        let body = json!({"metadata": metadata, "status": patch});
        let path = K::url_path(&(), object.meta().namespace.as_deref());
        let name = object.meta().name.as_deref().unwrap_or_default();
        let metadata = self.patch_status(&path, name, body).await?;
        Ok(metadata.resource_version)
    }
}
