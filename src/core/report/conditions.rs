//! The status of an app.

mod corps;
mod pace;
mod summary;

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::api::{
    CONDITION_READY, CONDITION_RENEWED, CONDITION_STALLED, DingTalkApp, DingTalkAppStatus, Layout,
    Reason,
};
use crate::core::app::memory::{Memory, renew_request};
use crate::core::app::view::{CorpSettled, Settled};
use crate::core::report::problem::{Problem, shown, with_page};
use crate::core::token::record::whole_seconds;
use crate::core::token::renewals::Renewals;
use crate::core::token::schedule::{Lifetime, is_clamped};
use crate::core::token::tokens::Tokens;
use corps::corps;
pub(crate) use pace::{StatusNews, write_status_at};
use summary::{NAMED_MAX, summary};

/// Returns the status of an app at rest. The conditions' transition times are taken from
/// `previous`.
pub(crate) fn status(
    app: &DingTalkApp,
    settled: &Settled,
    memory: &Memory,
    tokens: &Tokens,
    previous: &DingTalkAppStatus,
    now: Timestamp,
) -> DingTalkAppStatus {
    let (corps, problems) = corps(app, settled, memory, tokens, previous, now);
    let is_valid = |corp: &&CorpSettled| corp.in_secret.is_some_and(|life| life.expires_at > now);
    let total = settled.corps.len();
    let valid = settled.corps.iter().filter(is_valid).count();
    let expires_at = settled.corps.iter().filter_map(|corp| corp.in_secret);
    let expires_at = expires_at.map(|lifetime| lifetime.expires_at).min();
    let next = corps
        .iter()
        .filter_map(|corp| corp.next_attempt_time.clone())
        .min();

    let condition = |type_, told| condition(type_, told, app, previous, now);
    let ready = ready(app, settled, valid, &problems, now);
    let mut conditions = vec![condition(CONDITION_READY, ready)];
    let renewed = renewed(
        app,
        settled,
        memory,
        tokens,
        &problems,
        next.as_deref(),
        now,
    );
    conditions.push(condition(CONDITION_RENEWED, renewed));
    let is_stalled =
        problems.len() == total && problems.iter().all(|(_, problem)| problem.needs_a_person);
    if is_stalled && total > 0 {
        let (reason, message) = summary(&problems, total);
        conditions.push(condition(CONDITION_STALLED, ("True", reason, message)));
    }
    DingTalkAppStatus {
        observed_generation: app.metadata.generation,
        conditions,
        tokens: Some(format!("{valid}/{total}")),
        valid_corps: i32::try_from(valid).ok(),
        total_corps: i32::try_from(total).ok(),
        secret: Some(secret_shown(app)),
        expiration_time: expires_at.map(shown),
        next_attempt_time: next,
        last_handled_renew_request: handled_request(app, memory, previous),
        rollout_restarted_for_time: memory.restarts.restarted_for.map(shown),
        granted_namespaces: previous.granted_namespaces.clone(),
        corps,
    }
}

/// Returns a condition; while its status stays the same, so does its transition time.
fn condition(
    type_: &str,
    (status, reason, message): Told,
    app: &DingTalkApp,
    previous: &DingTalkAppStatus,
    now: Timestamp,
) -> Condition {
    let mut before = previous.conditions.iter();
    let before = before.find(|old| old.type_ == type_ && old.status == status);
    let since = before.map(|old| old.last_transition_time.clone());
    Condition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: reason.as_str().to_owned(),
        message: with_page(reason, &message),
        observed_generation: app.metadata.generation,
        last_transition_time: since.unwrap_or_else(|| Time(whole_seconds(now))),
    }
}

/// Returns the target's name as `kubectl get` shows it.
fn secret_shown(app: &DingTalkApp) -> String {
    let name = app.target_name();
    match app.spec.target.layout {
        Layout::Single | Layout::Combined => name,
        Layout::PerCorp => format!("{name}-*"),
    }
}

/// Status, reason and message of a condition.
type Told = (&'static str, Reason, String);

/// Returns the last renewal request that every corp has handled.
fn handled_request(
    app: &DingTalkApp,
    memory: &Memory,
    previous: &DingTalkAppStatus,
) -> Option<String> {
    let request = renew_request(app);
    let is_done = app.spec.corp_ids.iter().all(|corp_id| {
        let held = memory
            .corps
            .get(corp_id)
            .and_then(|corp| corp.held.as_ref());
        let token = held.map(|held| &held.record);
        memory.open_request(app, corp_id, token).is_none()
    });
    match request {
        Some(request) if is_done => Some(request.to_owned()),
        _ => previous.last_handled_renew_request.clone(),
    }
}

fn ready(
    app: &DingTalkApp,
    settled: &Settled,
    valid: usize,
    problems: &[(&str, Problem)],
    now: Timestamp,
) -> Told {
    let total = settled.corps.len();
    if let [corp] = settled.corps.as_slice() {
        let problem = problems.first().map(|(_, problem)| problem);
        return ready_alone(corp, problem, &former(settled), now);
    }
    let lives = || settled.corps.iter().filter_map(|corp| corp.in_secret);
    let first = lives().map(|lifetime| lifetime.expires_at).min();
    let first = first.map(shown).unwrap_or_default();
    if valid == total {
        let former = former(settled);
        let message =
            format!("all {total} corpIds have a valid token, the first until {first}{former}");
        return valid_told(message, !problems.is_empty());
    }
    let without = app
        .spec
        .corp_ids
        .iter()
        .zip(&settled.corps)
        .filter(|(_, corp)| corp.in_secret.is_none_or(|life| life.expires_at <= now))
        .map(|(corp_id, _)| corp_id.as_str());
    let names: Vec<&str> = without.take(NAMED_MAX).collect();
    let more = match total - valid - names.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let reason = if lives().any(|lifetime| lifetime.expires_at <= now) {
        Reason::TokenExpired
    } else if problems.is_empty() {
        Reason::Pending
    } else {
        summary(problems, total).0
    };
    let message = format!(
        "{valid} of {total} corpIds have a valid token; without: {}{more}, see status.corps{}",
        names.join(", "),
        former(settled)
    );
    let status = if reason == Reason::Pending {
        "Unknown"
    } else {
        "False"
    };
    (status, reason, message)
}

/// Returns `Ready` while all tokens are valid.
fn valid_told(message: String, is_failing: bool) -> Told {
    match is_failing {
        false => ("True", Reason::TokensValid, message),
        true => {
            let message = format!("{message}; the last renewal failed: see the condition Renewed");
            ("True", Reason::RenewalFailing, message)
        }
    }
}

/// Describes the tokens that were fetched with former credentials.
fn former(settled: &Settled) -> String {
    let client_ids = settled
        .corps
        .iter()
        .filter_map(|corp| corp.former_client_id.as_deref());
    let count = client_ids.clone().count();
    let distinct: BTreeSet<&str> = client_ids.filter(|id| !id.is_empty()).collect();
    let named: Vec<&str> = distinct.iter().take(NAMED_MAX).copied().collect();
    let more = if distinct.len() > named.len() {
        " and others"
    } else {
        ""
    };
    let of = match named.is_empty() {
        true => String::new(),
        false => format!(" (client_id {}{more})", named.join(", ")),
    };
    match (count, settled.corps.len()) {
        (0, _) => String::new(),
        (_, 1) => format!("; it was fetched with former credentials{of}"),
        (count, _) => format!("; {count} of the tokens were fetched with former credentials{of}"),
    }
}

fn ready_alone(
    corp: &CorpSettled,
    problem: Option<&Problem>,
    former: &str,
    now: Timestamp,
) -> Told {
    let secret = &corp.secret;
    let because = problem
        .map(|problem| format!(": {}", problem.message))
        .unwrap_or_default();
    match (corp.in_secret, problem) {
        (Some(lifetime), _) if lifetime.expires_at > now => {
            let expires_at = shown(lifetime.expires_at);
            let message =
                format!("Secret {secret} holds a token that is valid until {expires_at}{former}");
            valid_told(message, problem.is_some())
        }
        (Some(lifetime), _) => {
            let expired_at = shown(lifetime.expires_at);
            let message = format!("the token in Secret {secret} expired at {expired_at}{because}");
            ("False", Reason::TokenExpired, message)
        }
        (None, Some(problem)) => ("False", problem.reason, problem.message.clone()),
        (None, None) => ("Unknown", Reason::Pending, FIRST.to_owned()),
    }
}

const FIRST: &str = "the first token is being fetched";

fn renewed(
    app: &DingTalkApp,
    settled: &Settled,
    memory: &Memory,
    tokens: &Tokens,
    problems: &[(&str, Problem)],
    next: Option<&str>,
    now: Timestamp,
) -> Told {
    if app.spec.suspend {
        let message = "spec.suspend is set: no token is fetched".to_owned();
        return ("Unknown", Reason::Suspended, message);
    }
    if !problems.is_empty() {
        let (reason, message) = summary(problems, settled.corps.len());
        return (
            "False",
            reason,
            format!("{message}{}", still_good(settled, now)),
        );
    }
    let lives: Vec<Lifetime> = settled.corps.iter().filter_map(|it| it.in_secret).collect();
    let Some(first) = lives.iter().min_by_key(|lifetime| lifetime.expires_at) else {
        return ("Unknown", Reason::Pending, FIRST.to_owned());
    };
    if lives.len() < settled.corps.len() {
        let missing = settled.corps.len() - lives.len();
        let message = format!("the first token of {missing} corpIds is being fetched");
        return ("Unknown", Reason::Pending, message);
    }
    if settled
        .corps
        .iter()
        .any(|corp| corp.former_client_id.is_some())
    {
        let message = "a token is being fetched with the present credentials".to_owned();
        return ("Unknown", Reason::Pending, message);
    }
    let next = next
        .map(|next| format!("next renewal at {next}"))
        .unwrap_or_default();
    if let Some(message) = not_extended(memory, tokens, *first, &next) {
        return ("True", Reason::RenewalNotExtended, message);
    }
    let clamped = if is_clamped(*first, app.spec.renew_before()) {
        "; spec.renewBefore exceeds nine tenths of the token's lifetime, which are used instead"
    } else {
        ""
    };
    (
        "True",
        Reason::RenewalSucceeded,
        format!("the last renewal succeeded; {next}{clamped}"),
    )
}

/// Describes how long the present tokens remain valid.
fn still_good(settled: &Settled, now: Timestamp) -> String {
    let lives = settled.corps.iter().filter_map(|corp| corp.in_secret);
    let ends = lives.map(|life| life.expires_at).filter(|at| *at > now);
    match (ends.min(), settled.corps.as_slice()) {
        (None, _) => String::new(),
        (Some(at), [corp]) => format!(
            "; the token in Secret {} is valid until {}",
            corp.secret,
            shown(at)
        ),
        (Some(at), _) => format!("; valid tokens last until {} at least", shown(at)),
    }
}

/// Describes the corps whose tokens are not renewed at the usual time, if any.
fn not_extended(memory: &Memory, tokens: &Tokens, first: Lifetime, next: &str) -> Option<String> {
    let has = |of: fn(&Renewals) -> bool| {
        memory
            .corps
            .values()
            .any(|corp| of(&corp.attempts(tokens).renewals()))
    };
    if has(|renewals| matches!(renewals, Renewals::AfterExpiry { .. })) {
        return Some(format!(
            "DingTalk returns no new token before the current one expires, the first at {}: expect a gap of some seconds then; {next}",
            shown(first.expires_at)
        ));
    }
    has(|renewals| matches!(renewals, Renewals::Late { .. })).then(|| {
        format!(
            "a renewal at the usual time did not extend the token, so the next one is made closer to its expiry, the first at {}; {next}",
            shown(first.expires_at)
        )
    })
}

#[cfg(test)]
mod tests;
