//! Verdicts: the results of the checks.

use serde::Serialize;

/// State of a checked subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum State {
    Ok,
    Warn,
    Fails,
    NotChecked,
}

/// Result of a check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Verdict {
    /// What was checked, such as `site china, DNS`.
    pub subject: String,
    pub state: State,
    /// Finding, or why the check could not be made.
    pub message: String,
    /// What the user should do; may be empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub advice: String,
}

impl Verdict {
    fn new(state: State, subject: &str, message: impl Into<String>, advice: &str) -> Self {
        Self {
            subject: subject.to_owned(),
            state,
            message: message.into(),
            advice: advice.to_owned(),
        }
    }

    pub(super) fn ok(subject: &str, message: impl Into<String>) -> Self {
        Self::new(State::Ok, subject, message, "")
    }

    pub(super) fn warn(subject: &str, message: impl Into<String>, advice: &str) -> Self {
        Self::new(State::Warn, subject, message, advice)
    }

    pub(super) fn fails(subject: &str, message: impl Into<String>, advice: &str) -> Self {
        Self::new(State::Fails, subject, message, advice)
    }

    pub(super) fn not_checked(subject: &str, message: impl Into<String>, advice: &str) -> Self {
        Self::new(State::NotChecked, subject, message, advice)
    }
}

/// An object could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unread {
    Missing,
    Forbidden,
    /// The API server, or a proxy in front of it, responded with another error.
    Answered {
        /// HTTP status.
        code: u16,
        why: String,
    },
    /// There were no credentials to send, or what responded is no API server.
    Unusable {
        why: String,
        advice: &'static str,
    },
    /// The API server did not respond.
    Unavailable(String),
}

impl Unread {
    /// Whether nothing else can be read from the cluster, either.
    pub(super) fn is_of_all(&self) -> bool {
        matches!(
            self,
            Self::Unusable { .. } | Self::Unavailable(_) | Self::Answered { code: 401, .. }
        )
    }

    /// Returns the verdict "not checked". `right` is what the caller would need to be allowed to do.
    pub(super) fn verdict(&self, subject: &str, right: &str) -> Verdict {
        match self {
            Self::Missing => Verdict::not_checked(subject, "it does not exist", ""),
            Self::Forbidden => Verdict::not_checked(
                subject,
                format!("you are not allowed to {right}"),
                "run this as a user with that right",
            ),
            Self::Answered { code, why } => Verdict::not_checked(
                subject,
                format!("the API server responded with HTTP {code}: {why}"),
                match code {
                    401 => "check the credentials in the kubeconfig: they may have expired",
                    _ => "try again later, or check what stands between here and the API server",
                },
            ),
            Self::Unusable { why, advice } => Verdict::not_checked(subject, why, advice),
            Self::Unavailable(why) => Verdict::not_checked(
                subject,
                format!("no response from the API server: {why}"),
                "check the kubeconfig, or run this in the operator's pod",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Regression: an API server that did not accept the credentials was said not to respond.
    #[test]
    fn an_error_of_the_api_server_is_told_from_no_response() {
        let answered = |code| {
            let why = "Unauthorized".to_owned();
            Unread::Answered { code, why }.verdict("leader", "get Leases")
        };
        let refused = answered(401);
        assert_eq!(refused.state, State::NotChecked);
        let said = "the API server responded with HTTP 401: Unauthorized";
        assert_eq!(refused.message, said);
        assert!(refused.advice.contains("credentials"), "{refused:?}");
        assert_ne!(answered(503).advice, refused.advice);
        let unavailable = Unread::Unavailable("timed out".to_owned());
        let silent = unavailable.verdict("leader", "get Leases");
        assert!(silent.message.contains("no response"), "{silent:?}");
    }
}
