use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::Duration as GoDuration;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::DingTalkAppStatus;

/// Keeps a valid DingTalk access token in a Secret.
///
/// The operator fetches the token with the credentials in the Secret `spec.credentialsSecretRef`,
/// writes it to the target Secret, and renews it before it expires.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "dingtalk-token-operator.github.io",
    version = "v1alpha1",
    kind = "DingTalkApp",
    plural = "dingtalkapps",
    shortname = "dta",
    category = "dingtalk",
    doc = "DingTalkApp keeps a valid DingTalk access token in a Secret: the operator fetches the token with the app's credentials, writes it to the target Secret, and renews it before it expires.",
    namespaced,
    status = "DingTalkAppStatus",
    selectable = ".spec.site",
    selectable = ".spec.credentialsSecretRef.name",
    validation = Rule::new("(has(self.spec.target) && has(self.spec.target.name)) || self.metadata.name.size() <= 247").message("metadata.name is too long for the default target name <name>-token (253 characters at most): set spec.target.name"),
    validation = Rule::new("self.spec.target.layout != 'PerCorp' || has(self.spec.target.name) || self.metadata.name.size() <= 182").message("metadata.name is too long for the default targets <name>-token-<corpId> (253 characters at most): set spec.target.name"),
    validation = Rule::new("(has(self.spec.target) && has(self.spec.target.name)) || self.spec.target.layout == 'PerCorp' || self.metadata.name + '-token' != self.spec.credentialsSecretRef.name").message("the default target <metadata.name>-token is the credentials Secret, which the operator never writes: set spec.target.name to another name"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status", description = "Whether all tokens are valid"),
    printcolumn(name = "Tokens", type_ = "string", json_path = ".status.tokens", description = "Number of valid tokens, and of all corpIds"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason", description = "The reason of the condition Ready"),
    printcolumn(name = "Expires", type_ = "string", json_path = ".status.expirationTime", description = "The earliest expiry of the tokens"),
    printcolumn(name = "Renewal", type_ = "string", json_path = ".status.conditions[?(@.type==\"Renewed\")].reason", description = "The reason of the condition Renewed: the result of the last attempt", priority = 1),
    printcolumn(name = "Next", type_ = "string", json_path = ".status.nextAttemptTime", description = "The time of the next fetch", priority = 1),
    printcolumn(name = "Site", type_ = "string", json_path = ".spec.site", description = "The DingTalk site", priority = 1),
    printcolumn(name = "Secret", type_ = "string", json_path = ".status.secret", description = "The Secret that holds the tokens", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.target.name) || self.target.layout == 'PerCorp' || self.target.name != self.credentialsSecretRef.name").message("target.name is the credentials Secret, which the operator never writes: choose another name"),
    validation = Rule::new("self.target.layout != 'PerCorp' || !has(self.target.name) || self.corpIds.all(id, self.target.name + '-' + id != self.credentialsSecretRef.name)").message("a target <target.name>-<corpId> is the credentials Secret, which the operator never writes: choose another target.name"),
    validation = Rule::new("self.target.layout != 'Single' || self.corpIds.size() == 1").message("layout Single holds the token of exactly one corpId: write one corpId here, or set target.layout to Combined (one Secret) or PerCorp (a Secret each)"),
    validation = Rule::new("self.target.layout != 'PerCorp' || self.corpIds.all(id, id.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$'))").message("layout PerCorp puts each corpId into a Secret's name: lower-case letters, digits and '-' only, beginning and ending with a letter or digit; use layout Combined for other corpIds"),
    validation = Rule::new("self.target.layout != 'PerCorp' || !has(self.target.name) || self.target.name.size() <= 188").message("target.name is too long for targets <target.name>-<corpId>: 188 characters at most with layout PerCorp"),
    validation = Rule::new("self.target.layout == 'Combined' || !has(self.target.template) || !has(self.target.template.data) || !self.target.template.data.exists(key, key in ['access_token', 'expires_at', 'corp_id'])").message("target.template.data cannot set access_token, expires_at or corp_id, which are the layout's own keys: choose another key"),
    validation = Rule::new("self.target.layout != 'Combined' || !has(self.target.template) || !has(self.target.template.data) || self.corpIds.all(id, !((id + '.access_token') in self.target.template.data) && !((id + '.expires_at') in self.target.template.data))").message("target.template.data cannot set <corpId>.access_token or <corpId>.expires_at, which are the layout's own keys: choose another key")
)]
pub struct DingTalkAppSpec {
    /// The Secret in this namespace that holds the app's credentials.
    pub credentials_secret_ref: CredentialsSecretRef,
    /// The organisations (corpId) to fetch a token for.
    ///
    /// For an internal app, this is its own organisation; for a third-party enterprise app, the
    /// organisations that have authorised it. Layout `Single` needs exactly one; the other layouts allow up
    /// to 1000.
    #[schemars(length(min = 1, max = 1000), inner(length(min = 1, max = 64)))]
    #[x_kube(
        merge_strategy = ListMerge::Set,
        validation = Rule::new("self.all(id, id.matches('^[A-Za-z0-9_-]+$'))").message("a corpId has 1 to 64 letters, digits, '-' or '_'; copy it from the DingTalk developer console, it looks like ding9f50b15bccd16741")
    )]
    pub corp_ids: Vec<String>,
    /// The DingTalk site that the app belongs to.
    ///
    /// `china` is `https://api.dingtalk.com` and `global` is `https://api.dingtalk.io`; their accounts
    /// are separate. The operator's `--site` flags can add others. There is no default, because a client
    /// secret sent to the wrong site cannot be recalled.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')").message("not a site's name: write china, global or another name from the operator's --site flags, in lower-case letters, digits and '-'"))]
    pub site: String,
    /// The Secret to write.
    // Empty, so that it does not change when a field is added; the fields have defaults of their own.
    #[serde(default)]
    #[schemars(extend("default" = {}))]
    pub target: Target,
    /// How long before its expiry a token is renewed, such as `40m` or `1h30m`. A duration in the format
    /// of the Gateway API (GEP-2257), of at least one second.
    ///
    /// Default: a third of the token's lifetime. Values above nine tenths of the lifetime are treated as
    /// nine tenths.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "gep_2257_duration")]
    pub renew_before: Option<String>,
    /// Other namespaces that may hold a copy of the tokens. Default: none.
    ///
    /// A `DingTalkTokenReference` in such a namespace creates the copy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["namespace".into()]))]
    pub reference_grants: Vec<ReferenceGrant>,
    /// Workloads in this namespace to restart after a token's value has changed, for programs that cannot
    /// reread a file. The operator needs the role in deploy/opt-in/rollout-restart.yaml for this.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["kind".into(), "name".into()]))]
    pub rollout_restart_targets: Vec<RolloutRestartTarget>,
    /// Suspends the app: no tokens are fetched, and the Secrets stay as they are.
    #[serde(default)]
    pub suspend: bool,
}

/// Allows a namespace to hold a copy of the tokens.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ReferenceGrant {
    /// The exact name of the namespace.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')").message("not a namespace: write its exact name, without wildcards"))]
    pub namespace: String,
}

/// A workload to restart.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RolloutRestartTarget {
    /// The workload's kind, in `apps/v1`.
    pub kind: WorkloadKind,
    /// The workload's name.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')").message("not a workload's name: use lower-case letters, digits, '-' and '.', beginning and ending with a letter or digit"))]
    pub name: String,
}

/// The kinds of workloads that `kubectl rollout restart` supports.
#[derive(schemars::JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkloadKind {
    /// `apps/v1` Deployment.
    Deployment,
    /// `apps/v1` `StatefulSet`.
    StatefulSet,
    /// `apps/v1` `DaemonSet`.
    DaemonSet,
}

/// Refers to the Secret with the app's credentials, and to its keys.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Hash)]
#[serde(rename_all = "camelCase")]
pub struct CredentialsSecretRef {
    /// The name of the Secret, which must be in the namespace of this `DingTalkApp`.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')").message("not a Secret's name: use lower-case letters, digits, '-' and '.', beginning and ending with a letter or digit"))]
    pub name: String,
    /// The key that holds the app's Client ID.
    #[serde(default = "default_client_id_key")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[-._a-zA-Z0-9]+$')").message("not a key of a Secret: use letters, digits, '-', '_' and '.'"))]
    pub client_id_key: String,
    /// The key that holds the app's Client Secret.
    #[serde(default = "default_client_secret_key")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[-._a-zA-Z0-9]+$')").message("not a key of a Secret: use letters, digits, '-', '_' and '.'"))]
    pub client_secret_key: String,
}

/// The Secret that the operator writes.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// The Secret's name. Default: `<metadata.name>-token`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')").message("not a Secret's name: use lower-case letters, digits, '-' and '.', beginning and ending with a letter or digit"))]
    pub name: Option<String>,
    /// How the tokens are arranged in Secrets.
    ///
    /// `Single` (default): one corpId in one Secret, with the keys `access_token`, `expires_at` and
    /// `corp_id`. `Combined`: all corpIds in one Secret, with the keys `<corpId>.access_token` and
    /// `<corpId>.expires_at` for each. `PerCorp`: one Secret for each corpId, named
    /// `<target.name>-<corpId>`, with the same keys as `Single`.
    #[serde(default)]
    pub layout: Layout,
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
    /// Templates for additional keys of the Secret.
    #[serde(default, skip_serializing_if = "Template::is_empty")]
    pub template: Template,
    /// How soon a new token reaches the files of pods that mount the Secret as a directory.
    ///
    /// `Periodic` (default): when the kubelet next syncs the pod, within 90 seconds. `Immediate`: within a
    /// second. For this, the operator annotates these pods and needs the role in
    /// deploy/opt-in/immediate-propagation.yaml.
    #[serde(default)]
    pub propagation: Propagation,
    /// What happens to the Secrets when the app is deleted.
    ///
    /// `Delete` (default): they are deleted, too. `Retain`: they remain, but their tokens are no longer
    /// renewed.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
}

/// Templates for additional keys of the Secret.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Template {
    /// Keys to add to the Secret, each with a template for its value, in a subset of Jinja.
    ///
    /// Values: `access_token`, `expires_at` (RFC 3339), `expires_at_unix` (seconds), `corp_id`,
    /// `client_id` and `site`. With layout `Combined`, the first four are only available as
    /// `corp.access_token` and so on within `{% for corp in corps %}…{% endfor %}`. Such a loop also has
    /// `loop.first`, `loop.last` and `loop.index`, and cannot contain another loop. `corps|tojson` is a
    /// list of all corps, and `corps|length` their number.
    ///
    /// Filters, without arguments and at most 4 in a row: `tojson`, `upper`, `lower`, `trim`, `length`.
    /// Conditions: `if`, `elif` and `else` with `==`, `!=`, `not`, `and`, `or` and parentheses.
    /// `raw`, comments, string and number literals and `{{- -}}` work as in Jinja. Nothing else is
    /// supported: a template that uses anything else is rejected before a token is fetched.
    ///
    /// All templates together may have at most 1,000 parts (texts, values, filters and conditions) and
    /// take at most 200,000 steps to render. They cannot override the layout's own keys.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(length(max = 16), schema_with = "template_map")]
    #[x_kube(validation = Rule::new("self.all(key, key.size() <= 253 && key.matches('^[-._a-zA-Z0-9]+$'))").message("not a key of a Secret: use up to 253 letters, digits, '-', '_' and '.'"))]
    pub data: BTreeMap<String, String>,
}

impl Template {
    fn is_empty(&self) -> bool {
        self.data.is_empty()
    }
}

/// How soon a new token reaches the files of pods that mount the Secret.
#[derive(
    schemars::JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq,
)]
pub enum Propagation {
    /// When the kubelet next syncs the pod.
    #[default]
    Periodic,
    /// Within a second, because the pods are annotated.
    Immediate,
}

/// What happens to the Secrets when the app is deleted.
#[derive(
    schemars::JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq,
)]
pub enum DeletionPolicy {
    /// They are deleted, too.
    #[default]
    Delete,
    /// They remain, but their tokens are no longer renewed.
    Retain,
}

/// How the tokens are arranged in Secrets.
#[derive(
    schemars::JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq,
)]
pub enum Layout {
    /// One Secret, named `target.name`, with the keys `access_token`, `expires_at` and `corp_id`.
    #[default]
    Single,
    /// One Secret, named `target.name`, with the keys `<corpId>.access_token` and
    /// `<corpId>.expires_at` for each corpId.
    Combined,
    /// One Secret for each corpId, named `<target.name>-<corpId>`, with the same keys as `Single`.
    PerCorp,
}

fn default_client_id_key() -> String {
    "client_id".to_owned()
}

fn default_client_secret_key() -> String {
    "client_secret".to_owned()
}

/// Returns the schema for labels of a target Secret.
pub(super) fn label_map(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    metadata_map(
        "labels",
        63,
        "self.all(key, key.matches('^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$') && self[key].matches('^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$'))",
        "not a label: a key is [prefix/]name, and name and value have at most 63 letters, digits, '-', '_' and '.', beginning and ending with a letter or digit",
    )
}

/// Returns the schema for annotations of a target Secret.
pub(super) fn annotation_map(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    metadata_map(
        "annotations",
        4096,
        "self.all(key, key.matches('^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$'))",
        "not an annotation: a key is [prefix/]name, and name has at most 63 letters, digits, '-', '_' and '.', beginning and ending with a letter or digit",
    )
}

fn template_map(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "maxProperties": 16,
        "additionalProperties": {"type": "string", "maxLength": 4096},
    })
}

fn metadata_map(what: &str, max_length: u32, rule: &str, message: &str) -> schemars::Schema {
    const UNRESERVED: &str = "self.all(key, key != 'app.kubernetes.io/managed-by' && (key.startsWith('app.kubernetes.io/') || !key.matches('(^|[.])(kubernetes[.]io|k8s[.]io)/|^dingtalk-token-operator[.]github[.]io/')))";
    let reserved = format!(
        "app.kubernetes.io/managed-by and {what} of other kubernetes.io, k8s.io and dingtalk-token-operator.github.io prefixes are reserved: use a prefix of your own"
    );
    schemars::json_schema!({
        "type": "object",
        "maxProperties": 32,
        "additionalProperties": {"type": "string", "maxLength": max_length},
        "x-kubernetes-validations": [
            {"rule": UNRESERVED, "message": reserved},
            {"rule": rule, "message": message},
        ],
    })
}

/// Returns the schema of `renewBefore`: a duration in the format of GEP-2257.
fn gep_2257_duration(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "string",
        "maxLength": 32,
        "x-kubernetes-validations": [{
            "rule": "self.matches('^([0-9]{1,5}(h|m|s|ms)){1,4}$') && duration(self) >= duration('1s')",
            "message": "renewBefore must be a duration of at least one second, such as 40m or 1h30m",
        }],
    })
}

impl DingTalkApp {
    /// Returns `spec.target.name` or its default: the name of the target Secret, or with layout `PerCorp`
    /// the prefix of the names.
    pub fn target_name(&self) -> String {
        target_name(self.spec.target.name.as_ref(), &self.metadata)
    }
}

/// Returns the name of a target, which by default is made from the name of its owner.
pub(super) fn target_name(name: Option<&String>, owner: &ObjectMeta) -> String {
    let owner = owner.name.as_deref().unwrap_or_default();
    name.cloned().unwrap_or_else(|| format!("{owner}-token"))
}

impl DingTalkAppSpec {
    /// Returns `renewBefore`; `None` if it is absent, invalid or less than a second.
    pub fn renew_before(&self) -> Option<Duration> {
        let duration: GoDuration = self.renew_before.as_deref()?.parse().ok()?;
        (!duration.is_negative())
            .then(|| Duration::from(duration))
            .filter(|duration| *duration >= Duration::from_secs(1))
    }
}
