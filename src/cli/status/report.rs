//! What there is to say of an app at a moment, from its resource alone.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt as _;
use serde::Serialize;

use crate::api::{CONDITION_READY, CONDITION_RENEWED, CorpError, CorpStatus, Reason};
use crate::cli::apps::{App, condition};
use crate::cli::span::seconds_until;

/// An app.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AppReport {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Whether all of its tokens are valid: `True`, `False` or `Unknown`.
    pub ready: String,
    /// The reason of the condition that says most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Its message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Its site.
    pub site: String,
    /// Whether nothing is fetched for it.
    pub suspended: bool,
    /// The Secrets that hold its tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// Valid tokens of those wanted, such as `1/1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<String>,
    /// When the first of its tokens expires.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiration_time: Option<String>,
    /// How long that is from now; negative if it has expired.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds_left: Option<i64>,
    /// When the next token is fetched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_attempt_time: Option<String>,
    /// Since when something fails.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failing_since_time: Option<String>,
    /// Whether the status is of an earlier spec.
    pub outdated: bool,
    /// Its organisations.
    pub corps: Vec<CorpReport>,
    /// When it was created.
    #[serde(skip)]
    pub created: Option<Timestamp>,
}

/// An organisation of an app.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CorpReport {
    /// As the status has it.
    #[serde(flatten)]
    pub status: CorpStatus,
    /// How long its token is valid from now; negative if it has expired.
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

    /// What stands in the way, if anything does.
    pub fn error(&self) -> Option<&CorpError> {
        self.status.error.as_ref()
    }

    /// Whether its token is valid and nothing stands in the way of the next one.
    pub fn is_well(&self) -> bool {
        self.error().is_none() && self.seconds_left.is_some_and(|left| left > 0)
    }
}

/// A verdict: status, reason and message.
type Verdict = (String, Option<String>, Option<String>);

impl AppReport {
    /// The report of an app.
    pub fn of(app: &App, now: Timestamp) -> Self {
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

    /// Whether all of its tokens are valid.
    pub fn is_ready(&self) -> bool {
        self.ready == "True"
    }
}

fn verdict(app: &App, seconds_left: Option<i64>) -> Verdict {
    let Some(ready) = condition(app, CONDITION_READY) else {
        let message =
            "the operator has reported nothing: see whether it runs and serves this namespace";
        return ("Unknown".to_owned(), None, Some(message.to_owned()));
    };
    if ready.status == "True" && seconds_left.is_some_and(|left| left <= 0) {
        let reason = Some(Reason::TokenExpired.as_str().to_owned());
        let message =
            "a token has expired, and the operator has not reported it: see whether it runs";
        return ("False".to_owned(), reason, Some(message.to_owned()));
    }
    let telling = cause(app, ready);
    (
        ready.status.clone(),
        Some(telling.reason.clone()),
        Some(telling.message.clone()),
    )
}

/// The condition that says why: `Renewed`, unless all is well with it.
fn cause<'a>(app: &'a App, ready: &'a Condition) -> &'a Condition {
    match condition(app, CONDITION_RENEWED) {
        Some(renewed) if renewed.status == "False" => renewed,
        // Suspended, or waiting for the first token of some.
        Some(renewed) if renewed.status == "Unknown" && ready.status != "False" => renewed,
        _ => ready,
    }
}

/// The start of the oldest failure.
fn failing_since(app: &App) -> Option<String> {
    let corps = app.status.iter().flat_map(|status| &status.corps);
    let errors = corps.filter_map(|corp| corp.error.as_ref());
    let first = errors.map(|error| error.since_time.clone()).min();
    first.or_else(|| {
        let conditions = [CONDITION_RENEWED, CONDITION_READY].map(|type_| condition(app, type_));
        let failing = conditions
            .into_iter()
            .flatten()
            .find(|it| it.status == "False")?;
        Some(failing.last_transition_time.0.to_string())
    })
}
