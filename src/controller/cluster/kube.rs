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
use kube::core::{ObjectList, Request, request};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::calls::{Cluster, SecretContents};
use super::connection::{KubeCluster, patching, requests, share_of_writes};
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
        let request = requests::<Secret>(namespace).get(name, &GetParams::default());
        // Held until the response is parsed; no other permit is awaited meanwhile.
        let _permit = self.reads.acquire().await;
        let secret: WireSecret = self.call(operation, request).await?;
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
        let request = requests::<Secret>(namespace).get_metadata(name, &GetParams::default());
        let operation = "read the target Secret's metadata";
        self.metadata(operation, request).await
    }

    async fn write_secret(&self, namespace: &str, write: &Write) -> Result<ObjectMeta> {
        let size: usize = write.data.values().flatten().map(|value| value.len()).sum();
        let _permit = self.writes.acquire_many(share_of_writes(size)).await;
        let (secrets, body) = (requests::<Secret>(namespace), SecretBody::of(write));
        if write.replaces.is_some() {
            let request = secrets.patch(&write.name, &patching(), &Patch::Merge(body));
            return self.metadata("change the target Secret", request).await;
        }
        let parameters = PostParams {
            field_manager: Some(MANAGER.to_owned()),
            dry_run: false,
        };
        let request = create(&secrets, &parameters, &body);
        self.metadata("create the target Secret", request).await
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
        let request = requests::<Secret>(namespace).delete(name, &parameters);
        self.text(operation, request).await.map(drop)
    }

    async fn patch_status(&self, path: &str, name: &str, patch: Value) -> Result<ObjectMeta> {
        let (objects, patch) = (Request::new(path), Patch::Merge(patch));
        let request = objects.patch_subresource("status", name, &patching(), &patch);
        self.metadata("write the status", request).await
    }

    async fn publish(&self, namespace: &str, event: &Event) -> Result<()> {
        let request = create(&requests::<Event>(namespace), &PostParams::default(), event);
        self.metadata("publish an event", request).await.map(drop)
    }

    async fn restart(
        &self,
        namespace: &str,
        workload: &RolloutRestartTarget,
        at: Timestamp,
    ) -> Result<()> {
        let workloads = match workload.kind {
            WorkloadKind::Deployment => requests::<Deployment>(namespace),
            WorkloadKind::StatefulSet => requests::<StatefulSet>(namespace),
            WorkloadKind::DaemonSet => requests::<DaemonSet>(namespace),
        };
        let annotations = json!({ ANNOTATION_RESTARTED_AT: at.to_string() });
        let body = json!({"spec": {"template": {"metadata": {"annotations": annotations}}}});
        let request = workloads.patch(&workload.name, &patching(), &Patch::Merge(body));
        let operation = "restart the workload";
        self.metadata(operation, request).await.map(drop)
    }

    // Only one page of pods is in memory at a time. (A list served from the API server's cache,
    // `match_any`, has no pages.)
    async fn readers(
        &self,
        namespace: &str,
        written: &BTreeSet<String>,
        any: &BTreeSet<String>,
    ) -> Result<Readers> {
        let mut parameters = ListParams::default().limit(PODS_PAGE);
        let mut readers = Readers::default();
        loop {
            let request = requests::<Pod>(namespace).list(&parameters);
            let page: ObjectList<Decoded<Pod>> = self.call("list the pods", request).await?;
            let pods = page.items.iter().filter_map(Decoded::object);
            readers.look_at(pods, written, any);
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => parameters = parameters.continue_token(&token),
                None => return Ok(readers),
            }
        }
    }

    async fn touch_pod(&self, namespace: &str, name: &str, uid: &str, at: Timestamp) -> Result<()> {
        let annotations = json!({ ANNOTATION_TOKEN_WRITTEN_AT: at.to_string() });
        let patch = Patch::Merge(json!({"metadata": {"uid": uid, "annotations": annotations}}));
        let pods = requests::<Pod>(namespace);
        let request = pods.patch_subresource("status", name, &patching(), &patch);
        let operation = "tell a pod of a new token";
        self.metadata(operation, request).await.map(drop)
    }
}

fn create(
    objects: &Request,
    parameters: &PostParams,
    object: &impl Serialize,
) -> Result<http::Request<Vec<u8>>, request::Error> {
    let bytes = serde_json::to_vec(object).map_err(request::Error::SerializeBody)?;
    objects.create(parameters, bytes)
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
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource_version: Option<&'a str>,
}

impl<'a> SecretBody<'a> {
    fn of(write: &'a Write) -> Self {
        let replaces = write.replaces.as_ref();
        let data = sent(&write.data, replaces.is_none()).into_iter();
        let data = data.map(|(key, value)| {
            let value = value.as_ref();
            (key, value.map(|it| ByteString(it.as_bytes().to_vec())))
        });
        Self {
            api_version: "v1",
            kind: "Secret",
            r#type: replaces.is_none().then_some("Opaque"),
            metadata: SecretBodyMetadata {
                name: &write.name,
                labels: sent(&write.labels, replaces.is_none()),
                annotations: sent(&write.annotations, replaces.is_none()),
                owner_references: &write.owner_references,
                uid: replaces.map(|version| version.uid.as_str()),
                resource_version: replaces.map(|version| version.resource_version.as_str()),
            },
            data: data.collect(),
        }
    }
}

/// Leaves out nulls for a new Secret. In a merge patch they remove keys.
fn sent<T>(map: &BTreeMap<String, Option<T>>, is_new: bool) -> BTreeMap<&str, &Option<T>> {
    let kept = map.iter().filter(|(_, value)| value.is_some() || !is_new);
    kept.map(|(key, value)| (key.as_str(), value)).collect()
}
