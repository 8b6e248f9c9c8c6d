use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Condition that is True while the Secrets hold a valid token for every corpId.
pub const CONDITION_READY: &str = "Ready";
/// Condition that is True if the last attempt for every corpId succeeded.
pub const CONDITION_RENEWED: &str = "Renewed";
/// Condition that is only present, and True, while no corpId can progress until a person acts.
pub const CONDITION_STALLED: &str = "Stalled";

/// Last observed state of a `DingTalkApp`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct DingTalkAppStatus {
    /// The generation of the spec that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`: True while all tokens are valid. `Renewed`: True if the last attempt for every corpId
    /// succeeded. `Stalled`: True if no corpId can progress until a person acts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// The number of valid tokens and of all corpIds, such as `1/1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<String>,
    /// The number of corpIds with a valid token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_corps: Option<i32>,
    /// The number of corpIds in the spec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_corps: Option<i32>,
    /// The Secret that holds the tokens. With layout `PerCorp`, the common prefix of the Secrets' names,
    /// followed by `-*`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// The earliest expiry of the tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub expiration_time: Option<String>,
    /// The time of the next fetch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub next_attempt_time: Option<String>,
    /// The last value of the annotation `renew-requested-at` that was handled for every corpId.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_renew_request: Option<String>,
    /// When the value of the token last changed for which the `rolloutRestartTargets` were restarted.
    /// Before the first restart, the time of the token that they started with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub rollout_restarted_for_time: Option<String>,
    /// The namespaces of `spec.referenceGrants` that have used their grant. A namespace that is deleted and
    /// recreated with the same name does not inherit it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["namespace".into()]))]
    pub granted_namespaces: Vec<GrantedNamespace>,
    /// The state of the token of each corpId.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub corps: Vec<CorpStatus>,
}

/// A namespace that has used its grant.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct GrantedNamespace {
    /// The name of the namespace.
    pub namespace: String,
    /// The UID of the namespace.
    pub uid: String,
}

/// The state of the token of one organisation.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct CorpStatus {
    /// The corpId of the organisation.
    pub corp_id: String,
    /// The target Secret of its token.
    pub secret_name: String,
    /// When the token in the Secret expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub expiration_time: Option<String>,
    /// When the token in the Secret was fetched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub last_renewal_time: Option<String>,
    /// Why the token in the Secret was fetched, such as `RenewalDue`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_renewal_cause: Option<String>,
    /// The time of the next fetch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub next_attempt_time: Option<String>,
    /// The current problem, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<CorpError>,
}

/// Why the last attempt for an organisation failed.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct CorpError {
    /// The reason of the failure, such as `InvalidCredentials`.
    pub reason: String,
    /// What a throttle or a ban applies to: `Corp` (this organisation), `ClientId` (all organisations of
    /// the app) or `Site` (all apps on the site).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// DingTalk's error code, verbatim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The HTTP status of DingTalk's response.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_status: Option<i32>,
    /// DingTalk's request ID, to quote to its support.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The message from DingTalk or the API server, unless it may contain a secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When this failure began.
    #[schemars(extend("format" = "date-time"))]
    pub since_time: String,
}
