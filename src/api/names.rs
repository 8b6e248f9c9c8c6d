//! Names that other programs may rely on: labels, annotations, keys of the target Secret.

/// API group of the resource, and prefix of every label and annotation of this project.
pub const GROUP: &str = "dingtalk-token-operator.github.io";
/// Name under which the operator writes: field manager, events' controller, `managed-by` label.
pub const MANAGER: &str = "dingtalk-token-operator";

/// Label of a target Secret, by Kubernetes' recommended labels; its value is [`MANAGER`].
pub const LABEL_MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Label of a target Secret: the UID of its `DingTalkApp` (a name may be too long for a label), of a
/// copy that of its `DingTalkTokenReference`.
pub const LABEL_APP_UID: &str = "dingtalk-token-operator.github.io/app-uid";

/// Annotation of a target Secret: the name of its `DingTalkApp`.
pub const ANNOTATION_APP: &str = "dingtalk-token-operator.github.io/app";
/// Annotation of a copy: the name of its `DingTalkTokenReference`.
pub const ANNOTATION_REFERENCE: &str = "dingtalk-token-operator.github.io/reference";
/// Annotation of a target Secret: the site that issued the token.
pub const ANNOTATION_SITE: &str = "dingtalk-token-operator.github.io/site";
/// Annotation of a target Secret: the organisation of the token.
pub const ANNOTATION_CORP_ID: &str = "dingtalk-token-operator.github.io/corp-id";
/// Annotation of a target Secret: when its token expires, RFC 3339.
pub const ANNOTATION_EXPIRES_AT: &str = "dingtalk-token-operator.github.io/expires-at";
/// Annotation of a target Secret: when its token was requested, RFC 3339.
pub const ANNOTATION_MINTED_AT: &str = "dingtalk-token-operator.github.io/minted-at";
/// Annotation of a target Secret: UID of the credentials Secret that was used.
pub const ANNOTATION_CREDENTIALS_UID: &str = "dingtalk-token-operator.github.io/credentials-uid";
/// Annotation of a target Secret: resourceVersion of the credentials Secret that was used.
pub const ANNOTATION_CREDENTIALS_VERSION: &str =
    "dingtalk-token-operator.github.io/credentials-resource-version";
/// Annotation of a target Secret: SHA-256 of the keys that the operator wrote.
pub const ANNOTATION_DATA_DIGEST: &str = "dingtalk-token-operator.github.io/data-digest";
/// Annotation of a target Secret of layout `Combined`: its tokens, separated by commas, each as
/// `<corpId>=<requested at>+<lifetime>` in unix seconds and seconds; a `~` at the end says that it
/// was fetched with former credentials.
pub const ANNOTATION_TOKENS: &str = "dingtalk-token-operator.github.io/tokens";
/// Annotation of a target Secret: the `client_id` that its token was fetched with.
pub const ANNOTATION_CLIENT_ID: &str = "dingtalk-token-operator.github.io/client-id";
/// Annotation of a target Secret: the keys that templates made, and a digest of the templates.
pub const ANNOTATION_TEMPLATES: &str = "dingtalk-token-operator.github.io/templates";
/// Annotation of a target Secret: when a token's value changed last, RFC 3339; absent as long as
/// its first token is in it.
pub const ANNOTATION_VALUE_CHANGED_AT: &str = "dingtalk-token-operator.github.io/value-changed-at";
/// Annotation of a `DingTalkApp` that asks for new tokens now: any new value does, by convention
/// the time, RFC 3339.
pub const ANNOTATION_RENEW_REQUESTED_AT: &str =
    "dingtalk-token-operator.github.io/renew-requested-at";
/// Annotation of a workload's pods that makes it roll out anew, as `kubectl rollout restart` sets it.
pub const ANNOTATION_RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";
/// Annotation of a pod: when a Secret that it mounts was written last; the kubelet looks at once.
pub const ANNOTATION_TOKEN_WRITTEN_AT: &str = "dingtalk-token-operator.github.io/token-written-at";
/// Annotation that the owner of an existing Secret sets to hand it to the named `DingTalkApp`.
pub const ANNOTATION_ADOPT_BY: &str = "dingtalk-token-operator.github.io/adopt-by";

/// Key of the target Secret: the token, raw, without a trailing newline.
pub const KEY_ACCESS_TOKEN: &str = "access_token";
/// Key of the target Secret: when the token expires, RFC 3339.
pub const KEY_EXPIRES_AT: &str = "expires_at";
/// Key of the target Secret: the organisation of the token.
pub const KEY_CORP_ID: &str = "corp_id";
