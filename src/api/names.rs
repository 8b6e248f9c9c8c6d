//! Names that other programs may rely on: labels, annotations, keys of the target Secret.

/// API group of the resource, and prefix of every label and annotation of this project.
pub const GROUP: &str = "dingtalk-token-operator.github.io";
/// Name under which the operator writes: field manager, events' controller, `managed-by` label.
pub const MANAGER: &str = "dingtalk-token-operator";

/// Label of a target Secret, by Kubernetes' recommended labels; its value is [`MANAGER`].
pub const LABEL_MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Label of a target Secret: the UID of the `DingTalkApp` or `DingTalkTokenReference` that it belongs
/// to. A name may be too long for a label.
pub const LABEL_OWNER_UID: &str = "dingtalk-token-operator.github.io/owner-uid";

/// Annotation of a target Secret: kind and name of its owner, such as `DingTalkApp/payroll`.
pub const ANNOTATION_OWNER: &str = "dingtalk-token-operator.github.io/owner";
/// Annotation of a target Secret: the site that its tokens are from.
pub const ANNOTATION_SITE: &str = "dingtalk-token-operator.github.io/site";
/// Annotation of a target Secret with one token: its corpId.
pub const ANNOTATION_CORP_ID: &str = "dingtalk-token-operator.github.io/corp-id";
/// Annotation of a target Secret: when the first of its tokens expires, RFC 3339.
pub const ANNOTATION_EXPIRES_AT: &str = "dingtalk-token-operator.github.io/expires-at";
/// Annotation of a target Secret: what the operator needs after a restart, for nobody else. JSON that
/// begins with the version of its format; other programs must not rely on it.
pub const ANNOTATION_STATE: &str = "dingtalk-token-operator.github.io/state";
/// Annotation of a `DingTalkApp` that asks for new tokens now: any new value does, by convention
/// the time, RFC 3339.
pub const ANNOTATION_RENEW_REQUESTED_AT: &str =
    "dingtalk-token-operator.github.io/renew-requested-at";
/// Annotation of a workload's pods that makes it roll out anew, as `kubectl rollout restart` sets it.
pub const ANNOTATION_RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";
/// Annotation of a pod: when a Secret that it mounts was written last; the kubelet looks at once.
pub const ANNOTATION_TOKEN_WRITTEN_AT: &str = "dingtalk-token-operator.github.io/token-written-at";
/// Annotation that the owner of an existing Secret sets to hand it over, to `DingTalkApp/<name>` or
/// `DingTalkTokenReference/<name>`.
pub const ANNOTATION_ADOPT_BY: &str = "dingtalk-token-operator.github.io/adopt-by";

/// Key of the target Secret: the token, raw, without a trailing newline.
pub const KEY_ACCESS_TOKEN: &str = "access_token";
/// Key of the target Secret: when the token expires, RFC 3339.
pub const KEY_EXPIRES_AT: &str = "expires_at";
/// Key of the target Secret: the organisation of the token.
pub const KEY_CORP_ID: &str = "corp_id";
