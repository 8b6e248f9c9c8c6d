//! Names of Secrets.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::admission::Namespaced;

/// Namespace and name of a Secret.
pub(in crate::core) type SecretRef = (String, String);

/// Returns the Secret of this name in an object's namespace.
pub(super) fn secret_beside(object: &impl Namespaced, name: &str) -> SecretRef {
    (object.namespace().to_owned(), name.to_owned())
}

/// Returns the namespace and name of a Secret.
pub(in crate::core) fn secret_ref(meta: &ObjectMeta) -> SecretRef {
    (
        meta.namespace.clone().unwrap_or_default(),
        meta.name.clone().unwrap_or_default(),
    )
}
