//! What is done alike with the target Secrets of apps and of references.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::runtime::reflector::ObjectRef;
use tracing::info;

use super::cluster::{ClusterError, SecretContents};
use super::context::Context;
use crate::api::{AppRef, Cause};
use crate::dingtalk::Redactor;
use crate::operator::SecretWrite;
use crate::plan::{Data, Recorded, TargetMeta, Write};

impl Context {
    /// (client) Writes a target of the object `key`, and tells logs and metrics of it.
    pub async fn write_target<K: Resource<DynamicType = ()>>(
        &self,
        kind: &'static str,
        key: &ObjectRef<K>,
        write: &Write,
        cause: Cause,
    ) -> Result<ObjectMeta, ClusterError> {
        let namespace = key.namespace.as_deref().unwrap_or_default();
        let started = self.clock.now().monotonic;
        let written = self.cluster.write_secret(namespace, write).await;
        let outcome = match &written {
            Ok(_) => SecretWrite::Written,
            Err(error) => error.written(),
        };
        self.metrics.secret_write(
            kind,
            cause,
            outcome,
            self.clock
                .now()
                .monotonic
                .saturating_duration_since(started),
        );
        if written.is_ok() {
            log_write(key, write, cause);
        }
        written
    }

    /// (client) Looks at a Secret that may not be as it was thought to be; returns the apps that it
    /// matters to.
    pub async fn look_at_secret(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Vec<AppRef>, ClusterError> {
        let asked = self.asks(namespace, name);
        match self.cluster.read_secret_metadata(namespace, name).await {
            Ok(metadata) => Ok(self.secret_read(metadata, &asked)),
            Err(error) if error.is_not_found() => Ok(self.secret_gone(namespace, name, &asked)),
            Err(error) => Err(error),
        }
    }
}

/// Logs a write of a target of the object `key`, and why it was made.
pub fn log_write<K: Resource<DynamicType = ()>>(key: &ObjectRef<K>, write: &Write, cause: Cause) {
    let tokens = &write.recorded.tokens;
    let expires_at = tokens.iter().map(|token| token.lifetime.expires_at).min();
    info!(
        kind = &*K::kind(&()),
        namespace = key.namespace,
        name = key.name,
        secret = write.name,
        cause = cause.as_str(),
        tokens = tokens.len(),
        expires_at = expires_at.map(tracing::field::display),
        "Secret written"
    );
}

/// What a Secret that was read says of itself, and the values of the keys that it records.
pub fn found(contents: &mut SecretContents) -> (TargetMeta, Option<Data>) {
    let target = TargetMeta::of(contents.metadata.clone());
    let keys: Vec<String> = target.recorded.iter().flat_map(Recorded::keys).collect();
    let data = Data::found(keys, |key| contents.take(key));
    (target, data)
}

/// An error of the API server as it may be shown: a webhook could repeat what it was sent.
pub fn shown<K: Resource<DynamicType = ()>>(
    error: &ClusterError,
    write: &Write,
    key: &ObjectRef<K>,
    corp_ids: &[String],
) -> String {
    let sent = write.data.values().flatten().map(|value| value.as_str());
    let namespace = key.namespace.as_deref().unwrap_or_default();
    let public = [write.name.as_str(), namespace, &key.name];
    let corp_ids = corp_ids.iter().map(String::as_str);
    Redactor::new(sent, public.into_iter().chain(corp_ids))
        .clean(&error.to_string())
        .unwrap_or_else(|| "the API server refused the write".to_owned())
}
