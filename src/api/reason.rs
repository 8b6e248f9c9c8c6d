use strum::{EnumIter, EnumString, IntoStaticStr};

/// The stable name of a state, a failure or an event, in conditions, events and metrics.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EnumIter, EnumString, IntoStaticStr,
)]
#[expect(missing_docs, reason = "`Reason::meaning` says what each means")]
pub enum Reason {
    InvalidCredentials,
    AppNotAuthorized,
    InvalidCorpId,
    IpNotAllowed,
    QuotaExceeded,
    RequestRejected,
    Throttled,
    Banned,
    ServerError,
    EndpointUnreachable,
    UnknownError,
    InvalidResponse,
    TokensValid,
    RenewalFailing,
    RenewalSucceeded,
    CorpsFailing,
    TokenExpired,
    RenewalNotExtended,
    Pending,
    Suspended,
    CredentialsNotFound,
    CredentialsKeyMissing,
    CredentialsInvalid,
    CredentialsUnreadable,
    UnknownSite,
    MetadataNotAllowed,
    InvalidTemplate,
    SecretConflict,
    SecretContested,
    SecretWriteFailed,
    SecretTooLarge,
    TargetMetadataTooLarge,
    NamespaceLimitExceeded,
    UnsupportedSpec,
    AppNotFound,
    NotGranted,
    NamespaceTerminating,
    FirstTokenWritten,
    TokenRenewed,
    Recovered,
    TokensCopied,
    CredentialsTrimmed,
    SecretRestored,
    RolloutRestarted,
    RolloutRestartFailed,
    PropagationFailed,
    PodsNeverUpdated,
}

/// Where a reason comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// DingTalk refused a token, or did not answer. What to do depends on what it said.
    DingTalk,
    /// What a condition says of the cluster.
    Condition,
    /// Something that happened, told by an event alone.
    Event,
}

/// What there is to say of a reason.
struct Told {
    origin: Origin,
    meaning: &'static str,
    advice: Option<&'static str>,
}

fn dingtalk(meaning: &'static str) -> Told {
    Told {
        origin: Origin::DingTalk,
        meaning,
        advice: None,
    }
}

fn condition(meaning: &'static str, advice: &'static str) -> Told {
    Told {
        origin: Origin::Condition,
        meaning,
        advice: Some(advice),
    }
}

fn event(meaning: &'static str, advice: &'static str) -> Told {
    Told {
        origin: Origin::Event,
        meaning,
        advice: Some(advice),
    }
}

/// The page with a section for each reason.
const PAGE: &str =
    "https://github.com/dingtalk-token-operator/dingtalk-token-operator/blob/main/docs/reasons.md";

impl Reason {
    /// The name as it is shown.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Its section of the documentation.
    pub fn page(self) -> String {
        format!("{PAGE}#{}", self.as_str().to_lowercase())
    }

    /// Whether it says that all is well, or will be by itself.
    pub fn is_calm(self) -> bool {
        matches!(
            self,
            Self::TokensValid | Self::RenewalSucceeded | Self::Pending | Self::Suspended
        )
    }

    /// Where it comes from.
    pub fn origin(self) -> Origin {
        self.told().origin
    }

    /// What it means, in words for a person.
    pub fn meaning(self) -> &'static str {
        self.told().meaning
    }

    /// What to do about it; `None` where it depends on what DingTalk said.
    pub fn advice(self) -> Option<&'static str> {
        self.told().advice
    }

    fn told(self) -> Told {
        match self {
            Self::InvalidCredentials => dingtalk("the ClientID or the ClientSecret is wrong"),
            Self::AppNotAuthorized => dingtalk(
                "the organisation has not authorised or enabled the app, or the app is not \
                 published",
            ),
            Self::InvalidCorpId => dingtalk("there is no such organisation"),
            Self::IpNotAllowed => {
                dingtalk("the address we call from is not in the app's allow-list")
            }
            Self::QuotaExceeded => dingtalk("the organisation's quota of API calls is used up"),
            Self::RequestRejected => dingtalk("DingTalk did not accept the request as such"),
            Self::Throttled => dingtalk("there were too many calls"),
            Self::Banned => dingtalk("calls are refused for some minutes"),
            Self::ServerError => dingtalk("DingTalk failed"),
            Self::EndpointUnreachable => {
                dingtalk("no answer came: DNS, connection, TLS or time-out")
            }
            Self::UnknownError => dingtalk("DingTalk says unknownError"),
            Self::InvalidResponse => {
                dingtalk("DingTalk answered a success without a usable token, or no JSON")
            }
            Self::TokensValid => condition("every Secret holds a valid token", "nothing"),
            Self::RenewalFailing => condition(
                "every Secret holds a valid token, but the last renewal failed",
                "see the condition Renewed for what stands in the way, before the token expires",
            ),
            Self::RenewalSucceeded => {
                condition("the last attempt for every corpId succeeded", "nothing")
            }
            Self::CorpsFailing => condition(
                "several corpIds fail, for different reasons",
                "see status.corps for the reason of each",
            ),
            Self::TokenExpired => condition(
                "a token in a Secret has expired, and no new one could be fetched or written",
                "see the condition Renewed for what stands in the way",
            ),
            Self::RenewalNotExtended => condition(
                "a renewal at the usual time brought no more life than the token had, so the next \
                 comes closer to its expiry or, if that does not help either, right after it",
                "nothing; if the message says so, programs must expect a gap of some seconds at \
                 each expiry",
            ),
            Self::Pending => condition(
                "the first token is being fetched",
                "wait; if it lasts, see nextAttemptTime and the operator's log",
            ),
            Self::Suspended => condition(
                "spec.suspend is set: no token is fetched, and the Secrets stay as they are",
                "set spec.suspend to false to go on",
            ),
            Self::CredentialsNotFound => condition(
                "the Secret that spec.credentialsSecretRef names does not exist",
                "create it; the token is fetched at once",
            ),
            Self::CredentialsKeyMissing => condition(
                "the credentials Secret lacks a key, or the key is empty",
                "put ClientID and ClientSecret under the keys that spec.credentialsSecretRef names",
            ),
            Self::CredentialsInvalid => condition(
                "a value in the credentials Secret is too long for a credential, or is not \
                 visible ASCII text",
                "put the ClientID (at most 128 characters) and the ClientSecret (at most 512) \
                 there exactly as the developer console shows them",
            ),
            Self::CredentialsUnreadable => condition(
                "the operator may not read the credentials Secret",
                "grant the operator its role in this namespace, see deploy/",
            ),
            Self::UnknownSite => condition(
                "spec.site is none of the operator's sites, or not for this namespace",
                "use china, global or a name of the operator's --site flags that \
                 --site-namespaces leaves to this namespace",
            ),
            Self::MetadataNotAllowed => condition(
                "spec.target sets a label or annotation whose key begins with none of the \
                 prefixes that the operator allows",
                "remove it, or have its prefix allowed by the operator's flag \
                 --target-metadata-prefix",
            ),
            Self::InvalidTemplate => condition(
                "a template of spec.target.template.data uses what is not available, is too large \
                 or takes too long, or would override a key of the layout",
                "do what the message says, at the line and column that it names",
            ),
            Self::SecretConflict => condition(
                "the target Secret belongs to somebody else, so it is not touched",
                "delete it, choose another spec.target.name, or hand it over with the annotation \
                 dingtalk-token-operator.github.io/adopt-by=<Kind>/<name>",
            ),
            Self::SecretContested => condition(
                "another writer keeps changing the target Secret; it is put right once a minute",
                "find the writer in the Secret's managedFields and stop it",
            ),
            Self::SecretWriteFailed => condition(
                "a token was fetched, but the API server refused the Secret; the token is kept \
                 and the write tried again",
                "see the API server's words in the message: a quota, a webhook, a missing role",
            ),
            Self::SecretTooLarge => condition(
                "the tokens and templates do not fit into one Secret; what was in it last stays",
                "use layout PerCorp, or divide the corpIds among several DingTalkApps",
            ),
            Self::TargetMetadataTooLarge => condition(
                "the target Secret carries more labels, annotations or owners than the operator \
                 keeps",
                "remove from that Secret what other programs added, or delete the Secret",
            ),
            Self::NamespaceLimitExceeded => condition(
                "the namespace has more apps, corpIds, references or larger specs than the \
                 operator serves; the oldest objects are served",
                "delete what is not needed, use another namespace, or raise \
                 --max-apps-per-namespace, --max-corps-per-namespace or \
                 --max-references-per-namespace",
            ),
            Self::UnsupportedSpec => condition(
                "the object has a value that this version of the operator does not know, such as \
                 one of a newer version's; its Secrets stay as they are",
                "upgrade the operator, or write only what this version knows: see kubectl explain",
            ),
            Self::AppNotFound => condition(
                "the DingTalkApp that a DingTalkTokenReference names does not exist, or is in a \
                 namespace that this operator does not watch",
                "check spec.appRef, or have the app created; the copy is written at once",
            ),
            Self::NotGranted => condition(
                "the DingTalkApp that a DingTalkTokenReference names does not allow that \
                 namespace a copy",
                "have the app's owner add the namespace to spec.referenceGrants",
            ),
            Self::NamespaceTerminating => condition(
                "the namespace is being deleted and takes no Secret",
                "nothing",
            ),
            Self::FirstTokenWritten => event(
                "the first token of an app was fetched and written to its Secret",
                "nothing",
            ),
            Self::TokenRenewed => event(
                "a token with another value was written to the Secret",
                "nothing",
            ),
            Self::Recovered => event("what stood in the way of a token is over", "nothing"),
            Self::TokensCopied => event(
                "a DingTalkTokenReference's Secret holds valid tokens",
                "nothing",
            ),
            Self::CredentialsTrimmed => event(
                "a value in the credentials Secret ended with white space, which was cut off",
                "write the credentials without it, with printf instead of echo",
            ),
            Self::SecretRestored => event(
                "another writer had changed or deleted the target Secret, and it was put right",
                "find the writer in the Secret's managedFields, if it happens again",
            ),
            Self::RolloutRestarted => event(
                "the workloads of spec.rolloutRestartTargets were restarted for a token with \
                 another value",
                "nothing",
            ),
            Self::RolloutRestartFailed => event(
                "a workload of spec.rolloutRestartTargets could not be restarted, so its program \
                 may still hold the former token",
                "correct spec.rolloutRestartTargets, or grant the operator the role of \
                 deploy/opt-in/rollout-restart.yaml in this namespace",
            ),
            Self::PropagationFailed => event(
                "pods could not be told of a new token, which reaches their files after up to 90 s",
                "grant the operator the role of deploy/opt-in/immediate-propagation.yaml in this \
                 namespace, or set spec.target.propagation to Periodic",
            ),
            Self::PodsNeverUpdated => event(
                "pods use the Secret through subPath or environment variables, which never show a \
                 renewal",
                "mount the Secret as a directory, or name their workload in \
                 spec.rolloutRestartTargets",
            ),
        }
    }
}

/// Statuses carry reasons as text.
impl PartialEq<Reason> for String {
    fn eq(&self, other: &Reason) -> bool {
        self == other.as_str()
    }
}

#[cfg(test)]
mod tests {
    use strum::IntoEnumIterator as _;

    use super::*;

    #[test]
    fn each_reason_is_read_back_and_says_what_to_do_unless_dingtalk_does() {
        for reason in Reason::iter() {
            assert_eq!(reason.as_str().parse(), Ok(reason));
            assert!(!reason.meaning().is_empty());
            let is_dingtalks = reason.origin() == Origin::DingTalk;
            assert_eq!(reason.advice().is_none(), is_dingtalks, "{reason:?}");
        }
    }
}
