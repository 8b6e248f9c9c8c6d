//! What Secrets and tokens are named by.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// A Secret, by namespace and name.
pub(super) type SecretRef = (String, String);

/// What tells tokens apart, but for the client secret: site, `client_id` and organisation.
pub(super) type TokenName = (String, String, String);

/// The reference of a Secret.
pub(super) fn secret_ref(meta: &ObjectMeta) -> SecretRef {
    (
        meta.namespace.clone().unwrap_or_default(),
        meta.name.clone().unwrap_or_default(),
    )
}
