//! What the status says.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::schedule::is_clamped;
use super::step::{Blocked, Settled};
use super::{Lifetime, Memory};
use crate::api::{
    ANNOTATION_ADOPT_BY, CONDITION_READY, CONDITION_RENEWED, CONDITION_STALLED, CorpError,
    CorpStatus, DingTalkApp, DingTalkAppStatus,
};
use crate::dingtalk::{Failure, Reason};

/// Reason of `Ready` and `Renewed` where all is well.
pub const TOKENS_VALID: &str = "TokensValid";
/// Reason of `Ready` once the token in the Secret has expired.
pub const TOKEN_EXPIRED: &str = "TokenExpired";
/// Reason of `Renewed` where the endpoint gives no more life before the token expires.
pub const RENEWAL_NOT_EXTENDED: &str = "RenewalNotExtended";
const PENDING: &str = "Pending";
const UNKNOWN_SITE: &str = "UnknownSite";
const SECRET_CONFLICT: &str = "SecretConflict";
const SECRET_CONTESTED: &str = "SecretContested";
const SECRET_WRITE_FAILED: &str = "SecretWriteFailed";
const NAMESPACE_TERMINATING: &str = "NamespaceTerminating";

/// What stands in the way.
struct Problem {
    reason: &'static str,
    message: String,
    error: CorpError,
    needs_a_person: bool,
}

impl Problem {
    fn new(reason: &'static str, message: String, since: Option<Timestamp>) -> Self {
        let error = CorpError {
            reason: reason.to_owned(),
            message: Some(message.clone()),
            since: since.map(shown),
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

/// The status of an app at rest; `previous` keeps the conditions' transition times.
pub fn status(
    app: &DingTalkApp,
    settled: &Settled,
    memory: &Memory,
    previous: &DingTalkAppStatus,
    now: Timestamp,
) -> DingTalkAppStatus {
    let corp_id = app.spec.corp_ids.first().cloned().unwrap_or_default();
    let next = match &settled.blocked {
        Some(_) => None,
        None => settled.next_attempt.map(shown).or_else(|| {
            // An attempt that is under way keeps the time it was announced for.
            memory
                .minting
                .as_ref()
                .and(previous.next_attempt_at.clone())
        }),
    };
    let problem = problem(app, settled, memory, &corp_id, next.as_deref());
    let valid = settled
        .in_secret
        .filter(|lifetime| lifetime.expires_at > now);
    let expires_at = settled.in_secret.map(|lifetime| shown(lifetime.expires_at));

    let condition = |type_: &str, status: &str, reason: &str, message: String| {
        let since = previous
            .conditions
            .iter()
            .find(|old| old.type_ == type_ && old.status == status)
            .map(|old| old.last_transition_time.clone());
        Condition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message,
            observed_generation: app.metadata.generation,
            last_transition_time: since
                .unwrap_or_else(|| Time(Timestamp::from_second(now.as_second()).unwrap_or(now))),
        }
    };
    let (ready, reason, message) = ready(app, settled, valid, problem.as_ref());
    let mut conditions = vec![condition(CONDITION_READY, ready, reason, message)];
    let (renewed, reason, message) =
        renewed(app, settled, memory, problem.as_ref(), next.as_deref());
    conditions.push(condition(CONDITION_RENEWED, renewed, reason, message));
    if let Some(problem) = problem.as_ref().filter(|problem| problem.needs_a_person) {
        let message = problem.message.clone();
        conditions.push(condition(
            CONDITION_STALLED,
            "True",
            problem.reason,
            message,
        ));
    }
    let corp = CorpStatus {
        corp_id,
        secret_name: app.target_name(),
        expires_at: expires_at.clone(),
        renewed_at: settled.in_secret.map(|lifetime| shown(lifetime.minted_at)),
        next_attempt_at: next.clone(),
        error: problem.map(|problem| problem.error),
    };
    DingTalkAppStatus {
        observed_generation: app.metadata.generation,
        conditions,
        tokens: Some(format!("{}/1", u8::from(valid.is_some()))),
        valid_corps: Some(i32::from(valid.is_some())),
        total_corps: Some(1),
        expires_at,
        next_attempt_at: next,
        corps: vec![corp],
    }
}

/// Whether two statuses differ only in when the next attempt is and how the last one was told.
pub fn same_meaning(one: &DingTalkAppStatus, other: &DingTalkAppStatus) -> bool {
    let bare = |status: &DingTalkAppStatus| {
        let mut status = status.clone();
        status.next_attempt_at = None;
        for condition in &mut status.conditions {
            condition.message.clear();
        }
        for corp in &mut status.corps {
            corp.next_attempt_at = None;
            if let Some(error) = &mut corp.error {
                error.request_id = None;
                // The endpoint's words vary from call to call; our own say something new.
                if error.http_status.is_some()
                    || error.reason == Reason::EndpointUnreachable.as_str()
                {
                    error.message = None;
                }
            }
        }
        status
    };
    one.corps.iter().any(|corp| corp.error.is_some()) && bare(one) == bare(other)
}

fn ready(
    app: &DingTalkApp,
    settled: &Settled,
    valid: Option<Lifetime>,
    problem: Option<&Problem>,
) -> (&'static str, &'static str, String) {
    let secret = app.target_name();
    let because = problem
        .map(|problem| format!(": {}", problem.message))
        .unwrap_or_default();
    match (valid, settled.in_secret, problem) {
        (Some(lifetime), ..) => {
            let expires_at = shown(lifetime.expires_at);
            let message = format!("Secret {secret} holds a token that is valid until {expires_at}");
            ("True", TOKENS_VALID, message)
        }
        (None, Some(lifetime), _) => {
            let expired_at = shown(lifetime.expires_at);
            let message = format!("the token in Secret {secret} expired at {expired_at}{because}");
            ("False", TOKEN_EXPIRED, message)
        }
        (None, None, Some(problem)) => ("False", problem.reason, problem.message.clone()),
        (None, None, None) => (
            "False",
            PENDING,
            "the first token is being fetched".to_owned(),
        ),
    }
}

fn renewed(
    app: &DingTalkApp,
    settled: &Settled,
    memory: &Memory,
    problem: Option<&Problem>,
    next: Option<&str>,
) -> (&'static str, &'static str, String) {
    if let Some(problem) = problem {
        return ("False", problem.reason, problem.message.clone());
    }
    let Some(lifetime) = settled.in_secret else {
        return (
            "Unknown",
            PENDING,
            "the first token is being fetched".to_owned(),
        );
    };
    let next = next
        .map(|next| format!("next renewal at {next}"))
        .unwrap_or_default();
    if memory.unextended > 0 {
        let message = format!(
            "DingTalk gave no more life than the token has, until {}; {next}",
            shown(lifetime.expires_at)
        );
        return ("True", RENEWAL_NOT_EXTENDED, message);
    }
    let clamped = if is_clamped(lifetime, app.spec.renew_before()) {
        "; spec.renewBefore is more than nine tenths of the token's lifetime and counts as that"
    } else {
        ""
    };
    (
        "True",
        TOKENS_VALID,
        format!("the last renewal succeeded; {next}{clamped}"),
    )
}

fn problem(
    app: &DingTalkApp,
    settled: &Settled,
    memory: &Memory,
    corp_id: &str,
    next: Option<&str>,
) -> Option<Problem> {
    if let Some(blocked) = &settled.blocked {
        return Some(blocked_problem(app, blocked));
    }
    let next = next.map_or_else(
        || "the next attempt is under way".to_owned(),
        |next| format!("next attempt at {next}"),
    );
    if let Some(problem) = &memory.credentials_problem {
        return Some(Problem::new(
            problem.reason,
            format!("{}; tried again as soon as it changes", problem.message),
            Some(problem.since),
        ));
    }
    if let Some(failing) = &memory.failing {
        let failure = &failing.failure;
        return Some(Problem {
            reason: failure.reason.as_str(),
            message: format!("{}; {next}", explain(failure, corp_id)),
            error: CorpError {
                reason: failure.reason.as_str().to_owned(),
                code: failure.code.clone(),
                http_status: failure.http_status.map(i32::from),
                request_id: failure.request_id.clone(),
                message: failure.message.clone(),
                since: Some(shown(failing.since)),
            },
            needs_a_person: failure.class.needs_a_person(),
        });
    }
    if let Some(failure) = &memory.write_failure {
        let reason = if failure.terminating {
            NAMESPACE_TERMINATING
        } else {
            SECRET_WRITE_FAILED
        };
        let message = format!(
            "a token was fetched, but Secret {} could not be written: {}; the token is kept and \
             the write tried again at {}",
            app.target_name(),
            failure.message,
            shown(failure.retry.at),
        );
        let mut problem = Problem::new(reason, message, Some(failure.since));
        problem.error.message = Some(failure.message.clone());
        return Some(Problem {
            needs_a_person: false,
            ..problem
        });
    }
    memory.contested.then(|| {
        let message = format!(
            "another writer keeps changing Secret {}: see its managedFields for who; it is put \
             right once a minute",
            app.target_name()
        );
        Problem {
            needs_a_person: false,
            ..Problem::new(SECRET_CONTESTED, message, None)
        }
    })
}

fn blocked_problem(app: &DingTalkApp, blocked: &Blocked) -> Problem {
    let (name, secret) = (
        app.metadata.name.as_deref().unwrap_or_default(),
        app.target_name(),
    );
    let (reason, message) = match blocked {
        Blocked::UnknownSite => (
            UNKNOWN_SITE,
            format!(
                "site {:?} is not configured: use a name from the operator's --site flags",
                app.spec.site
            ),
        ),
        Blocked::TargetOfOlderApp(older) => (
            SECRET_CONFLICT,
            format!(
                "Secret {secret} is the target of the older DingTalkApp {older}: give this one \
                 another spec.target.name"
            ),
        ),
        Blocked::TargetForeign => (
            SECRET_CONFLICT,
            format!(
                "Secret {secret} exists and was not made for this app, so it is not touched: \
                 delete it, choose another spec.target.name, or hand it over by annotating it \
                 with {ANNOTATION_ADOPT_BY}={name}"
            ),
        ),
    };
    Problem::new(reason, message, None)
}

/// One sentence with all that is known: code, HTTP status, request id, corpId, message, advice.
fn explain(failure: &Failure, corp_id: &str) -> String {
    let said = match (&failure.code, failure.http_status) {
        (Some(code), Some(status)) => format!("DingTalk answered {code} (HTTP {status}"),
        (None, Some(status)) => format!("DingTalk answered without a known code (HTTP {status}"),
        (_, None) => "DingTalk did not answer (no HTTP status".to_owned(),
    };
    let request = failure
        .request_id
        .as_ref()
        .map(|id| format!(", request id {id}"))
        .unwrap_or_default();
    let message = failure
        .message
        .as_ref()
        .map(|message| format!(": {message}"))
        .unwrap_or_default();
    format!(
        "{said}{request}) for corpId {corp_id}{message}; {}",
        failure.advice
    )
}

fn shown(time: Timestamp) -> String {
    Timestamp::from_second(time.as_second())
        .unwrap_or(time)
        .to_string()
}
