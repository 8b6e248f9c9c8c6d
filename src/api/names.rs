//! Names that other programs may rely on: labels, annotations, keys of the target Secret.

/// API group of the resources, and prefix of the project's labels and annotations.
pub const GROUP: &str = "dingtalk-token-operator.github.io";
/// The operator's field manager, its reporting controller in events, and its `managed-by` label.
pub const MANAGER: &str = "dingtalk-token-operator";

/// Label of a target Secret; its value is [`MANAGER`].
pub const LABEL_MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Label of a target Secret: UID of the `DingTalkApp` or `DingTalkTokenReference` that owns it. The
/// owner's name may be too long for a label.
pub const LABEL_OWNER_UID: &str = "dingtalk-token-operator.github.io/owner-uid";

/// Annotation of a target Secret: kind and name of its owner, such as `DingTalkApp/payroll`.
pub const ANNOTATION_OWNER: &str = "dingtalk-token-operator.github.io/owner";
/// Annotation of a target Secret: the site that its tokens were fetched from.
pub const ANNOTATION_SITE: &str = "dingtalk-token-operator.github.io/site";
/// Annotation of a target Secret with one token: the corpId.
pub const ANNOTATION_CORP_ID: &str = "dingtalk-token-operator.github.io/corp-id";
/// Annotation of a target Secret: the earliest expiry of its tokens, RFC 3339.
pub const ANNOTATION_EXPIRES_AT: &str = "dingtalk-token-operator.github.io/expires-at";
/// Annotation of a target Secret: the operator's private state, as JSON that begins with the version of
/// its format. Other programs must not rely on it.
pub const ANNOTATION_STATE: &str = "dingtalk-token-operator.github.io/state";
/// Annotation of a `DingTalkApp`: requests a renewal whenever its value changes. The value is by convention
/// the current time, RFC 3339.
pub const ANNOTATION_RENEW_REQUESTED_AT: &str =
    "dingtalk-token-operator.github.io/renew-requested-at";
/// Annotation of a workload's pod template that triggers a rollout, as set by `kubectl rollout restart`.
pub const ANNOTATION_RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";
/// Annotation of a pod: time of the last write of a Secret that it mounts. A change makes the kubelet update
/// the mounted files at once.
pub const ANNOTATION_TOKEN_WRITTEN_AT: &str = "dingtalk-token-operator.github.io/token-written-at";
/// Annotation by which the owner of an existing Secret hands it over to `DingTalkApp/<name>` or
/// `DingTalkTokenReference/<name>`.
pub const ANNOTATION_ADOPT_BY: &str = "dingtalk-token-operator.github.io/adopt-by";

/// Key of the target Secret: the token, without a trailing newline.
pub const KEY_ACCESS_TOKEN: &str = "access_token";
/// Key of the target Secret: the expiry of the token, RFC 3339.
pub const KEY_EXPIRES_AT: &str = "expires_at";
/// Key of the target Secret: the corpId of the token.
pub const KEY_CORP_ID: &str = "corp_id";
