//! A Secret with its contents.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use zeroize::Zeroizing;

/// A Secret that was read.
pub(crate) struct SecretContents {
    /// Its metadata.
    pub metadata: ObjectMeta,
    data: BTreeMap<String, Zeroizing<Vec<u8>>>,
}

impl SecretContents {
    /// Creates a Secret with these values.
    pub(crate) fn new(metadata: ObjectMeta, data: BTreeMap<String, Zeroizing<Vec<u8>>>) -> Self {
        Self { metadata, data }
    }

    /// Takes the value of a key; each can be taken once.
    pub(crate) fn take(&mut self, key: &str) -> Option<Zeroizing<Vec<u8>>> {
        self.data.remove(key)
    }

    /// Returns only the metadata.
    pub(crate) fn into_metadata(self) -> ObjectMeta {
        self.metadata
    }
}
