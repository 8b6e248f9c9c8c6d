//! What Secrets are named by.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// A Secret, by namespace and name.
pub type SecretRef = (String, String);

/// The reference of a Secret.
pub fn secret_ref(meta: &ObjectMeta) -> SecretRef {
    (
        meta.namespace.clone().unwrap_or_default(),
        meta.name.clone().unwrap_or_default(),
    )
}
