//! A write or a deletion of a Secret.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use zeroize::Zeroizing;

use crate::core::secret::data::Data;
use crate::core::secret::news::News;
use crate::core::secret::recorded::Recorded;
use crate::core::secret::target::TargetMeta;
use crate::core::token::record::ObjectVersion;

/// Most bytes that a Secret's values may take (`MaxSecretSize` of the Kubernetes API).
pub(crate) const SECRET_SIZE_MAX: usize = 1024 * 1024;

/// The keys of a Secret that change; `None` removes one.
pub(crate) type Changes = BTreeMap<String, Option<Zeroizing<String>>>;

/// Returns the removal of all keys that the present Secret records.
pub(crate) fn removal(present: Option<&TargetMeta>) -> Changes {
    let recorded = present.and_then(|present| present.recorded.as_ref());
    let keys = recorded.into_iter().flat_map(Recorded::keys);
    keys.map(|key| (key, None)).collect()
}

/// Why a Secret is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deletion {
    /// It is immutable and must be recreated.
    Immutable,
    /// It is no longer a target.
    Former,
}

/// Most Secrets that one decision acts on. Several, because a decision looks at all of an app's
/// Secrets; few, so that changes meanwhile do not wait long.
pub(in crate::core) const TARGET_STEPS_MAX: usize = 16;

/// A Secret to be written.
#[derive(Clone)]
pub(crate) struct Write {
    pub name: String,
    /// The version that is replaced; `None` creates the Secret.
    pub replaces: Option<ObjectVersion>,
    /// Labels; `None` removes one.
    pub labels: BTreeMap<String, Option<String>>,
    /// Annotations; `None` removes one.
    pub annotations: BTreeMap<String, Option<String>>,
    /// All its owner references.
    pub owner_references: Vec<OwnerReference>,
    pub data: Changes,
    pub recorded: Recorded,
    pub news: News,
}

impl Write {
    /// Adds contents to the write.
    pub(crate) fn hold(&mut self, data: Data) {
        let values = data.0.into_iter();
        self.data
            .extend(values.map(|(key, value)| (key, Some(value))));
    }
}
