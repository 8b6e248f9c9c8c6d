use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::spec::{annotation_map, label_map};

/// Keeps a copy of the tokens of a `DingTalkApp` of another namespace.
///
/// The app has to name this namespace in its `spec.referenceGrants`.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "dingtalk-token-operator.github.io",
    version = "v1alpha1",
    kind = "DingTalkTokenReference",
    plural = "dingtalktokenreferences",
    shortname = "dtr",
    category = "dingtalk",
    doc = "DingTalkTokenReference keeps a copy of the tokens of a DingTalkApp of another namespace in a Secret of its own, as long as that app names this namespace in its spec.referenceGrants.",
    namespaced,
    status = "DingTalkTokenReferenceStatus",
    selectable = ".spec.appRef.namespace",
    selectable = ".spec.appRef.name",
    validation = Rule::new("has(self.spec.target.name) || self.metadata.name.size() <= 182").message("metadata.name is too long for the default target names <name>-token and <name>-token-<corpId>: set spec.target.name"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status", description = "Whether the Secret holds valid tokens"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason", description = "The reason of the condition Ready"),
    printcolumn(name = "Expires", type_ = "string", json_path = ".status.expirationTime", description = "When the first token expires"),
    printcolumn(name = "App-Namespace", type_ = "string", json_path = ".spec.appRef.namespace", description = "The namespace of the DingTalkApp", priority = 1),
    printcolumn(name = "App", type_ = "string", json_path = ".spec.appRef.name", description = "The DingTalkApp", priority = 1),
    printcolumn(name = "Secret", type_ = "string", json_path = ".status.secret", description = "The Secret that holds the tokens", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct DingTalkTokenReferenceSpec {
    /// The app whose tokens are copied.
    pub app_ref: AppReference,
    /// The Secret to write.
    #[serde(default)]
    pub target: ReferenceTarget,
}

/// Names a `DingTalkApp`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AppReference {
    /// The app's namespace.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(
        validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')").message("not a namespace: use lower-case letters, digits and '-', beginning and ending with a letter or digit"),
        validation = Rule::new("self == oldSelf").message("appRef.namespace cannot be changed: create another DingTalkTokenReference")
    )]
    pub namespace: String,
    /// The app's name.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(
        validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')").message("not a DingTalkApp's name: use lower-case letters, digits, '-' and '.', beginning and ending with a letter or digit"),
        validation = Rule::new("self == oldSelf").message("appRef.name cannot be changed: create another DingTalkTokenReference")
    )]
    pub name: String,
}

/// The Secret that holds the copy; it has the keys of the app's own.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ReferenceTarget {
    /// The Secret's name. Default: `<metadata.name>-token`; where the app has layout `PerCorp`, each
    /// name ends with `-<corpId>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 188))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')").message("not a Secret's name: use lower-case letters, digits, '-' and '.', beginning and ending with a letter or digit"))]
    pub name: Option<String>,
    /// Labels to set on the Secret. The operator's flag `--target-metadata-prefix` says with what
    /// their keys may begin; by default, none may be set.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "label_map")]
    pub labels: BTreeMap<String, String>,
    /// Annotations to set on the Secret. The operator's flag `--target-metadata-prefix` says with what
    /// their keys may begin; by default, none may be set.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "annotation_map")]
    pub annotations: BTreeMap<String, String>,
}

/// What the operator observed last.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct DingTalkTokenReferenceStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`: True while the Secret holds a copy of tokens that are valid now; `Stalled` where a
    /// person has to act.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// When the first of the tokens expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub expiration_time: Option<String>,
    /// The Secret that holds the copy; where the app has layout `PerCorp`, what the names of the
    /// Secrets begin with, and `-*`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// The Secrets that hold the copy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub secret_names: Vec<String>,
}

impl DingTalkTokenReference {
    /// `spec.target.name` or its default.
    pub fn target_name(&self) -> String {
        match &self.spec.target.name {
            Some(name) => name.clone(),
            None => format!(
                "{}-token",
                self.metadata.name.as_deref().unwrap_or_default()
            ),
        }
    }
}
