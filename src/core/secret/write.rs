//! A write of a Secret.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use zeroize::Zeroizing;

use crate::core::secret::data::Data;
use crate::core::secret::recorded::Recorded;
use crate::core::token::record::ObjectVersion;

/// The most that the values of a Secret may take, in bytes (`MaxSecretSize` of Kubernetes' API).
pub(crate) const SECRET_SIZE_MAX: usize = 1024 * 1024;

/// The keys of a Secret that change; `None` takes one away.
pub(crate) type Changes = BTreeMap<String, Option<Zeroizing<String>>>;

/// Why a Secret is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deletion {
    /// It is immutable, to create it anew.
    Immutable,
    /// It is no longer a target.
    Former,
}

/// So many Secrets are acted on by one decision, since a decision looks at all of an app's Secrets. It is
/// few enough that what changes meanwhile does not wait long.
pub(in crate::core) const TARGET_STEPS_MAX: usize = 16;

/// A Secret as it is to be written.
#[derive(Clone)]
pub(crate) struct Write {
    /// Its name.
    pub name: String,
    /// The state that is replaced; `None` if there is none and it is created.
    pub replaces: Option<ObjectVersion>,
    /// Its labels; `None` takes one away.
    pub labels: BTreeMap<String, Option<String>>,
    /// Its annotations; `None` takes one away.
    pub annotations: BTreeMap<String, Option<String>>,
    /// All its owners.
    pub owner_references: Vec<OwnerReference>,
    /// The keys that change.
    pub data: Changes,
    /// What it records of its keys.
    pub recorded: Recorded,
}

impl Write {
    /// Has it write these contents.
    pub(crate) fn hold(&mut self, data: Data) {
        let values = data.into_iter();
        self.data
            .extend(values.map(|(key, value)| (key, Some(value))));
    }
}
