use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::spec::{annotation_map, label_map, target_name};

/// Keeps a copy of the tokens of a `DingTalkApp` in another namespace.
///
/// The app must list this namespace in its `spec.referenceGrants`.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "dingtalk-token-operator.github.io",
    version = "v1alpha1",
    kind = "DingTalkTokenReference",
    plural = "dingtalktokenreferences",
    shortname = "dtr",
    category = "dingtalk",
    doc = "DingTalkTokenReference keeps a copy of the tokens of a DingTalkApp in another namespace, as long as that app lists this namespace in its spec.referenceGrants.",
    namespaced,
    status = "DingTalkTokenReferenceStatus",
    selectable = ".spec.appRef.namespace",
    selectable = ".spec.appRef.name",
    validation = Rule::new("has(self.spec.target.name) || self.metadata.name.size() <= 182").message("metadata.name is too long for the default target names <name>-token and <name>-token-<corpId>: set spec.target.name"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status", description = "Whether all tokens in the Secret are valid"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason", description = "The reason of the condition Ready"),
    printcolumn(name = "Expires", type_ = "string", json_path = ".status.expirationTime", description = "The earliest expiry of the tokens"),
    printcolumn(name = "App-Namespace", type_ = "string", json_path = ".spec.appRef.namespace", description = "The namespace of the DingTalkApp", priority = 1),
    printcolumn(name = "App", type_ = "string", json_path = ".spec.appRef.name", description = "The DingTalkApp", priority = 1),
    printcolumn(name = "Secret", type_ = "string", json_path = ".status.secret", description = "The Secret that holds the tokens", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct DingTalkTokenReferenceSpec {
    /// The app whose tokens to copy.
    pub app_ref: AppReference,
    /// The Secret to write.
    #[serde(default)]
    pub target: ReferenceTarget,
}

/// Refers to a `DingTalkApp`.
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

/// The Secret that holds the copy, with the same keys as the app's Secret.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ReferenceTarget {
    /// The Secret's name. Default: `<metadata.name>-token`. If the app's layout is `PerCorp`, `-<corpId>`
    /// is appended for each Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 188))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')").message("not a Secret's name: use lower-case letters, digits, '-' and '.', beginning and ending with a letter or digit"))]
    pub name: Option<String>,
    /// Labels to set on the Secret. Their keys must begin with a prefix allowed by the operator's flag
    /// `--target-metadata-prefix`; by default, no labels are allowed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "label_map")]
    pub labels: BTreeMap<String, String>,
    /// Annotations to set on the Secret. Their keys must begin with a prefix allowed by the operator's flag
    /// `--target-metadata-prefix`; by default, no annotations are allowed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "annotation_map")]
    pub annotations: BTreeMap<String, String>,
}

/// Last observed state of a `DingTalkTokenReference`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct DingTalkTokenReferenceStatus {
    /// The generation of the spec that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`: True while all tokens in the copy are valid. `Stalled`: True if a person must act.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// The earliest expiry of the tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub expiration_time: Option<String>,
    /// The Secret that holds the copy. If the app's layout is `PerCorp`, the common prefix of the Secrets'
    /// names, followed by `-*`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// The names of all Secrets that hold the copy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub secret_names: Vec<String>,
}

impl DingTalkTokenReference {
    /// Returns `spec.target.name` or its default.
    pub fn target_name(&self) -> String {
        target_name(self.spec.target.name.as_ref(), &self.metadata)
    }
}
