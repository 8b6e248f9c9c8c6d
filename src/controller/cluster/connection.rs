//! A single call: its time-out, the format of its response, and how many run at once.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{ListParams, PatchParams};
use kube::core::{ObjectList, Request, request};
use kube::{Client, Resource};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;
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
    // (Neither is ever closed, so that none of these permits is refused.)
    pub(super) reads: Arc<Semaphore>,
    pub(super) writes: Arc<Semaphore>,
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
        let request = requests::<K>(namespace).list(&parameters);
        let list: ObjectList<Decoded<K>> = self.call(operation, request).await?;
        Ok(list.items.first().and_then(Decoded::object).cloned())
    }

    /// Makes a call that returns only the object's metadata: what was just written need not be sent
    /// back.
    pub(super) async fn metadata(
        &self,
        operation: &'static str,
        mut request: Result<http::Request<Vec<u8>>, request::Error>,
    ) -> Result<ObjectMeta> {
        if let Ok(request) = &mut request {
            let accept = http::HeaderValue::from_static(METADATA_ONLY);
            request.headers_mut().insert(http::header::ACCEPT, accept);
        }
        let object: WireMetadata = self.call(operation, request).await?;
        Ok(object.metadata.0)
    }

    /// Makes a call and parses the response.
    pub(super) async fn call<T: DeserializeOwned>(
        &self,
        operation: &'static str,
        request: Result<http::Request<Vec<u8>>, request::Error>,
    ) -> Result<T> {
        let text = self.text(operation, request).await?;
        serde_json::from_str(&text).map_err(|_| ClusterError::Malformed { operation })
    }

    pub(super) async fn text(
        &self,
        operation: &'static str,
        request: Result<http::Request<Vec<u8>>, request::Error>,
    ) -> Result<Zeroizing<String>> {
        let request = request.map_err(|_| ClusterError::Malformed { operation })?;
        match tokio::time::timeout(CALL_TIMEOUT, self.client.request_text(request)).await {
            Ok(Ok(text)) => Ok(Zeroizing::new(text)),
            Ok(Err(source)) => Err(ClusterError::Call { operation, source }),
            Err(_) => Err(ClusterError::TimedOut { operation }),
        }
    }
}

/// Returns the share of [`WRITES_KIB`] that a write of `size` bytes takes.
pub(super) fn share_of_writes(size: usize) -> u32 {
    let size = u32::try_from(size / 1024).unwrap_or(u32::MAX);
    size.saturating_add(1).min(WRITES_KIB)
}

/// Returns the requests about objects of a kind in a namespace.
pub(super) fn requests<K: Resource<DynamicType = ()>>(namespace: &str) -> Request {
    Request::new(K::url_path(&(), Some(namespace)))
}

/// Returns the parameters of a patch with the operator as field manager.
pub(super) fn patching() -> PatchParams {
    PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    }
}
