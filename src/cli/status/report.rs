//! Reports on apps at a point in time, derived from the resource alone.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt as _;
use serde::Serialize;

use crate::api::{CONDITION_READY, CONDITION_RENEWED, CorpError, CorpStatus, Reason};
use crate::cli::apps::{App, condition};
use crate::cli::span::seconds_until;

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AppReport {
    pub namespace: String,
    pub name: String,
    /// Whether all tokens are valid: `True`, `False` or `Unknown`.
    pub ready: String,
    /// Reason of the most informative condition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Message of the same condition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    pub site: String,
    pub suspended: bool,
    /// Name of the target Secret, or pattern for several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// Number of valid tokens and of all corpIds, such as `1/1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<String>,
    /// Earliest expiry of the tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiration_time: Option<String>,
    /// Seconds until `expiration_time`; negative if it has passed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds_left: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_attempt_time: Option<String>,
    /// Start of the oldest failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failing_since_time: Option<String>,
    /// Whether the status describes an earlier spec.
    pub outdated: bool,
    pub corps: Vec<CorpReport>,
    #[serde(skip)]
    pub created: Option<Timestamp>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CorpReport {
    #[serde(flatten)]
    pub status: CorpStatus,
    /// Seconds until the token expires; negative if it has expired.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds_left: Option<i64>,
}

impl CorpReport {
    fn of(status: &CorpStatus, now: Timestamp) -> Self {
        let until = status.expiration_time.as_deref();
        Self {
            status: status.clone(),
            seconds_left: until.and_then(|until| seconds_until(until, now)),
        }
    }

    pub(super) fn error(&self) -> Option<&CorpError> {
        self.status.error.as_ref()
    }

    /// Whether the token is valid and there is no problem.
    pub(super) fn is_well(&self) -> bool {
        self.error().is_none() && self.seconds_left.is_some_and(|left| left > 0)
    }
}

/// Status, reason and message.
type Verdict = (String, Option<String>, Option<String>);

impl AppReport {
    pub(super) fn of(app: &App, now: Timestamp) -> Self {
        let status = app.status.clone().unwrap_or_default();
        let until = status.expiration_time.as_deref();
        let seconds_left = until.and_then(|until| seconds_until(until, now));
        let (ready, reason, message) = verdict(app, seconds_left);
        Self {
            namespace: app.namespace().unwrap_or_default(),
            name: app.name_any(),
            ready,
            reason,
            message,
            site: app.spec.site.clone(),
            suspended: app.spec.suspend,
            secret: status.secret,
            tokens: status.tokens,
            seconds_left,
            failing_since_time: failing_since(app),
            expiration_time: status.expiration_time,
            next_attempt_time: status.next_attempt_time,
            outdated: app.status.is_some() && status.observed_generation != app.metadata.generation,
            corps: status
                .corps
                .iter()
                .map(|corp| CorpReport::of(corp, now))
                .collect(),
            created: app.metadata.creation_timestamp.as_ref().map(|time| time.0),
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        self.ready == "True"
    }
}

fn verdict(app: &App, seconds_left: Option<i64>) -> Verdict {
    let Some(ready) = condition(app, CONDITION_READY) else {
        let message =
            "the operator has not reported a status: check that it runs and serves this namespace";
        return ("Unknown".to_owned(), None, Some(message.to_owned()));
    };
    if ready.status == "True" && seconds_left.is_some_and(|left| left <= 0) {
        let reason = Some(Reason::TokenExpired.as_str().to_owned());
        let message =
            "a token has expired, but the operator has not reported this: check that it runs";
        return ("False".to_owned(), reason, Some(message.to_owned()));
    }
    let telling = cause(app, ready);
    (
        ready.status.clone(),
        Some(telling.reason.clone()),
        Some(telling.message.clone()),
    )
}

/// Returns the condition that best explains the state: `Renewed`, unless it reports no problem.
fn cause<'a>(app: &'a App, ready: &'a Condition) -> &'a Condition {
    match condition(app, CONDITION_RENEWED) {
        Some(renewed) if renewed.status == "False" => renewed,
        // Suspended, or waiting for a first token.
        Some(renewed) if renewed.status == "Unknown" && ready.status != "False" => renewed,
        _ => ready,
    }
}

fn failing_since(app: &App) -> Option<String> {
    let corps = app.status.iter().flat_map(|status| &status.corps);
    let errors = corps.filter_map(|corp| corp.error.as_ref());
    let first = errors.map(|error| error.since_time.clone()).min();
    first.or_else(|| {
        let types = [CONDITION_RENEWED, CONDITION_READY].into_iter();
        let mut conditions = types.filter_map(|type_| condition(app, type_));
        let failing = conditions.find(|it| it.status == "False")?;
        Some(failing.last_transition_time.0.to_string())
    })
}
