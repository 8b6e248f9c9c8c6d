//! A single call: its time-out, the format of its response, and how many run at once.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{ListParams, PatchParams};
use kube::core::{ObjectList, Request};
use kube::{Client, Resource};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::{AcquireError, Semaphore, SemaphorePermit};
use zeroize::Zeroizing;

use super::error::{CALL_TIMEOUT, ClusterError, Result};
use crate::api::MANAGER;
use crate::controller::decoded::Decoded;
use crate::controller::metadata::Metadata;

/// Secrets whose contents are read at once. Each may have a megabyte, and takes several times that
/// while it is parsed.
const READS_MAX: usize = 4;
/// KiB of values that may be written to Secrets at once. Small writes do not wait.
const WRITES_KIB: u32 = 4096;
/// Requests only the object's metadata: what was just written need not be sent back.
const METADATA_ONLY: &str =
    "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";

#[derive(Deserialize)]
struct WireMetadata {
    metadata: Metadata,
}

/// Calls to a real API server.
#[derive(Clone)]
pub(crate) struct KubeCluster {
    client: Client,
    reads: Arc<Semaphore>,
    writes: Arc<Semaphore>,
}

impl KubeCluster {
    /// Creates a cluster that calls through `client`.
    pub(crate) fn new(client: Client) -> Self {
        Self {
            client,
            reads: Arc::new(Semaphore::new(READS_MAX)),
            writes: Arc::new(Semaphore::new(WRITES_KIB as usize)),
        }
    }

    /// Reads one of the operator's own objects by listing, because the operator has no permission
    /// to get one. `None` if it is gone or cannot be decoded, which the watch reports as well.
    pub(super) async fn object<K>(
        &self,
        operation: &'static str,
        namespace: &str,
        name: &str,
    ) -> Result<Option<K>>
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

    /// Waits for permission to read a Secret's contents, to be held until the response is parsed.
    /// The semaphore is never closed, so this cannot fail.
    pub(super) async fn read_permit(&self) -> Result<SemaphorePermit<'_>, AcquireError> {
        self.reads.acquire().await
    }

    /// Waits for permission to write `size` bytes.
    pub(super) async fn write_permit(
        &self,
        size: usize,
    ) -> Result<SemaphorePermit<'_>, AcquireError> {
        self.writes.acquire_many(share_of_writes(size)).await
    }

    pub(super) async fn metadata(
        &self,
        operation: &'static str,
        request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
    ) -> Result<ObjectMeta> {
        let text = self.call(operation, request, true).await?;
        serde_json::from_str::<WireMetadata>(&text)
            .map(|object| object.metadata.0)
            .map_err(|_| ClusterError::Malformed { operation })
    }

    pub(super) async fn call(
        &self,
        operation: &'static str,
        request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
        metadata_only: bool,
    ) -> Result<Zeroizing<String>> {
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

/// Returns the share of [`WRITES_KIB`] that a write of `size` bytes takes.
fn share_of_writes(size: usize) -> u32 {
    let size = u32::try_from(size / 1024).unwrap_or(u32::MAX);
    size.saturating_add(1).min(WRITES_KIB)
}

/// Returns the parameters of a patch with the operator as field manager.
pub(super) fn patching() -> PatchParams {
    PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    }
}
