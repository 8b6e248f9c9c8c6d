//! Names of objects.

use std::hash::Hash;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::runtime::reflector::{Lookup, ObjectRef};

/// Namespace and name of an object of a known kind.
pub(crate) trait Namespaced: Clone + Eq + Hash {
    fn namespace(&self) -> &str;
}

impl<K: Lookup<DynamicType = ()> + Clone> Namespaced for ObjectRef<K> {
    fn namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or_default()
    }
}

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
