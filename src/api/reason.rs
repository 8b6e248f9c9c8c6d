use strum::{EnumIter, EnumString, IntoStaticStr};

/// Declares the reasons and what is said of each: what it means and, unless it comes from DingTalk, what to do.
macro_rules! reasons {
    (
        DingTalk { $($dingtalk:ident => $dingtalk_meaning:literal;)+ }
        Condition { $($condition:ident => $condition_meaning:literal, $condition_advice:literal;)+ }
        Event { $($event:ident => $event_meaning:literal, $event_advice:literal;)+ }
    ) => {
        /// Reason of a condition, failure or event. The names are stable.
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EnumIter, EnumString, IntoStaticStr,
        )]
        pub enum Reason {
            $(#[doc = $dingtalk_meaning] $dingtalk,)+
            $(#[doc = $condition_meaning] $condition,)+
            $(#[doc = $event_meaning] $event,)+
        }

        impl Reason {
            /// Returns where it occurs, what it means and what to do.
            const fn details(self) -> (Origin, &'static str, Option<&'static str>) {
                use Origin::{Condition, DingTalk, Event};
                match self {
                    $(Self::$dingtalk => (DingTalk, $dingtalk_meaning, None),)+
                    $(Self::$condition => (Condition, $condition_meaning, Some($condition_advice)),)+
                    $(Self::$event => (Event, $event_meaning, Some($event_advice)),)+
                }
            }
        }
    };
}

reasons! {
    DingTalk {
        InvalidCredentials => "the Client ID or the Client Secret is wrong";
        AppNotAuthorized =>
            "the organisation has not authorised or enabled the app, or the app is not \
             published";
        InvalidCorpId => "there is no such organisation";
        IpNotAllowed => "the operator's egress address is not on the app's allow-list";
        QuotaExceeded => "the organisation has used up its quota of API calls";
        RequestRejected => "DingTalk rejected the request";
        Throttled => "DingTalk received too many requests";
        Banned => "DingTalk refuses requests for some minutes";
        ServerError => "DingTalk had an internal error";
        EndpointUnreachable => "DingTalk did not respond: DNS, connection, TLS or time-out";
        UnknownError => "DingTalk returned unknownError";
        InvalidResponse =>
            "DingTalk's response was successful but contained no usable token, or it was not \
             JSON";
    }
    Condition {
        TokensValid =>
            "all tokens are valid",
            "no action needed";
        RenewalFailing =>
            "all tokens are valid, but the last renewal failed",
            "resolve the problem in the condition Renewed before the token expires";
        RenewalSucceeded =>
            "the last attempt for every corpId succeeded",
            "no action needed";
        CorpsFailing =>
            "several corpIds fail, for different reasons",
            "see status.corps for the reason of each";
        TokenExpired =>
            "a token in a Secret has expired, and no new one could be fetched or written",
            "resolve the problem in the condition Renewed";
        RenewalNotExtended =>
            "a renewal at the usual time did not extend the token, so the next one is made \
             closer to its expiry or, if that does not help either, right after it",
            "no action needed; if the message says so, programs must expect a gap of some \
             seconds at each expiry";
        Pending =>
            "the first token is being fetched",
            "wait; if this persists, check nextAttemptTime and the operator's log";
        Suspended =>
            "the app is suspended: no tokens are fetched, and the Secrets stay as they are",
            "to resume, set spec.suspend to false";
        CredentialsNotFound =>
            "the Secret in spec.credentialsSecretRef does not exist",
            "create it; the token is then fetched at once";
        CredentialsKeyMissing =>
            "a key is missing from the credentials Secret, or its value is empty",
            "put the Client ID and Client Secret under the keys in spec.credentialsSecretRef; the \
             token is then fetched at once";
        CredentialsInvalid =>
            "a value in the credentials Secret is too long, or contains characters other \
             than visible ASCII",
            "copy the Client ID (at most 128 characters) and the Client Secret (at most 512) \
             exactly as shown in the developer console; the token is then fetched at once";
        CredentialsUnreadable =>
            "the operator is not allowed to read the credentials Secret",
            "grant the operator its role in this namespace, see deploy/; it retries every minute";
        UnknownSite =>
            "the operator does not know spec.site, or reserves it for other namespaces",
            "use china, global or another site from the operator's --site flags that \
             --site-namespaces does not reserve for other namespaces; the operator retries as \
             soon as the spec changes";
        MetadataNotAllowed =>
            "the key of a label or annotation in spec.target does not begin with a prefix that the \
             operator allows",
            "remove it, or have its prefix added to the operator's flag \
             --target-metadata-prefix; the operator retries as soon as the spec changes";
        InvalidTemplate =>
            "a template in spec.target.template.data uses an unsupported feature, is too \
             large, takes too long, or would override a key of the layout",
            "correct the template as described in the message, which includes line and \
             column; the operator retries as soon as the spec changes";
        SecretConflict =>
            "the target Secret belongs to somebody else, so the operator does not touch it",
            "delete it, choose another spec.target.name, or hand it over with the annotation \
             dingtalk-token-operator.github.io/adopt-by=<Kind>/<name>; the operator notices at \
             once";
        SecretContested =>
            "another writer keeps changing the target Secret; it is restored once a minute",
            "find the writer in the Secret's managedFields and stop it; the reason is gone after \
             two minutes without a change";
        SecretWriteFailed =>
            "a token was fetched, but the API server refused to write it to the Secret; the \
             operator keeps the token and retries the write at least once a minute",
            "see the API server's error in the message: a quota, a webhook or a missing role";
        SecretTooLarge =>
            "the tokens and templates do not fit into one Secret; its last content stays",
            "use layout PerCorp, or divide the corpIds among several DingTalkApps; the operator \
             retries as soon as the spec changes";
        TargetMetadataTooLarge =>
            "the target Secret has more labels, annotations or owners than the operator \
             supports",
            "remove what other programs have added to that Secret, or delete the Secret; the \
             operator notices at once";
        NamespaceLimitExceeded =>
            "the namespace has more apps, corpIds or references, or larger specs, than the \
             operator serves; it serves the oldest ones",
            "delete what is not needed, use another namespace, or raise \
             --max-apps-per-namespace, --max-corps-per-namespace or \
             --max-references-per-namespace; the next ones are served as soon as there is room";
        UnsupportedSpec =>
            "the object has a value that this version of the operator does not support, for \
             example one from a newer version; its Secrets stay as they are",
            "upgrade the operator, or use only what this version supports: see kubectl \
             explain; the operator retries as soon as the object changes";
        AppNotFound =>
            "the DingTalkApp in spec.appRef does not exist, or is in a namespace that this \
             operator does not watch",
            "correct spec.appRef, or have the app created; the copy is then written at once";
        NotGranted =>
            "the DingTalkApp in spec.appRef does not allow this namespace a copy",
            "ask the app's owner to add the namespace to spec.referenceGrants; the copy is then \
             written at once";
        NamespaceTerminating =>
            "the namespace is being deleted, so no Secret can be created in it",
            "no action needed";
    }
    Event {
        FirstTokenWritten =>
            "the first token of an app was fetched and written to its Secret",
            "no action needed";
        TokenRenewed =>
            "a token with a new value was written to the Secret",
            "no action needed";
        Recovered =>
            "a problem with a token has been resolved",
            "no action needed";
        TokensCopied =>
            "the Secret of a DingTalkTokenReference holds valid tokens",
            "no action needed";
        CredentialsTrimmed =>
            "a value in the credentials Secret ended with white space, which was ignored",
            "remove it from the Secret; when creating one, use printf instead of echo";
        SecretRestored =>
            "another writer had changed or deleted the target Secret, and it was restored",
            "if this happens again, find the writer in the Secret's managedFields";
        RolloutRestarted =>
            "the workloads in spec.rolloutRestartTargets were restarted because the token \
             has a new value",
            "no action needed";
        RolloutRestartFailed =>
            "a workload in spec.rolloutRestartTargets could not be restarted, so its program \
             may still use the former token",
            "correct spec.rolloutRestartTargets, or grant the operator the role in \
             deploy/opt-in/rollout-restart.yaml in this namespace; a restart that was refused is \
             retried every 5 minutes";
        PropagationFailed =>
            "pods could not be notified of a new token, so it may take 90 s to reach their \
             files",
            "grant the operator the role in deploy/opt-in/immediate-propagation.yaml in this \
             namespace, or set spec.target.propagation to Periodic; the operator retries every \
             5 minutes";
        PodsNeverUpdated =>
            "pods use the Secret through subPath or environment variables, which never \
             receive a renewed token",
            "mount the Secret as a directory, or add their workload to \
             spec.rolloutRestartTargets";
    }
}

/// Where a reason occurs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// In failures of a fetch. What to do depends on DingTalk's response.
    DingTalk,
    /// In conditions, for problems in the cluster.
    Condition,
    /// Only in events.
    Event,
}

/// Documentation page with a section for each reason.
const PAGE: &str =
    "https://github.com/dingtalk-token-operator/dingtalk-token-operator/blob/main/docs/reasons.md";

impl Reason {
    /// Returns the name used in conditions, events and metrics.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Returns the URL of the reason's section in the documentation.
    pub fn page(self) -> String {
        format!("{PAGE}#{}", self.as_str().to_lowercase())
    }

    /// Whether the reason needs no attention.
    pub fn is_calm(self) -> bool {
        matches!(
            self,
            Self::TokensValid | Self::RenewalSucceeded | Self::Pending | Self::Suspended
        )
    }

    /// Returns where the reason occurs.
    pub fn origin(self) -> Origin {
        let (origin, ..) = self.details();
        origin
    }

    /// Returns a description for users.
    pub fn meaning(self) -> &'static str {
        let (_, meaning, _) = self.details();
        meaning
    }

    /// Returns what the user should do; `None` if it depends on DingTalk's response, see [`crate::dingtalk::TABLE`].
    pub fn advice(self) -> Option<&'static str> {
        let (.., advice) = self.details();
        advice
    }
}

/// Compares a reason in a status, which is text.
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
