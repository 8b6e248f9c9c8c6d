//! Problems that keep a token from being fetched or written, as conditions, statuses and events
//! show them.

use jiff::Timestamp;

use crate::api::{ANNOTATION_ADOPT_BY, CorpError, CorpStatus, DingTalkApp, Reason};
use crate::core::app::view::{Blocked, CorpSettled};
use crate::core::report::at_rest::AtRest;
use crate::core::secret::target::{MARKS_MAX, OWNERS_MAX, TARGETS_MAX};
use crate::core::secret::write::SECRET_SIZE_MAX;
use crate::core::secret::writing::{WriteFailure, WriteProblem};
use crate::core::token::record::whole_seconds;
use crate::dingtalk::Failure;

/// Why nothing happens for a suspended app.
pub(super) const SUSPENDED: &str = "spec.suspend is set: no token is fetched";

/// A problem of one corp's token.
#[derive(Clone)]
pub(crate) struct Problem {
    pub reason: Reason,
    /// The problem, and what to do about it.
    pub message: String,
    /// The problem as in `status.corps`.
    pub error: CorpError,
    /// Whether only a person can resolve it.
    pub needs_a_person: bool,
}

impl Problem {
    fn new(reason: Reason, message: String, since: Timestamp) -> Self {
        let error = CorpError {
            reason: reason.as_str().to_owned(),
            message: Some(message.clone()),
            since_time: shown(since),
            ..CorpError::default()
        };
        Self {
            reason,
            message,
            error,
            needs_a_person: true,
        }
    }
}

impl AtRest<'_> {
    /// Returns the problem of a corp's token, if there is one.
    pub(super) fn problem(
        &self,
        corp_id: &str,
        corp: &CorpSettled,
        announced: Option<&CorpStatus>,
        next: Option<&str>,
    ) -> Option<Problem> {
        let renewed_at = announced.and_then(|announced| announced.last_renewal_time.as_deref());
        let announced = announced.and_then(|announced| announced.error.as_ref());
        // A problem that has no time of its own, or began before this process, keeps the previous
        // status' time.
        let lasting = |reason: Reason, message: String| {
            let error = announced.filter(|error| error.reason == reason);
            let since = error.and_then(|error| error.since_time.parse().ok());
            Problem::new(reason, message, since.unwrap_or(self.now))
        };
        if let Some(blocked) = &corp.blocked {
            let (reason, message) = blocked_problem(self.app, &corp.secret, blocked);
            return Some(lasting(reason, message));
        }
        if let Some(problem) = &self.memory.credentials_problem {
            let message = format!("{}; will retry as soon as it changes", problem.message);
            return Some(Problem::new(problem.reason, message, problem.since));
        }
        let attempts = self.memory.corp(corp_id).attempts(self.tokens);
        if let Some(failing) = attempts.failing() {
            let since = shown(failing.since);
            return Some(self.failure_problem(&failing.failure, corp_id, since, next));
        }
        if let Some(error) = announced
            && !attempts.is_attempted
            && !corp.has_token_since(&error.since_time, renewed_at)
            && let Some(failure) = Failure::recorded(error)
        {
            // A former process's failure stands until this process has made an attempt.
            let since = error.since_time.clone();
            return Some(self.failure_problem(&failure, corp_id, since, next));
        }
        let secret = &corp.secret;
        if let Some(size) = corp.too_large {
            let message = format!(
                "the token of corpId {corp_id} does not fit: Secret {secret} would hold {size} bytes, and \
                 {SECRET_SIZE_MAX} are allowed; use layout PerCorp, or divide the corpIds among several \
                 DingTalkApps"
            );
            return Some(lasting(Reason::SecretTooLarge, message));
        }
        let writing = self.memory.writing(secret);
        if let Some(failure) = &writing.failure {
            return Some(write_problem(secret, failure));
        }
        writing.contested.then(|| {
            let message = contested_message(secret, namespace(self.app));
            Problem {
                needs_a_person: false,
                ..lasting(Reason::SecretContested, message)
            }
        })
    }

    fn failure_problem(
        &self,
        failure: &Failure,
        corp_id: &str,
        since: String,
        next: Option<&str>,
    ) -> Problem {
        let spec = &self.app.spec;
        let reference = &spec.credentials_secret_ref;
        let source = match failure.reason {
            Reason::InvalidCredentials => format!(
                "; the rejected credentials are in Secret {}, keys {} and {}",
                reference.name, reference.client_id_key, reference.client_secret_key
            ),
            _ => String::new(),
        };
        let next = match next {
            Some(next) => format!("next attempt at {next}"),
            None if spec.suspend => SUSPENDED.to_owned(),
            None => "the next attempt is under way".to_owned(),
        };
        let explained = explain(failure, (&spec.site, &self.settled.host), corp_id);
        Problem {
            reason: failure.reason,
            message: format!("{explained}{source}; {next}"),
            error: CorpError {
                reason: failure.reason.as_str().to_owned(),
                code: failure.code.clone(),
                http_status: failure.http_status.map(i32::from),
                request_id: failure.request_id.clone(),
                message: failure.message.clone(),
                scope: failure.held_back().map(|scope| scope.as_str().to_owned()),
                since_time: since,
            },
            needs_a_person: failure.class.traits().needs_a_person,
        }
    }
}

fn namespace(app: &DingTalkApp) -> &str {
    app.metadata.namespace.as_deref().unwrap_or_default()
}

impl CorpSettled {
    /// Whether the token in the Secret was requested later than `since`, a time in a status that
    /// shows the token of `renewed_at`. Within a second, what the status does not show is later.
    fn has_token_since(&self, since: &str, renewed_at: Option<&str>) -> bool {
        let time = |text: &str| text.parse::<Timestamp>().ok();
        let requested_at = self.in_secret.map(|it| whole_seconds(it.requested_at));
        let is_shown = renewed_at.and_then(time) == requested_at;
        time(since)
            .map(Some)
            .is_some_and(|since| requested_at > since || requested_at == since && !is_shown)
    }
}

/// Returns the problem of a failed write.
pub(crate) fn write_problem(secret: &str, failure: &WriteFailure) -> Problem {
    let reason = failure.problem.reason();
    let message = format!(
        "a token was fetched, but Secret {secret} could not be written: {}; the operator keeps \
         the token and retries the write at {}",
        failure.message,
        shown(failure.retry.at),
    );
    let mut problem = Problem::new(reason, message, failure.since);
    problem.error.message = Some(failure.message.clone());
    problem.needs_a_person = false;
    problem
}

impl WriteProblem {
    /// Returns the condition's reason.
    pub(crate) fn reason(self) -> Reason {
        match self {
            Self::Refused | Self::Unanswered => Reason::SecretWriteFailed,
            Self::NamespaceTerminating => Reason::NamespaceTerminating,
            Self::TooLarge => Reason::SecretTooLarge,
        }
    }
}

fn blocked_problem(app: &DingTalkApp, secret: &str, blocked: &Blocked) -> (Reason, String) {
    let name = app.metadata.name.as_deref().unwrap_or_default();
    match blocked {
        Blocked::UnknownSite(message) => (Reason::UnknownSite, message.clone()),
        Blocked::Metadata(message) => (Reason::MetadataNotAllowed, message.clone()),
        Blocked::Template(error) => (Reason::InvalidTemplate, error.to_string()),
        Blocked::TargetOfOlderApp(older) => (
            Reason::SecretConflict,
            format!(
                "Secret {secret} is the target of the older DingTalkApp {older}: give this one \
                 another spec.target.name"
            ),
        ),
        Blocked::TargetPastBounds => (Reason::TargetMetadataTooLarge, past_bounds_message(secret)),
        Blocked::TargetForeign => (
            Reason::SecretConflict,
            format!(
                "Secret {secret} exists and was not made for this app, so it is not touched: \
                 delete it, choose another spec.target.name, or hand it over by annotating it \
                 with {ANNOTATION_ADOPT_BY}=DingTalkApp/{name}; to see who wrote it: {}",
                writers_command(secret, namespace(app))
            ),
        ),
    }
}

/// Returns a sentence with everything known: site and its host, code, HTTP status, request id,
/// corpId, message, advice.
pub(crate) fn explain(failure: &Failure, (site, host): (&str, &str), corp_id: &str) -> String {
    let request = failure.request_id.as_ref();
    let request = request.map_or_else(String::new, |id| format!(", request id {id}"));
    let said = match (&failure.code, failure.http_status) {
        (Some(code), Some(status)) => format!("answered {code} (HTTP {status}{request})"),
        (None, Some(status)) => {
            format!("answered without a known code (HTTP {status}{request})")
        }
        (_, None) => "did not answer".to_owned(),
    };
    let message = failure.message.as_ref();
    let message = message.map_or_else(String::new, |message| format!(": {message}"));
    let advice = failure.advice;
    format!("DingTalk (site {site}, {host}) {said} for corpId {corp_id}{message}; {advice}")
}

/// Returns a condition's message with a link to the documentation, unless the reason is no problem.
pub(crate) fn with_page(reason: Reason, message: &str) -> String {
    match reason.is_calm() {
        true => message.to_owned(),
        false => format!("{message}; see {}", reason.page()),
    }
}

/// Formats a time for the status.
pub(crate) fn shown(time: Timestamp) -> String {
    whole_seconds(time).to_string()
}

/// Returns the message about a Secret whose metadata is past the operator's bounds.
pub(in crate::core) fn past_bounds_message(secret: &str) -> String {
    format!(
        "Secret {secret} has more metadata than the operator supports ({MARKS_MAX} labels and \
         annotations, {OWNERS_MAX} owners of 1 KiB each, and in large Secrets {} MiB in the \
         namespace): remove from it what other programs added, or delete it",
        TARGETS_MAX >> 20
    )
}

/// Returns the message about another writer that keeps changing a Secret.
pub(in crate::core) fn contested_message(secret: &str, namespace: &str) -> String {
    format!(
        "another writer keeps changing Secret {secret}; it is restored once a minute; to find the writer: {}",
        writers_command(secret, namespace)
    )
}

/// Returns the command that shows who wrote a Secret.
pub(in crate::core) fn writers_command(secret: &str, namespace: &str) -> String {
    format!("kubectl get secret {secret} -n {namespace} -o yaml --show-managed-fields")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::token::schedule::Lifetime;

    #[test]
    fn a_token_of_the_same_second_is_later_than_a_failure_unless_the_status_shows_it() {
        let time = |second: i64| Timestamp::from_second(second).expect("a time");
        let has_token_since = |requested_at: Option<i64>, since: &str, renewed_at: Option<i64>| {
            let settled = CorpSettled {
                in_secret: requested_at.map(|at| Lifetime {
                    requested_at: time(at),
                    expires_at: time(at + 7200),
                }),
                ..CorpSettled::default()
            };
            let renewed_at = renewed_at.map(|at| time(at).to_string());
            settled.has_token_since(since, renewed_at.as_deref())
        };
        let since = time(100).to_string();
        for (requested_at, renewed_at, expected) in [
            (None, None, false),
            (Some(99), None, false),
            (Some(99), Some(99), false),
            (Some(100), None, true),
            (Some(100), Some(50), true),
            (Some(100), Some(100), false),
            (Some(101), Some(50), true),
            (Some(101), Some(101), true),
        ] {
            let found = has_token_since(requested_at, &since, renewed_at);
            assert_eq!(found, expected, "{requested_at:?} {renewed_at:?}");
        }
        assert!(!has_token_since(Some(100), "some time", None));
    }
}
