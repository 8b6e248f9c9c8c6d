//! A Secret as a watch or a call reports it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::names::{SecretRef, secret_ref};
use crate::core::secret::target::TargetMeta;

/// A Secret's name, and what is kept of its metadata. It is made before the core is locked, because
/// others can make the metadata large.
#[derive(Debug)]
pub(crate) struct Reported {
    pub(in crate::core) secret: SecretRef,
    pub(in crate::core) target: TargetMeta,
}

impl From<ObjectMeta> for Reported {
    fn from(meta: ObjectMeta) -> Self {
        Self {
            secret: secret_ref(&meta),
            target: TargetMeta::of(meta),
        }
    }
}
