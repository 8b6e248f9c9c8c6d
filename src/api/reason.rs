use strum::{EnumIter, EnumString, IntoStaticStr};

/// The stable name of a state, a failure or an event, in conditions, events and metrics.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EnumIter, EnumString, IntoStaticStr,
)]
pub enum Reason {
    /// The ClientID or ClientSecret is wrong.
    InvalidCredentials,
    /// The organisation has not authorised or enabled the app, or the app is not published.
    AppNotAuthorized,
    /// There is no such organisation.
    InvalidCorpId,
    /// The address we call from is not in the app's allow-list.
    IpNotAllowed,
    /// The organisation's quota of API calls is used up.
    QuotaExceeded,
    /// The endpoint did not accept the request as such.
    RequestRejected,
    /// Too many calls.
    Throttled,
    /// Calls are refused for some minutes.
    Banned,
    /// The endpoint failed.
    ServerError,
    /// No answer came.
    EndpointUnreachable,
    /// DingTalk's `unknownError`.
    UnknownError,
    /// A success without a usable token, or no JSON.
    InvalidResponse,
    /// Every Secret holds a valid token.
    TokensValid,
    /// Every Secret holds a valid token, but the last renewal failed.
    RenewalFailing,
    /// The last attempt for every corpId succeeded.
    RenewalSucceeded,
    /// Several corpIds fail, for different reasons.
    CorpsFailing,
    /// A token in a Secret has expired, and no new one could be fetched or written.
    TokenExpired,
    /// A renewal at the usual time brought no more life than the token had, so the next comes
    /// closer to its expiry or, if that does not help either, right after it.
    RenewalNotExtended,
    /// The first token is being fetched.
    Pending,
    /// spec.suspend is set: no token is fetched, and the Secrets stay as they are.
    Suspended,
    /// The Secret that spec.credentialsSecretRef names does not exist.
    CredentialsNotFound,
    /// The credentials Secret lacks a key, or the key is empty.
    CredentialsKeyMissing,
    /// A value in the credentials Secret is too long for a credential, or is not visible ASCII
    /// text.
    CredentialsInvalid,
    /// The operator may not read the credentials Secret.
    CredentialsUnreadable,
    /// spec.site is none of the operator's sites, or not for this namespace.
    UnknownSite,
    /// spec.target sets a label or annotation whose key begins with none of the prefixes that the
    /// operator allows.
    MetadataNotAllowed,
    /// A template of spec.target.template.data uses what is not available, is too large or takes
    /// too long, or would override a key of the layout.
    InvalidTemplate,
    /// The target Secret belongs to somebody else, so it is not touched.
    SecretConflict,
    /// Another writer keeps changing the target Secret; it is put right once a minute.
    SecretContested,
    /// A token was fetched, but the API server refused the Secret; the token is kept and the write
    /// tried again.
    SecretWriteFailed,
    /// The tokens and templates do not fit into one Secret; what was in it last stays.
    SecretTooLarge,
    /// The target Secret carries more labels, annotations or owners than the operator keeps.
    TargetMetadataTooLarge,
    /// The namespace has more objects, corpIds or larger specs than the operator serves.
    NamespaceLimitExceeded,
    /// The object has a value that this version of the operator does not know.
    UnsupportedSpec,
    /// The DingTalkApp that a DingTalkTokenReference names does not exist, or is in a namespace
    /// that this operator does not watch.
    AppNotFound,
    /// The DingTalkApp that a DingTalkTokenReference names does not allow that namespace a copy.
    NotGranted,
    /// The namespace is being deleted and takes no Secret.
    NamespaceTerminating,
    /// The first token of an app was fetched and written to its Secret.
    FirstTokenWritten,
    /// A token with another value was written to the Secret.
    TokenRenewed,
    /// What stood in the way of a token is over.
    Recovered,
    /// A DingTalkTokenReference's Secret holds valid tokens.
    TokensCopied,
    /// A value in the credentials Secret ended with white space, which was cut off.
    CredentialsTrimmed,
    /// Another writer had changed or deleted the target Secret, and it was put right.
    SecretRestored,
    /// The workloads of spec.rolloutRestartTargets were restarted for a token with another value.
    RolloutRestarted,
    /// A workload of spec.rolloutRestartTargets could not be restarted, so its program may still
    /// hold the former token.
    RolloutRestartFailed,
    /// Pods could not be told of a new token, which reaches their files after up to 90 s.
    PropagationFailed,
    /// Pods use the Secret through subPath or environment variables, which never show a renewal.
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

impl Reason {
    /// The name as it is shown.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Where it comes from.
    pub fn origin(self) -> Origin {
        match self {
            Self::InvalidCredentials
            | Self::AppNotAuthorized
            | Self::InvalidCorpId
            | Self::IpNotAllowed
            | Self::QuotaExceeded
            | Self::RequestRejected
            | Self::Throttled
            | Self::Banned
            | Self::ServerError
            | Self::EndpointUnreachable
            | Self::UnknownError
            | Self::InvalidResponse => Origin::DingTalk,
            Self::FirstTokenWritten
            | Self::TokenRenewed
            | Self::Recovered
            | Self::TokensCopied
            | Self::CredentialsTrimmed
            | Self::SecretRestored
            | Self::RolloutRestarted
            | Self::RolloutRestartFailed
            | Self::PropagationFailed
            | Self::PodsNeverUpdated => Origin::Event,
            Self::TokensValid
            | Self::RenewalFailing
            | Self::RenewalSucceeded
            | Self::CorpsFailing
            | Self::TokenExpired
            | Self::RenewalNotExtended
            | Self::Pending
            | Self::Suspended
            | Self::CredentialsNotFound
            | Self::CredentialsKeyMissing
            | Self::CredentialsInvalid
            | Self::CredentialsUnreadable
            | Self::UnknownSite
            | Self::MetadataNotAllowed
            | Self::InvalidTemplate
            | Self::SecretConflict
            | Self::SecretContested
            | Self::SecretWriteFailed
            | Self::SecretTooLarge
            | Self::TargetMetadataTooLarge
            | Self::NamespaceLimitExceeded
            | Self::UnsupportedSpec
            | Self::AppNotFound
            | Self::NotGranted
            | Self::NamespaceTerminating => Origin::Condition,
        }
    }

    /// What it means, in words for a person.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::InvalidCredentials => "the ClientID or the ClientSecret is wrong",
            Self::AppNotAuthorized => {
                "the organisation has not authorised or enabled the app, or the app is not published"
            }
            Self::InvalidCorpId => "there is no such organisation",
            Self::IpNotAllowed => "the address we call from is not in the app's allow-list",
            Self::QuotaExceeded => "the organisation's quota of API calls is used up",
            Self::RequestRejected => "DingTalk did not accept the request as such",
            Self::Throttled => "there were too many calls",
            Self::Banned => "calls are refused for some minutes",
            Self::ServerError => "DingTalk failed",
            Self::EndpointUnreachable => "no answer came: DNS, connection, TLS or time-out",
            Self::UnknownError => "DingTalk says unknownError",
            Self::InvalidResponse => {
                "DingTalk answered a success without a usable token, or no JSON"
            }
            Self::TokensValid => "every Secret holds a valid token",
            Self::RenewalFailing => "every Secret holds a valid token, but the last renewal failed",
            Self::RenewalSucceeded => "the last attempt for every corpId succeeded",
            Self::CorpsFailing => "several corpIds fail, for different reasons",
            Self::TokenExpired => {
                "a token in a Secret has expired, and no new one could be fetched or written"
            }
            Self::RenewalNotExtended => {
                "a renewal at the usual time brought no more life than the token had, so the next comes closer to its expiry or, if that does not help either, right after it"
            }
            Self::Pending => "the first token is being fetched",
            Self::Suspended => {
                "spec.suspend is set: no token is fetched, and the Secrets stay as they are"
            }
            Self::CredentialsNotFound => {
                "the Secret that spec.credentialsSecretRef names does not exist"
            }
            Self::CredentialsKeyMissing => {
                "the credentials Secret lacks a key, or the key is empty"
            }
            Self::CredentialsInvalid => {
                "a value in the credentials Secret is too long for a credential, or is not visible ASCII text"
            }
            Self::CredentialsUnreadable => "the operator may not read the credentials Secret",
            Self::UnknownSite => {
                "spec.site is none of the operator's sites, or not for this namespace"
            }
            Self::MetadataNotAllowed => {
                "spec.target sets a label or annotation whose key begins with none of the prefixes that the operator allows"
            }
            Self::InvalidTemplate => {
                "a template of spec.target.template.data uses what is not available, is too large or takes too long, or would override a key of the layout"
            }
            Self::SecretConflict => {
                "the target Secret belongs to somebody else, so it is not touched"
            }
            Self::SecretContested => {
                "another writer keeps changing the target Secret; it is put right once a minute"
            }
            Self::SecretWriteFailed => {
                "a token was fetched, but the API server refused the Secret; the token is kept and the write tried again"
            }
            Self::SecretTooLarge => {
                "the tokens and templates do not fit into one Secret; what was in it last stays"
            }
            Self::TargetMetadataTooLarge => {
                "the target Secret carries more labels, annotations or owners than the operator keeps"
            }
            Self::NamespaceLimitExceeded => {
                "the namespace has more apps, corpIds, references or larger specs than the operator serves; the oldest objects are served"
            }
            Self::UnsupportedSpec => {
                "the object has a value that this version of the operator does not know, such as one of a newer version's; its Secrets stay as they are"
            }
            Self::AppNotFound => {
                "the DingTalkApp that a DingTalkTokenReference names does not exist, or is in a namespace that this operator does not watch"
            }
            Self::NotGranted => {
                "the DingTalkApp that a DingTalkTokenReference names does not allow that namespace a copy"
            }
            Self::NamespaceTerminating => "the namespace is being deleted and takes no Secret",
            Self::FirstTokenWritten => {
                "the first token of an app was fetched and written to its Secret"
            }
            Self::TokenRenewed => "a token with another value was written to the Secret",
            Self::Recovered => "what stood in the way of a token is over",
            Self::TokensCopied => "a DingTalkTokenReference's Secret holds valid tokens",
            Self::CredentialsTrimmed => {
                "a value in the credentials Secret ended with white space, which was cut off"
            }
            Self::SecretRestored => {
                "another writer had changed or deleted the target Secret, and it was put right"
            }
            Self::RolloutRestarted => {
                "the workloads of spec.rolloutRestartTargets were restarted for a token with another value"
            }
            Self::RolloutRestartFailed => {
                "a workload of spec.rolloutRestartTargets could not be restarted, so its program may still hold the former token"
            }
            Self::PropagationFailed => {
                "pods could not be told of a new token, which reaches their files after up to 90 s"
            }
            Self::PodsNeverUpdated => {
                "pods use the Secret through subPath or environment variables, which never show a renewal"
            }
        }
    }

    /// What to do about it; `None` where it depends on what DingTalk said.
    pub fn advice(self) -> Option<&'static str> {
        Some(match self {
            Self::RenewalFailing => {
                "see the condition Renewed for what stands in the way, before the token expires"
            }
            Self::CorpsFailing => "see status.corps for the reason of each",
            Self::TokenExpired => "see the condition Renewed for what stands in the way",
            Self::RenewalNotExtended => {
                "nothing; if the message says so, programs must expect a gap of some seconds at each expiry"
            }
            Self::Pending => "wait; if it lasts, see nextAttemptTime and the operator's log",
            Self::Suspended => "set spec.suspend to false to go on",
            Self::CredentialsNotFound => "create it; the token is fetched at once",
            Self::CredentialsKeyMissing => {
                "put ClientID and ClientSecret under the keys that spec.credentialsSecretRef names"
            }
            Self::CredentialsInvalid => {
                "put the ClientID (at most 128 characters) and the ClientSecret (at most 512) there exactly as the developer console shows them"
            }
            Self::CredentialsUnreadable => {
                "grant the operator its role in this namespace, see deploy/"
            }
            Self::UnknownSite => {
                "use china, global or a name of the operator's --site flags that --site-namespaces leaves to this namespace"
            }
            Self::MetadataNotAllowed => {
                "remove it, or have its prefix allowed by the operator's flag --target-metadata-prefix"
            }
            Self::InvalidTemplate => {
                "do what the message says, at the line and column that it names"
            }
            Self::SecretConflict => {
                "delete it, choose another spec.target.name, or hand it over with the annotation dingtalk-token-operator.github.io/adopt-by=<Kind>/<name>"
            }
            Self::SecretContested => "find the writer in the Secret's managedFields and stop it",
            Self::SecretWriteFailed => {
                "see the API server's words in the message: a quota, a webhook, a missing role"
            }
            Self::SecretTooLarge => {
                "use layout PerCorp, or divide the corpIds among several DingTalkApps"
            }
            Self::TargetMetadataTooLarge => {
                "remove from that Secret what other programs added, or delete the Secret"
            }
            Self::NamespaceLimitExceeded => {
                "delete what is not needed, use another namespace, or raise --max-apps-per-namespace, --max-corps-per-namespace or --max-references-per-namespace"
            }
            Self::UnsupportedSpec => {
                "upgrade the operator, or write only what this version knows: see kubectl explain"
            }
            Self::AppNotFound => {
                "check spec.appRef, or have the app created; the copy is written at once"
            }
            Self::NotGranted => "have the app's owner add the namespace to spec.referenceGrants",
            Self::CredentialsTrimmed => {
                "write the credentials without it, with printf instead of echo"
            }
            Self::SecretRestored => {
                "find the writer in the Secret's managedFields, if it happens again"
            }
            Self::RolloutRestartFailed => {
                "correct spec.rolloutRestartTargets, or grant the operator the role of deploy/opt-in/rollout-restart.yaml in this namespace"
            }
            Self::PropagationFailed => {
                "grant the operator the role of deploy/opt-in/immediate-propagation.yaml in this namespace, or set spec.target.propagation to Periodic"
            }
            Self::PodsNeverUpdated => {
                "mount the Secret as a directory, or name their workload in spec.rolloutRestartTargets"
            }
            Self::TokensValid
            | Self::RenewalSucceeded
            | Self::NamespaceTerminating
            | Self::FirstTokenWritten
            | Self::TokenRenewed
            | Self::Recovered
            | Self::TokensCopied
            | Self::RolloutRestarted => "nothing",
            Self::InvalidCredentials
            | Self::AppNotAuthorized
            | Self::InvalidCorpId
            | Self::IpNotAllowed
            | Self::QuotaExceeded
            | Self::RequestRejected
            | Self::Throttled
            | Self::Banned
            | Self::ServerError
            | Self::EndpointUnreachable
            | Self::UnknownError
            | Self::InvalidResponse => return None,
        })
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
