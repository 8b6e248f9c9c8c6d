//! Calls about the programs that use a target: their workloads and pods.

use std::collections::BTreeSet;

use async_trait::async_trait;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::core::v1::Pod;
use kube::Resource;
use kube::api::{ListParams, Patch};
use kube::core::{ObjectList, Request};
use serde_json::json;

use super::connection::{KubeCluster, patching};
use super::error::ClusterError;
use crate::api::{
    ANNOTATION_RESTARTED_AT, ANNOTATION_TOKEN_WRITTEN_AT, RolloutRestartTarget, WorkloadKind,
};
use crate::controller::decoded::Decoded;
use crate::core::Readers;

/// Most pods in one page; heavy pods come in smaller pages.
const PODS_PAGE: u32 = 500;

/// Calls about the programs that use a target.
#[async_trait]
pub(crate) trait Programs: Send + Sync {
    /// Triggers a rollout of a workload, as `kubectl rollout restart` does.
    async fn restart(
        &self,
        namespace: &str,
        workload: &RolloutRestartTarget,
        at: Timestamp,
    ) -> Result<(), ClusterError>;

    /// Finds the readers of these Secrets among the pods of a namespace.
    async fn readers(
        &self,
        namespace: &str,
        secrets: &BTreeSet<String>,
    ) -> Result<Readers, ClusterError>;

    /// Annotates a pod through its status, which cannot change what it runs.
    async fn touch_pod(
        &self,
        namespace: &str,
        name: &str,
        uid: &str,
        at: Timestamp,
    ) -> Result<(), ClusterError>;
}

#[async_trait]
impl Programs for KubeCluster {
    async fn restart(
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
        let request = Request::new(path).patch(&workload.name, &patching(), &Patch::Merge(body));
        self.metadata("restart the workload", request)
            .await
            .map(drop)
    }

    // Only one page of pods is in memory at a time. (A list served from the API server's cache,
    // `match_any`, has no pages.)
    async fn readers(
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

    async fn touch_pod(
        &self,
        namespace: &str,
        name: &str,
        uid: &str,
        at: Timestamp,
    ) -> Result<(), ClusterError> {
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
