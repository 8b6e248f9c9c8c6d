use strum::{EnumIter, EnumString, IntoStaticStr};

/// Declares the reasons and what is said of each: what it means and, unless it comes from DingTalk, what to do.
macro_rules! reasons {
    (
        DingTalk { $($dingtalk:ident => $dingtalk_meaning:literal;)+ }
        Condition { $($condition:ident => $condition_meaning:literal, $condition_advice:literal;)+ }
        Event { $($event:ident => $event_meaning:literal, $event_advice:literal;)+ }
    ) => {
        /// The stable name of a state, a failure or an event, in conditions, events and metrics.
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EnumIter, EnumString, IntoStaticStr,
        )]
        pub enum Reason {
            $(#[doc = $dingtalk_meaning] $dingtalk,)+
            $(#[doc = $condition_meaning] $condition,)+
            $(#[doc = $event_meaning] $event,)+
        }

        impl Reason {
            const fn details(self) -> Details {
                match self {
                    $(Self::$dingtalk => Details {
                        origin: Origin::DingTalk,
                        meaning: $dingtalk_meaning,
                        advice: None,
                    },)+
                    $(Self::$condition => Details {
                        origin: Origin::Condition,
                        meaning: $condition_meaning,
                        advice: Some($condition_advice),
                    },)+
                    $(Self::$event => Details {
                        origin: Origin::Event,
                        meaning: $event_meaning,
                        advice: Some($event_advice),
                    },)+
                }
            }
        }
    };
}

reasons! {
    DingTalk {
        InvalidCredentials => "the ClientID or the ClientSecret is wrong";
        AppNotAuthorized =>
            "the organisation has not authorised or enabled the app, or the app is not published";
        InvalidCorpId => "there is no such organisation";
        IpNotAllowed => "the address we call from is not in the app's allow-list";
        QuotaExceeded => "the organisation's quota of API calls is used up";
        RequestRejected => "DingTalk did not accept the request as such";
        Throttled => "there were too many calls";
        Banned => "calls are refused for some minutes";
        ServerError => "DingTalk failed";
        EndpointUnreachable => "no answer came: DNS, connection, TLS or time-out";
        UnknownError => "DingTalk says unknownError";
        InvalidResponse => "DingTalk answered a success without a usable token, or no JSON";
    }
    Condition {
        TokensValid =>
            "every Secret holds a valid token",
            "nothing";
        RenewalFailing =>
            "every Secret holds a valid token, but the last renewal failed",
            "see the condition Renewed for what stands in the way, before the token expires";
        RenewalSucceeded =>
            "the last attempt for every corpId succeeded",
            "nothing";
        CorpsFailing =>
            "several corpIds fail, for different reasons",
            "see status.corps for the reason of each";
        TokenExpired =>
            "a token in a Secret has expired, and no new one could be fetched or written",
            "see the condition Renewed for what stands in the way";
        RenewalNotExtended =>
            "a renewal at the usual time brought no more life than the token had, so the next \
             comes closer to its expiry or, if that does not help either, right after it",
            "nothing; if the message says so, programs must expect a gap of some seconds at each \
             expiry";
        Pending =>
            "the first token is being fetched",
            "wait; if it lasts, see nextAttemptTime and the operator's log";
        Suspended =>
            "spec.suspend is set: no token is fetched, and the Secrets stay as they are",
            "set spec.suspend to false to go on";
        CredentialsNotFound =>
            "the Secret that spec.credentialsSecretRef names does not exist",
            "create it; the token is fetched at once";
        CredentialsKeyMissing =>
            "the credentials Secret lacks a key, or the key is empty",
            "put ClientID and ClientSecret under the keys that spec.credentialsSecretRef names";
        CredentialsInvalid =>
            "a value in the credentials Secret is too long for a credential, or is not visible \
             ASCII text",
            "put the ClientID (at most 128 characters) and the ClientSecret (at most 512) there \
             exactly as the developer console shows them";
        CredentialsUnreadable =>
            "the operator may not read the credentials Secret",
            "grant the operator its role in this namespace, see deploy/";
        UnknownSite =>
            "spec.site is none of the operator's sites, or not for this namespace",
            "use china, global or a name of the operator's --site flags that --site-namespaces \
             leaves to this namespace";
        MetadataNotAllowed =>
            "spec.target sets a label or annotation whose key begins with none of the prefixes \
             that the operator allows",
            "remove it, or have its prefix allowed by the operator's flag \
             --target-metadata-prefix";
        InvalidTemplate =>
            "a template of spec.target.template.data uses what is not available, is too large or \
             takes too long, or would override a key of the layout",
            "do what the message says, at the line and column that it names";
        SecretConflict =>
            "the target Secret belongs to somebody else, so it is not touched",
            "delete it, choose another spec.target.name, or hand it over with the annotation \
             dingtalk-token-operator.github.io/adopt-by=<Kind>/<name>";
        SecretContested =>
            "another writer keeps changing the target Secret; it is put right once a minute",
            "find the writer in the Secret's managedFields and stop it";
        SecretWriteFailed =>
            "a token was fetched, but the API server refused the Secret; the token is kept and \
             the write tried again",
            "see the API server's words in the message: a quota, a webhook, a missing role";
        SecretTooLarge =>
            "the tokens and templates do not fit into one Secret; what was in it last stays",
            "use layout PerCorp, or divide the corpIds among several DingTalkApps";
        TargetMetadataTooLarge =>
            "the target Secret carries more labels, annotations or owners than the operator \
             keeps",
            "remove from that Secret what other programs added, or delete the Secret";
        NamespaceLimitExceeded =>
            "the namespace has more apps, corpIds, references or larger specs than the operator \
             serves; the oldest objects are served",
            "delete what is not needed, use another namespace, or raise \
             --max-apps-per-namespace, --max-corps-per-namespace or \
             --max-references-per-namespace";
        UnsupportedSpec =>
            "the object has a value that this version of the operator does not know, such as one \
             of a newer version's; its Secrets stay as they are",
            "upgrade the operator, or write only what this version knows: see kubectl explain";
        AppNotFound =>
            "the DingTalkApp that a DingTalkTokenReference names does not exist, or is in a \
             namespace that this operator does not watch",
            "check spec.appRef, or have the app created; the copy is written at once";
        NotGranted =>
            "the DingTalkApp that a DingTalkTokenReference names does not allow that namespace a \
             copy",
            "have the app's owner add the namespace to spec.referenceGrants";
        NamespaceTerminating =>
            "the namespace is being deleted and takes no Secret",
            "nothing";
    }
    Event {
        FirstTokenWritten =>
            "the first token of an app was fetched and written to its Secret",
            "nothing";
        TokenRenewed =>
            "a token with another value was written to the Secret",
            "nothing";
        Recovered =>
            "what stood in the way of a token is over",
            "nothing";
        TokensCopied =>
            "a DingTalkTokenReference's Secret holds valid tokens",
            "nothing";
        CredentialsTrimmed =>
            "a value in the credentials Secret ended with white space, which was cut off",
            "write the credentials without it, with printf instead of echo";
        SecretRestored =>
            "another writer had changed or deleted the target Secret, and it was put right",
            "find the writer in the Secret's managedFields, if it happens again";
        RolloutRestarted =>
            "the workloads of spec.rolloutRestartTargets were restarted for a token with another \
             value",
            "nothing";
        RolloutRestartFailed =>
            "a workload of spec.rolloutRestartTargets could not be restarted, so its program may \
             still hold the former token",
            "correct spec.rolloutRestartTargets, or grant the operator the role of \
             deploy/opt-in/rollout-restart.yaml in this namespace";
        PropagationFailed =>
            "pods could not be told of a new token, which reaches their files after up to 90 s",
            "grant the operator the role of deploy/opt-in/immediate-propagation.yaml in this \
             namespace, or set spec.target.propagation to Periodic";
        PodsNeverUpdated =>
            "pods use the Secret through subPath or environment variables, which never show a \
             renewal",
            "mount the Secret as a directory, or name their workload in \
             spec.rolloutRestartTargets";
    }
}

/// Where a reason comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A fetch that DingTalk refused or did not answer. What to do depends on the code.
    DingTalk,
    /// A state of the cluster, in a condition.
    Condition,
    /// Something that happened, in an event alone.
    Event,
}

struct Details {
    origin: Origin,
    meaning: &'static str,
    advice: Option<&'static str>,
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

    /// What it comes from.
    pub fn origin(self) -> Origin {
        self.details().origin
    }

    /// What it means, in words for a person.
    pub fn meaning(self) -> &'static str {
        self.details().meaning
    }

    /// What to do about it; `None` if it depends on DingTalk's code, see [`crate::dingtalk::TABLE`].
    pub fn advice(self) -> Option<&'static str> {
        self.details().advice
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
