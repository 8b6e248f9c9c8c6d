//! Calls to a real API server.
//!
//! Contents of Secrets only pass through here. They are parsed by hand, because the client library
//! logs a body that it cannot parse.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{Namespace, Pod, Secret};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Resource;
use kube::api::{DeleteParams, GetParams, ListParams, Patch, PostParams, Preconditions};
use kube::core::{ObjectList, Request};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::calls::{Cluster, Named, SecretContents};
use super::connection::{KubeCluster, patching};
use super::error::{ClusterError, Result};
use crate::api::{
    ANNOTATION_RESTARTED_AT, ANNOTATION_TOKEN_WRITTEN_AT, DingTalkApp, DingTalkTokenReference,
    MANAGER, RolloutRestartTarget, WorkloadKind,
};
use crate::controller::decoded::Decoded;
use crate::controller::metadata::Metadata;
use crate::core::{ObjectVersion, Readers, Write};

/// Most pods in one page; heavy pods come in smaller pages.
const PODS_PAGE: u32 = 500;

#[derive(Deserialize)]
struct WireSecret {
    metadata: Metadata,
    #[serde(default)]
    data: Option<BTreeMap<String, ByteString>>,
}

#[async_trait]
impl Cluster for KubeCluster {
    async fn read_secret(
        &self,
        operation: &'static str,
        namespace: &str,
        name: &str,
    ) -> Result<SecretContents> {
        let request = secrets(namespace).get(name, &GetParams::default());
        // Held until the response is parsed; no other permit is awaited meanwhile. The semaphore is
        // never closed, so this cannot fail.
        let _permit = self.read_permit().await;
        let text = self.call(operation, request, false).await?;
        let secret: WireSecret =
            serde_json::from_str(&text).map_err(|_| ClusterError::Malformed { operation })?;
        let data = secret.data.unwrap_or_default().into_iter();
        let data = data.map(|(key, value)| (key, Zeroizing::new(value.0)));
        Ok(SecretContents {
            metadata: secret.metadata.0,
            data: data.collect(),
        })
    }

    async fn read_app(&self, namespace: &str, name: &str) -> Result<Option<DingTalkApp>> {
        self.object("read the app", namespace, name).await
    }

    async fn read_reference(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<DingTalkTokenReference>> {
        self.object("read the reference", namespace, name).await
    }

    async fn read_namespace_uid(&self, namespace: &str) -> Result<String> {
        let operation = "read the namespace's UID";
        let request = Request::new(Namespace::url_path(&(), None));
        let request = request.get_metadata(namespace, &GetParams::default());
        let metadata = self.metadata(operation, request).await?;
        metadata.uid.ok_or(ClusterError::Malformed { operation })
    }

    async fn read_secret_metadata(&self, namespace: &str, name: &str) -> Result<ObjectMeta> {
        let request = secrets(namespace).get_metadata(name, &GetParams::default());
        self.metadata("read the target Secret's metadata", request)
            .await
    }

    async fn write_secret(&self, namespace: &str, write: &Write) -> Result<ObjectMeta> {
        let size: usize = write.data.values().flatten().map(|value| value.len()).sum();
        let _permit = self.write_permit(size).await;
        let body = SecretBody::of(write);
        if write.replaces.is_none() {
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
        }
        let request = secrets(namespace).patch(&write.name, &patching(), &Patch::Merge(body));
        self.metadata("change the target Secret", request).await
    }

    async fn delete_secret(
        &self,
        operation: &'static str,
        namespace: &str,
        name: &str,
        version: &ObjectVersion,
    ) -> Result<()> {
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

    async fn patch_status(&self, object: &Named, patch: Value) -> Result<ObjectMeta> {
        let operation = "write the status";
        let request = Request::new(&object.path).patch_subresource(
            "status",
            &object.name,
            &patching(),
            &Patch::Merge(patch),
        );
        self.metadata(operation, request).await
    }

    async fn publish(&self, namespace: &str, event: &Event) -> Result<()> {
        let operation = "publish an event";
        let bytes = serde_json::to_vec(event).map_err(|_| ClusterError::Malformed { operation })?;
        let request = Request::new(Event::url_path(&(), Some(namespace)))
            .create(&PostParams::default(), bytes);
        self.metadata(operation, request).await.map(drop)
    }

    async fn restart(
        &self,
        namespace: &str,
        workload: &RolloutRestartTarget,
        at: Timestamp,
    ) -> Result<()> {
        let path = match workload.kind {
            WorkloadKind::Deployment => Deployment::url_path(&(), Some(namespace)),
            WorkloadKind::StatefulSet => StatefulSet::url_path(&(), Some(namespace)),
            WorkloadKind::DaemonSet => DaemonSet::url_path(&(), Some(namespace)),
        };
        let annotations = json!({ ANNOTATION_RESTARTED_AT: at.to_string() });
        let body = json!({"spec": {"template": {"metadata": {"annotations": annotations}}}});
        let request = Request::new(path).patch(&workload.name, &patching(), &Patch::Merge(body));
        self.metadata("restart the workload", request)
            .await
            .map(drop)
    }

    // Only one page of pods is in memory at a time. (A list served from the API server's cache,
    // `match_any`, has no pages.)
    async fn readers(&self, namespace: &str, secrets: &BTreeSet<String>) -> Result<Readers> {
        let operation = "list the pods";
        let mut parameters = ListParams::default().limit(PODS_PAGE);
        let mut readers = Readers::default();
        loop {
            let request = Request::new(Pod::url_path(&(), Some(namespace))).list(&parameters);
            let text = self.call(operation, request, false).await?;
            let page = serde_json::from_str::<ObjectList<Decoded<Pod>>>(&text)
                .map_err(|_| ClusterError::Malformed { operation })?;
            let pods = page.items.iter().filter_map(Decoded::object);
            readers.look_at(pods, secrets);
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => parameters = parameters.continue_token(&token),
                None => return Ok(readers),
            }
        }
    }

    async fn touch_pod(&self, namespace: &str, name: &str, uid: &str, at: Timestamp) -> Result<()> {
        let annotations = json!({ ANNOTATION_TOKEN_WRITTEN_AT: at.to_string() });
        let body = json!({"metadata": {"uid": uid, "annotations": annotations}});
        let request = Request::new(Pod::url_path(&(), Some(namespace))).patch_subresource(
            "status",
            name,
            &patching(),
            &Patch::Merge(body),
        );
        self.metadata("tell a pod of a new token", request)
            .await
            .map(drop)
    }
}

fn secrets(namespace: &str) -> Request {
    Request::new(Secret::url_path(&(), Some(namespace)))
}

/// A Secret as it is sent: complete, or as a merge patch with the version that it replaces.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SecretBody<'a> {
    api_version: &'static str,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    r#type: Option<&'static str>,
    metadata: SecretBodyMetadata<'a>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    data: BTreeMap<&'a str, Option<ByteString>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SecretBodyMetadata<'a> {
    name: &'a str,
    labels: BTreeMap<&'a str, &'a Option<String>>,
    annotations: BTreeMap<&'a str, &'a Option<String>>,
    owner_references: &'a [OwnerReference],
    #[serde(flatten)]
    replaces: Option<Precondition<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Precondition<'a> {
    uid: &'a str,
    resource_version: &'a str,
}

impl<'a> SecretBody<'a> {
    fn of(write: &'a Write) -> Self {
        let replaces = write.replaces.as_ref();
        Self {
            api_version: "v1",
            kind: "Secret",
            r#type: replaces.is_none().then_some("Opaque"),
            metadata: SecretBodyMetadata {
                name: &write.name,
                labels: sent(&write.labels, replaces.is_none()),
                annotations: sent(&write.annotations, replaces.is_none()),
                owner_references: &write.owner_references,
                replaces: replaces.map(|version| Precondition {
                    uid: &version.uid,
                    resource_version: &version.resource_version,
                }),
            },
            data: sent(&write.data, replaces.is_none())
                .into_iter()
                .map(|(key, value)| {
                    (
                        key,
                        value
                            .as_ref()
                            .map(|value| ByteString(value.as_bytes().to_vec())),
                    )
                })
                .collect(),
        }
    }
}

/// Leaves out nulls for a new Secret. In a merge patch they remove keys.
fn sent<T>(map: &BTreeMap<String, Option<T>>, is_new: bool) -> BTreeMap<&str, &Option<T>> {
    let kept = map.iter().filter(|(_, value)| value.is_some() || !is_new);
    kept.map(|(key, value)| (key.as_str(), value)).collect()
}
