use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// True while the Secret of every corpId holds a token that is valid now.
pub const CONDITION_READY: &str = "Ready";
/// True when the last attempt for every corpId succeeded.
pub const CONDITION_RENEWED: &str = "Renewed";
/// Present and True only when no corpId can progress without a person.
pub const CONDITION_STALLED: &str = "Stalled";

/// What the operator observed last.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct DingTalkAppStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`, `Renewed`, and `Stalled` where a person has to act.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// Tokens that are valid now, of those wanted, such as `1/1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<String>,
    /// How many corpIds have a valid token in their Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_corps: Option<i32>,
    /// How many corpIds are wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_corps: Option<i32>,
    /// The Secret that holds the tokens; with layout `PerCorp`, what the names of the Secrets begin
    /// with, and `-*`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// When the first of the tokens expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub expiration_time: Option<String>,
    /// When the next token is fetched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub next_attempt_time: Option<String>,
    /// The last value of the annotation `renew-requested-at` that was acted upon for every corpId.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_renew_request: Option<String>,
    /// When the token's value changed that the `rolloutRestartTargets` were restarted for last; before
    /// the first restart, that of the token that they started with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub rollout_restarted_for_time: Option<String>,
    /// The namespaces of `spec.referenceGrants` that have made use of their grant. A namespace that is
    /// created anew under the same name is another one, and is granted nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["namespace".into()]))]
    pub granted_namespaces: Vec<GrantedNamespace>,
    /// The tokens, one entry for each corpId.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub corps: Vec<CorpStatus>,
}

/// A namespace that a grant was given to.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct GrantedNamespace {
    /// Its name.
    pub namespace: String,
    /// Its UID.
    pub uid: String,
}

/// The token of one organisation.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct CorpStatus {
    /// The organisation.
    pub corp_id: String,
    /// The Secret that holds its token, or is to hold it.
    pub secret_name: String,
    /// When the token in the Secret expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub expiration_time: Option<String>,
    /// When the token in the Secret was requested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub last_renewal_time: Option<String>,
    /// Why it was requested, such as `RenewalDue`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_renewal_cause: Option<String>,
    /// When the token is fetched next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub next_attempt_time: Option<String>,
    /// What stands in the way, if anything does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<CorpError>,
}

/// Why the last attempt for an organisation did not succeed.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct CorpError {
    /// The operator's stable name of the failure, such as `InvalidCredentials`.
    pub reason: String,
    /// Whom a throttle or a ban concerns: `Corp`, this organisation; `ClientId`, all organisations of
    /// the app; `Site`, everybody at the site.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// DingTalk's code, verbatim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The HTTP status of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_status: Option<i32>,
    /// DingTalk's request id, to quote to its support.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// What DingTalk or the API server said, where it can be shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Since when this failure lasts.
    #[schemars(extend("format" = "date-time"))]
    pub since_time: String,
}
