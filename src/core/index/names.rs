//! Names of Secrets.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// Namespace and name of a Secret.
pub(super) type SecretRef = (String, String);

/// Returns the namespace and name of a Secret.
pub(super) fn secret_ref(meta: &ObjectMeta) -> SecretRef {
    (
        meta.namespace.clone().unwrap_or_default(),
        meta.name.clone().unwrap_or_default(),
    )
}
