//! The calls to the API server: each named, each with a time-out, none that lists or polls.
//!
//! Contents of Secrets pass through here alone. They are parsed by hand, since the client library
//! logs a body that it cannot parse.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{Namespace, Pod, Secret};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::{ByteString, List};
use kube::api::{
    DeleteParams, GetParams, ListParams, Patch, PatchParams, PostParams, Preconditions,
};
use kube::core::{ObjectList, Request};
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use thiserror::Error;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use super::decoded::Decoded;
use crate::api::{
    ANNOTATION_RESTARTED_AT, ANNOTATION_TOKEN_WRITTEN_AT, MANAGER, RolloutRestartTarget,
    WorkloadKind,
};
use crate::dingtalk::visible;
use crate::operator::SecretWrite;
use crate::plan::{ObjectVersion, Readers, Write, WriteProblem};

/// The client library retries for minutes by itself; an app must not wait for that.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Secrets whose contents are read at once: each may be a megabyte, and takes several times that
/// while it is parsed.
const READS_MAX: usize = 4;
/// How much may be on its way into Secrets at once, in KiB of their values. Small writes do not wait.
const WRITES_KIB: u32 = 4096;
/// Pods of one page at most; heavy ones come in smaller pages.
const PODS_PAGE: u32 = 500;
/// Asks for the metadata of an object alone: what was just written need not come back.
const METADATA_ONLY: &str =
    "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";

/// What went wrong in a call to the API server.
#[derive(Debug, Error)]
pub enum ClusterError {
    /// No answer within the time-out.
    #[error("{operation}: no answer from the API server within {} s", CALL_TIMEOUT.as_secs())]
    TimedOut {
        /// What was tried.
        operation: &'static str,
    },
    /// The API server refused, or could not be reached.
    #[error("{operation}: {}", said(source))]
    Call {
        /// What was tried.
        operation: &'static str,
        /// Why it failed.
        source: kube::Error,
    },
    /// The request could not be built, or the answer is no object.
    #[error("{operation}: the request or its answer is malformed")]
    Malformed {
        /// What was tried.
        operation: &'static str,
    },
}

/// The API server's own words, without the library's repetitions.
fn said(error: &kube::Error) -> String {
    match error {
        // A webhook's words are among them.
        kube::Error::Api(status) => visible(&status.message),
        other => other.to_string(),
    }
}

impl ClusterError {
    fn status(&self) -> Option<&kube::core::Status> {
        match self {
            Self::Call {
                source: kube::Error::Api(status),
                ..
            } => Some(status),
            _ => None,
        }
    }

    /// There is no such object.
    pub fn is_not_found(&self) -> bool {
        self.status().is_some_and(kube::core::Status::is_not_found)
    }

    /// The object is not in the expected state, or exists already.
    pub fn is_conflict(&self) -> bool {
        self.status().is_some_and(|status| {
            kube::core::Status::is_conflict(status) || kube::core::Status::is_already_exists(status)
        })
    }

    /// It is not allowed.
    pub fn is_forbidden(&self) -> bool {
        self.status().is_some_and(kube::core::Status::is_forbidden)
    }

    /// The object's data was made immutable.
    pub fn is_immutable(&self) -> bool {
        self.status().is_some_and(|status| {
            status.is_invalid()
                && status
                    .message
                    .contains("field is immutable when `immutable`")
        })
    }

    /// The object is larger than the API server or its store takes.
    fn is_too_large(&self) -> bool {
        self.status().is_some_and(|status| {
            status.code == 413
                || status.message.contains("request is too large")
                || status.message.contains("Too long: must have at most")
                || status.message.contains("Too long: may not be more than")
        })
    }

    /// What stands in the way of a write.
    pub fn write_problem(&self) -> WriteProblem {
        if self.is_namespace_terminating() {
            WriteProblem::NamespaceTerminating
        } else if self.is_too_large() {
            WriteProblem::TooLarge
        } else {
            WriteProblem::Refused
        }
    }

    /// What came of a write of a Secret, for the metrics.
    pub fn written(&self) -> SecretWrite {
        match self.is_conflict() || self.is_not_found() || self.is_immutable() {
            true => SecretWrite::Conflict,
            false => SecretWrite::Refused(self.write_problem().reason()),
        }
    }

    /// The namespace is on its way out.
    fn is_namespace_terminating(&self) -> bool {
        self.status()
            .and_then(|status| status.details.as_ref())
            .is_some_and(|details| {
                details
                    .causes
                    .iter()
                    .any(|cause| cause.reason == "NamespaceTerminating")
            })
    }
}

/// A Secret that was read.
pub struct SecretContents {
    /// Its metadata.
    pub metadata: ObjectMeta,
    data: BTreeMap<String, Zeroizing<Vec<u8>>>,
}

impl SecretContents {
    /// The value of a key; each can be taken once.
    pub fn take(&mut self, key: &str) -> Option<Zeroizing<Vec<u8>>> {
        self.data.remove(key)
    }

    /// The metadata alone.
    pub fn into_metadata(self) -> ObjectMeta {
        self.metadata
    }
}

#[derive(Deserialize)]
struct WireSecret {
    metadata: ObjectMeta,
    #[serde(default)]
    data: Option<BTreeMap<String, ByteString>>,
}

#[derive(Deserialize)]
struct WireMetadata {
    metadata: ObjectMeta,
}

/// See the module.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    reads: Arc<Semaphore>,
    writes: Arc<Semaphore>,
}

impl Cluster {
    /// Calls through `client`.
    pub fn new(client: Client) -> Self {
        Self {
            client,
            reads: Arc::new(Semaphore::new(READS_MAX)),
            writes: Arc::new(Semaphore::new(WRITES_KIB as usize)),
        }
    }

    /// Reads a Secret with its contents.
    pub async fn read_secret(
        &self,
        operation: &'static str,
        namespace: &str,
        name: &str,
    ) -> Result<SecretContents, ClusterError> {
        let request = secrets(namespace).get(name, &GetParams::default());
        // Held until the answer is parsed, and never while another is waited for. The semaphore is
        // never closed, so there is always a permit.
        let _permit = self.reads.acquire().await;
        let text = self.call(operation, request, false).await?;
        let secret: WireSecret =
            serde_json::from_str(&text).map_err(|_| ClusterError::Malformed { operation })?;
        Ok(SecretContents {
            metadata: secret.metadata,
            data: secret
                .data
                .unwrap_or_default()
                .into_iter()
                .map(|(key, value)| (key, Zeroizing::new(value.0)))
                .collect(),
        })
    }

    /// Reads an object of ours, by a list of one: the operator has no right to get one. `None` if it
    /// is gone, or cannot be decoded, which the watch tells as well.
    pub async fn read_object<K>(
        &self,
        operation: &'static str,
        namespace: &str,
        name: &str,
    ) -> Result<Option<K>, ClusterError>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned,
    {
        let parameters = ListParams::default().fields(&format!("metadata.name={name}"));
        let request = Request::new(K::url_path(&(), Some(namespace))).list(&parameters);
        let text = self.call(operation, request, false).await?;
        let list = serde_json::from_str::<ObjectList<Decoded<K>>>(&text)
            .map_err(|_| ClusterError::Malformed { operation })?;
        Ok(match list.items.into_iter().next() {
            Some(Decoded::Object(object)) => Some(object),
            Some(Decoded::Unsupported(_)) | None => None,
        })
    }

    /// Reads a namespace's UID. A Role in the namespace suffices for it.
    pub async fn read_namespace_uid(&self, namespace: &str) -> Result<String, ClusterError> {
        let operation = "read the namespace's UID";
        let request = Request::new(Namespace::url_path(&(), None));
        let request = request.get_metadata(namespace, &GetParams::default());
        let metadata = self.metadata(operation, request).await?;
        metadata.uid.ok_or(ClusterError::Malformed { operation })
    }

    /// Reads a Secret's metadata.
    pub async fn read_secret_metadata(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<ObjectMeta, ClusterError> {
        let request = secrets(namespace).get_metadata(name, &GetParams::default());
        self.metadata("read the target Secret's metadata", request)
            .await
    }

    /// Creates the target, or changes it in the state that is to be replaced.
    pub async fn write_secret(
        &self,
        namespace: &str,
        write: &Write,
    ) -> Result<ObjectMeta, ClusterError> {
        let Write {
            name,
            replaces,
            labels,
            annotations,
            owner_references,
            data,
            recorded: _,
        } = write;
        let is_new = replaces.is_none();
        let size: usize = data.values().flatten().map(|value| value.len()).sum();
        let _permit = self.writes.acquire_many(share_of_writes(size)).await;
        // In a merge patch null takes a key away; a new object has nothing to take away.
        let map = |map: &BTreeMap<String, Option<String>>| -> Value {
            let kept = map.iter().filter(|(_, value)| value.is_some() || !is_new);
            kept.map(|(key, value)| (key.clone(), json!(value)))
                .collect::<serde_json::Map<String, Value>>()
                .into()
        };
        let mut body = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": name,
                "labels": map(labels),
                "annotations": map(annotations),
                "ownerReferences": owner_references,
            },
        });
        if !data.is_empty() {
            let kept = data.iter().filter(|(_, value)| value.is_some() || !is_new);
            body["data"] = kept
                .map(|(key, value)| {
                    let bytes = value.as_ref().map(|value| value.as_bytes().to_vec());
                    (key.clone(), json!(bytes.map(ByteString)))
                })
                .collect::<serde_json::Map<String, Value>>()
                .into();
        }
        let Some(version) = replaces else {
            body["type"] = json!("Opaque");
            let operation = "create the target Secret";
            let parameters = PostParams {
                field_manager: Some(MANAGER.to_owned()),
                dry_run: false,
            };
            let bytes =
                serde_json::to_vec(&body).map_err(|_| ClusterError::Malformed { operation })?;
            return self
                .metadata(operation, secrets(namespace).create(&parameters, bytes))
                .await;
        };
        body["metadata"]["uid"] = json!(version.uid);
        body["metadata"]["resourceVersion"] = json!(version.resource_version);
        let parameters = PatchParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let request = secrets(namespace).patch(name, &parameters, &Patch::Merge(body));
        self.metadata("change the target Secret", request).await
    }

    /// Deletes a Secret in this very state.
    pub async fn delete_secret(
        &self,
        operation: &'static str,
        namespace: &str,
        name: &str,
        version: &ObjectVersion,
    ) -> Result<(), ClusterError> {
        let parameters = DeleteParams {
            preconditions: Some(Preconditions {
                uid: Some(version.uid.clone()),
                resource_version: Some(version.resource_version.clone()),
            }),
            ..DeleteParams::default()
        };
        let request = secrets(namespace).delete(name, &parameters);
        self.call(operation, request, false).await.map(drop)
    }

    /// Makes a workload roll out anew, as `kubectl rollout restart` does.
    pub async fn restart(
        &self,
        namespace: &str,
        workload: &RolloutRestartTarget,
        at: Timestamp,
    ) -> Result<(), ClusterError> {
        let path = match workload.kind {
            WorkloadKind::Deployment => Deployment::url_path(&(), Some(namespace)),
            WorkloadKind::StatefulSet => StatefulSet::url_path(&(), Some(namespace)),
            WorkloadKind::DaemonSet => DaemonSet::url_path(&(), Some(namespace)),
        };
        let annotations = json!({ ANNOTATION_RESTARTED_AT: at.to_string() });
        let body = json!({"spec": {"template": {"metadata": {"annotations": annotations}}}});
        let parameters = PatchParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let request = Request::new(path).patch(&workload.name, &parameters, &Patch::Merge(body));
        self.metadata("restart the workload", request)
            .await
            .map(drop)
    }

    /// Finds the readers of these Secrets among the pods of a namespace, page by page: no more than
    /// a page of pods is in memory. (A list from what the API server has in memory, `match_any`, has
    /// no pages.)
    pub async fn readers(
        &self,
        namespace: &str,
        secrets: &BTreeSet<String>,
    ) -> Result<Readers, ClusterError> {
        let operation = "list the pods";
        let mut parameters = ListParams::default().limit(PODS_PAGE);
        let mut readers = Readers::default();
        loop {
            let request = Request::new(Pod::url_path(&(), Some(namespace))).list(&parameters);
            let text = self.call(operation, request, false).await?;
            let page = serde_json::from_str::<List<Pod>>(&text)
                .map_err(|_| ClusterError::Malformed { operation })?;
            readers.look_at(&page.items, secrets);
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => parameters = parameters.continue_token(&token),
                None => return Ok(readers),
            }
        }
    }

    /// Annotates a pod, through its status, which cannot change what it runs.
    pub async fn touch_pod(
        &self,
        namespace: &str,
        name: &str,
        uid: &str,
        at: Timestamp,
    ) -> Result<(), ClusterError> {
        let annotations = json!({ ANNOTATION_TOKEN_WRITTEN_AT: at.to_string() });
        let body = json!({"metadata": {"uid": uid, "annotations": annotations}});
        let parameters = PatchParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let request = Request::new(Pod::url_path(&(), Some(namespace))).patch_subresource(
            "status",
            name,
            &parameters,
            &Patch::Merge(body),
        );
        self.metadata("tell a pod of a new token", request)
            .await
            .map(drop)
    }

    /// Writes an object's status over `previous`; gives the object's new resourceVersion.
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
        let parameters = PatchParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let namespace = object.meta().namespace.as_deref();
        let name = object.meta().name.as_deref().unwrap_or_default();
        let request = Request::new(K::url_path(&(), namespace)).patch_subresource(
            "status",
            name,
            &parameters,
            &Patch::Merge(body),
        );
        self.metadata(operation, request)
            .await
            .map(|metadata| metadata.resource_version)
    }

    /// Publishes an event.
    pub async fn publish(&self, namespace: &str, event: &Event) -> Result<(), ClusterError> {
        let operation = "publish an event";
        let bytes = serde_json::to_vec(event).map_err(|_| ClusterError::Malformed { operation })?;
        let request = Request::new(Event::url_path(&(), Some(namespace)))
            .create(&PostParams::default(), bytes);
        self.metadata(operation, request).await.map(drop)
    }

    async fn metadata(
        &self,
        operation: &'static str,
        request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
    ) -> Result<ObjectMeta, ClusterError> {
        let text = self.call(operation, request, true).await?;
        serde_json::from_str::<WireMetadata>(&text)
            .map(|object| object.metadata)
            .map_err(|_| ClusterError::Malformed { operation })
    }

    async fn call(
        &self,
        operation: &'static str,
        request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
        metadata_only: bool,
    ) -> Result<Zeroizing<String>, ClusterError> {
        let mut request = request.map_err(|_| ClusterError::Malformed { operation })?;
        if metadata_only {
            let accept = http::HeaderValue::from_static(METADATA_ONLY);
            request.headers_mut().insert(http::header::ACCEPT, accept);
        }
        match tokio::time::timeout(CALL_TIMEOUT, self.client.request_text(request)).await {
            Ok(Ok(text)) => Ok(Zeroizing::new(text)),
            Ok(Err(source)) => Err(ClusterError::Call { operation, source }),
            Err(_) => Err(ClusterError::TimedOut { operation }),
        }
    }
}

/// What a write of `size` bytes takes of [`WRITES_KIB`].
fn share_of_writes(size: usize) -> u32 {
    let size = u32::try_from(size / 1024).unwrap_or(u32::MAX);
    size.saturating_add(1).min(WRITES_KIB)
}

fn secrets(namespace: &str) -> Request {
    Request::new(Secret::url_path(&(), Some(namespace)))
}
