//! Recognises apps whose tokens the operator will not renew in time.

use jiff::Timestamp;

use super::outcome::Outcome;
use super::request::Request;
use crate::api::{CONDITION_STALLED, CorpStatus, Reason};
use crate::cli::apps::{App, condition};

/// Reasons of `Stalled` for which the operator does not serve an app at all.
const NOT_SERVED: [Reason; 2] = [Reason::NamespaceLimitExceeded, Reason::UnsupportedSpec];

/// Why the operator will not renew an app's tokens in time.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Standstill {
    /// It does not serve the app, for this reason.
    NotServed(String),
    /// Some corps have a problem that lasts; none of the others waits for its first attempt. Contains the status
    /// of all corps.
    Corps(Vec<CorpStatus>),
}

impl From<Standstill> for Outcome {
    fn from(standstill: Standstill) -> Self {
        match standstill {
            Standstill::NotServed(why) => Self::Refused(why),
            Standstill::Corps(corps) => Self::Done(corps),
        }
    }
}

/// Returns why an app's tokens will not be renewed in time, according to its status.
pub(super) fn standstill(app: &App, request: &Request) -> Option<Standstill> {
    let status = app.status.as_ref()?;
    if status.observed_generation != app.metadata.generation {
        return None;
    }
    let stalled = condition(app, CONDITION_STALLED).filter(|it| it.status == "True");
    let refused = stalled.filter(|it| NOT_SERVED.iter().any(|reason| it.reason == *reason));
    if let Some(refused) = refused {
        let why = format!("{}: {}", refused.reason, refused.message);
        return Some(Standstill::NotServed(why));
    }
    let is_over = |corp: &CorpStatus| corp.error.is_some() || request.is_before(corp);
    let stuck = |corp: &CorpStatus| is_stuck(corp, request.ends_at);
    let corps = &status.corps;
    (corps.iter().any(stuck) && corps.iter().all(is_over)).then(|| Standstill::Corps(corps.clone()))
}

/// Whether a corp has a problem that a request for renewal does not end before `ends_at`.
fn is_stuck(corp: &CorpStatus, ends_at: Timestamp) -> bool {
    let Some(error) = &corp.error else {
        return false;
    };
    let is_of_a_fetch = error.http_status.is_some() || error.reason == Reason::EndpointUnreachable;
    let next = corp.next_attempt_time.as_deref();
    match next.and_then(|at| at.parse::<Timestamp>().ok()) {
        // The operator waits for a change. A fetch under way may have no time, either.
        None => !is_of_a_fetch,
        // Only throttles and bans have a scope, and a request does not shorten them.
        Some(next) if error.scope.is_some() => next > ends_at,
        // The operator reads the Secret again from time to time, but lacks the right to.
        Some(_) => error.reason == Reason::CredentialsUnreadable,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::cli::renew::outcome::Renewed;
    use crate::cli::renew::waiting::Waiting;

    fn request() -> Request {
        Request {
            text: "2026-11-23T02:00:00.123456Z".to_owned(),
            ends_at: "2026-11-23T02:05:00Z".parse().expect("a time"),
        }
    }

    fn app(status: &Value) -> App {
        serde_json::from_value(json!({
            "metadata": {"name": "payroll", "namespace": "hr", "generation": 2},
            "spec": {"site": "china", "corpIds": ["ding1"]},
            "status": status,
        }))
        .expect("an app")
    }

    fn with_corps(corps: &[Value]) -> App {
        app(&json!({"observedGeneration": 2, "corps": corps}))
    }

    /// A corp with a problem. The last value is the time of the next attempt.
    fn failing(mut error: Value, next: Option<&str>) -> Value {
        error["sinceTime"] = "2026-11-23T01:00:00Z".into();
        json!({
            "corpId": "ding1", "secretName": "payroll-token", "error": error, "nextAttemptTime": next,
        })
    }

    fn blocked() -> Value {
        failing(json!({"reason": "SecretConflict"}), None)
    }

    fn well(renewed: &str) -> Value {
        json!({"corpId": "ding2", "secretName": "payroll-token", "lastRenewalTime": renewed})
    }

    /// Waits for an app that was `before` the request.
    fn waiting(before: &App) -> Waiting {
        Waiting::new(std::slice::from_ref(before), request())
    }

    fn outcome(waiting: Waiting) -> Renewed {
        waiting.outcomes().next().expect("an outcome")
    }

    const SOON: Option<&str> = Some("2026-11-23T02:04:59Z");
    const LATE: Option<&str> = Some("2026-11-23T02:05:01Z");

    /// Regression: the command waited for five minutes for what the status ruled out.
    #[test]
    fn what_no_request_can_end_in_time_ends_the_wait() {
        let banned = || json!({"reason": "Banned", "scope": "ClientId", "httpStatus": 403});
        let unauthorized = || json!({"reason": "AppNotAuthorized", "httpStatus": 401});
        let unreadable = || json!({"reason": "CredentialsUnreadable"});
        let unreachable = || json!({"reason": "EndpointUnreachable"});
        for (corps, is_over) in [
            (vec![blocked()], true),
            (vec![failing(banned(), LATE)], true),
            (vec![failing(banned(), SOON)], false),
            (vec![failing(unreadable(), SOON)], true),
            // The request makes the operator try these again.
            (vec![failing(unauthorized(), LATE)], false),
            (vec![failing(unauthorized(), None)], false),
            (vec![failing(unreachable(), None)], false),
            (vec![blocked(), well("2026-11-23T02:00:01Z")], true),
            (vec![blocked(), well("2026-11-23T01:00:00Z")], false),
        ] {
            let mut waiting = waiting(&with_corps(&[well("2026-11-23T01:00:00Z")]));
            waiting.see(&with_corps(&corps));
            assert_eq!(waiting.is_over(), is_over, "{corps:?}");
            let renewed = outcome(waiting);
            assert!(!renewed.is_ok());
            assert_eq!(renewed.corps().is_empty(), !is_over, "{corps:?}");
        }
    }

    #[test]
    fn an_app_that_is_not_served_ends_the_wait_with_the_reason() {
        let stalled = |generation| {
            let condition = json!({
                "type": "Stalled", "status": "True", "reason": "UnsupportedSpec", "message": "too new",
                "lastTransitionTime": "2026-11-23T01:00:00Z",
            });
            app(&json!({"observedGeneration": generation, "conditions": [condition]}))
        };
        let mut waiting = waiting(&with_corps(&[]));
        waiting.see(&stalled(1));
        assert!(!waiting.is_over(), "of an earlier spec");
        waiting.see(&stalled(2));
        assert!(waiting.is_over());
        let problem = outcome(waiting).problem();
        assert_eq!(problem.as_deref(), Some("UnsupportedSpec: too new"));
    }

    /// What was put right just before the request may not be reported yet.
    #[test]
    fn what_was_reported_before_the_request_counts_after_a_while() {
        let before = with_corps(&[blocked()]);
        let mut settled = waiting(&before);
        settled.see(&before);
        assert!(!settled.is_over());
        settled.settle();
        assert!(settled.is_over());

        let mut settled = waiting(&before);
        settled.settle();
        settled.see(&before);
        assert!(settled.is_over());

        let mut timed_out = waiting(&before);
        timed_out.see(&before);
        let renewed = outcome(timed_out);
        assert_eq!(renewed.corps().len(), 1, "the reason is told");

        let mut ended = waiting(&before);
        ended.see(&before);
        ended.see(&with_corps(&[well("2026-11-23T01:00:00Z")]));
        ended.settle();
        assert!(!ended.is_over());
    }

    #[test]
    fn an_app_that_is_suspended_meanwhile_ends_the_wait() {
        let mut app = with_corps(&[well("2026-11-23T01:00:00Z")]);
        let mut waiting = waiting(&app);
        app.spec.suspend = true;
        waiting.see(&app);
        assert!(waiting.is_over());
        let problem = outcome(waiting).problem().expect("a problem");
        assert!(problem.contains("spec.suspend was set"), "{problem}");
    }
}
