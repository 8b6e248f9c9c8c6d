//! The calls as a trait, so that a simulated API server can answer them.

use std::collections::BTreeSet;

use futures::future::BoxFuture;
use jiff::Timestamp;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::Serialize;
use serde_json::{Value, json};

use super::contents::SecretContents;
use super::error::ClusterError;
use crate::api::{DingTalkApp, DingTalkTokenReference, RolloutRestartTarget};
use crate::plan::{ObjectVersion, Readers, Write};

/// A call under way.
pub type Called<'a, T> = BoxFuture<'a, Result<T, ClusterError>>;

/// The API server.
pub trait Cluster: Send + Sync {
    /// Reads a Secret with its contents.
    fn read_secret<'a>(
        &'a self,
        operation: &'static str,
        namespace: &'a str,
        name: &'a str,
    ) -> Called<'a, SecretContents>;

    /// Reads an app, by a list of one: the operator has no right to get one. `None` if it is gone, or
    /// cannot be decoded, which the watch reports as well.
    fn read_app<'a>(&'a self, namespace: &'a str, name: &'a str)
    -> Called<'a, Option<DingTalkApp>>;

    /// Reads a reference in the same way.
    fn read_reference<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
    ) -> Called<'a, Option<DingTalkTokenReference>>;

    /// Reads a namespace's UID. A Role in the namespace suffices for it.
    fn read_namespace_uid<'a>(&'a self, namespace: &'a str) -> Called<'a, String>;

    /// Reads a Secret's metadata.
    fn read_secret_metadata<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
    ) -> Called<'a, ObjectMeta>;

    /// Creates the target, or changes it in the state that is to be replaced.
    fn write_secret<'a>(&'a self, namespace: &'a str, write: &'a Write) -> Called<'a, ObjectMeta>;

    /// Deletes a Secret in this very state.
    fn delete_secret<'a>(
        &'a self,
        operation: &'static str,
        namespace: &'a str,
        name: &'a str,
        version: &'a ObjectVersion,
    ) -> Called<'a, ()>;

    /// Applies a merge patch to an object's status; returns the object's metadata.
    fn patch_status<'a>(&'a self, object: &'a Named, patch: Value) -> Called<'a, ObjectMeta>;

    /// Publishes an event.
    fn publish<'a>(&'a self, namespace: &'a str, event: &'a Event) -> Called<'a, ()>;

    /// Makes a workload roll out anew, as `kubectl rollout restart` does.
    fn restart<'a>(
        &'a self,
        namespace: &'a str,
        workload: &'a RolloutRestartTarget,
        at: Timestamp,
    ) -> Called<'a, ()>;

    /// Finds the readers of these Secrets among the pods of a namespace.
    fn readers<'a>(
        &'a self,
        namespace: &'a str,
        secrets: &'a BTreeSet<String>,
    ) -> Called<'a, Readers>;

    /// Annotates a pod, through its status, which cannot change what it runs.
    fn touch_pod<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
        uid: &'a str,
        at: Timestamp,
    ) -> Called<'a, ()>;
}

/// An object whose status is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Its kind.
    pub kind: String,
    /// The path of its URL, without its name.
    pub path: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl dyn Cluster {
    /// Writes an object's status over `previous`; returns the object's new resourceVersion.
    pub async fn write_status<K, S>(
        &self,
        object: &K,
        previous: &S,
        status: &S,
    ) -> Result<Option<String>, ClusterError>
    where
        K: Resource<DynamicType = ()>,
        S: Serialize,
    {
        let operation = "write the status";
        let malformed = |_| ClusterError::Malformed { operation };
        let mut patch = serde_json::to_value(status).map_err(malformed)?;
        // In a merge patch, what is left out stays: a field that is no more is named as null.
        let gone = serde_json::to_value(previous).map_err(malformed)?;
        if let (Value::Object(patch), Value::Object(gone)) = (&mut patch, gone) {
            for (field, _) in gone {
                patch.entry(field).or_insert(Value::Null);
            }
        }
        // The uid makes it a conflict where the object was recreated under the same name.
        let body = json!({"metadata": {"uid": object.meta().uid}, "status": patch});
        let namespace = object.meta().namespace.as_deref();
        let named = Named {
            kind: K::kind(&()).into_owned(),
            path: K::url_path(&(), namespace),
            namespace: namespace.unwrap_or_default().to_owned(),
            name: object.meta().name.clone().unwrap_or_default(),
        };
        let metadata = self.patch_status(&named, body).await?;
        Ok(metadata.resource_version)
    }
}
