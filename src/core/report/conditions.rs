//! The status of an app.

mod corps;
mod pace;
mod summary;

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::api::{
    CONDITION_READY, CONDITION_RENEWED, CONDITION_STALLED, CorpStatus, DingTalkApp,
    DingTalkAppStatus, Layout, Reason,
};
use crate::core::app::memory::renew_request;
use crate::core::app::view::CorpSettled;
use crate::core::report::at_rest::AtRest;
use crate::core::report::problem::{Problem, SUSPENDED, shown, with_page};
use crate::core::secret::listed::listed;
use crate::core::token::record::whole_seconds;
use crate::core::token::renewals::Renewals;
use crate::core::token::schedule::{Lifetime, is_clamped};
pub(crate) use pace::{StatusNews, UNCHANGED_PACE, write_status_at};
use summary::{NAMED_MAX, summary};

const FIRST: &str = "the first token is being fetched";

/// Status, reason and message of a condition.
type Told = (&'static str, Reason, String);

impl AtRest<'_> {
    /// Returns the status. The conditions' transition times are taken from the previous one.
    pub(crate) fn status(&self) -> DingTalkAppStatus {
        let (app, memory, previous) = (self.app, self.memory, self.previous);
        let (corps, problems) = self.corps();
        let total = self.settled.corps.len();
        let corps_settled = self.settled.corps.iter();
        let valid = corps_settled.filter(|corp| self.is_valid(corp)).count();
        let next = corps
            .iter()
            .filter_map(|corp| corp.next_attempt_time.clone())
            .min();

        let mut conditions = vec![
            self.condition(CONDITION_READY, self.ready(valid, &problems)),
            self.condition(CONDITION_RENEWED, self.renewed(&problems, next.as_deref())),
        ];
        let needs_a_person = problems.iter().all(|(_, problem)| problem.needs_a_person);
        if needs_a_person && problems.len() == total && total > 0 {
            let (reason, message) = summary(&problems, total);
            conditions.push(self.condition(CONDITION_STALLED, ("True", reason, message)));
        }
        DingTalkAppStatus {
            observed_generation: app.metadata.generation,
            conditions,
            tokens: Some(format!("{valid}/{total}")),
            valid_corps: i32::try_from(valid).ok(),
            total_corps: i32::try_from(total).ok(),
            secret: Some(secret_shown(app)),
            expiration_time: self.first_expiry().map(shown),
            next_attempt_time: next,
            last_handled_renew_request: self.handled_request(&corps),
            rollout_restarted_for_time: memory.restarts.restarted_for.map(shown),
            granted_namespaces: previous.granted_namespaces.clone(),
            corps,
        }
    }

    fn condition(&self, type_: &str, (status, reason, message): Told) -> Condition {
        let told = (status, reason, message.as_str());
        let generation = self.app.metadata.generation;
        condition(type_, told, generation, &self.previous.conditions, self.now)
    }

    fn is_valid(&self, corp: &CorpSettled) -> bool {
        corp.in_secret
            .is_some_and(|life| life.expires_at > self.now)
    }

    fn first_expiry(&self) -> Option<Timestamp> {
        self.lives().map(|lifetime| lifetime.expires_at).min()
    }

    /// Returns the last renewal request that was handled for every corp: its new token is written,
    /// or it has an error. If the process died before the write, nothing else would tell the next
    /// one that the token is lost. So a request that had an error is open again while the token of
    /// the retry waits to be written.
    fn handled_request(&self, corps: &[CorpStatus]) -> Option<String> {
        let is_done = corps.iter().all(|corp| {
            let is_written = self.memory.corp(&corp.corp_id).unwritten_since.is_none();
            let open = self.memory.open_request(self.app, &corp.corp_id);
            open.is_none() && (is_written || corp.error.is_some())
        });
        let mut settled = corps.iter().zip(&self.settled.corps);
        let is_open_again =
            settled.any(|(corp, settled)| settled.is_answer_unwritten && corp.error.is_none());
        let previous = self.previous.last_handled_renew_request.as_deref();
        let handled = match renew_request(self.app) {
            Some(request) if is_done => Some(request),
            Some(request) if is_open_again => previous.filter(|it| *it != request),
            _ => previous,
        };
        handled.map(str::to_owned)
    }

    fn ready(&self, valid: usize, problems: &[(&str, Problem)]) -> Told {
        let total = self.settled.corps.len();
        if let [corp] = self.settled.corps.as_slice() {
            return self.ready_alone(corp, problems.first().map(|(_, problem)| problem));
        }
        let former = self.former();
        if valid == total {
            let first = self.first_expiry().map(shown).unwrap_or_default();
            let message =
                format!("all {total} corpIds have a valid token, the first until {first}{former}");
            return valid_told(message, !problems.is_empty());
        }
        let corps = self.app.spec.corp_ids.iter().zip(&self.settled.corps);
        let without = corps.filter(|(_, corp)| !self.is_valid(corp));
        let without = listed(without.map(|(corp_id, _)| corp_id.as_str()), NAMED_MAX);
        let message = format!(
            "{valid} of {total} corpIds have a valid token; without: {without}, see status.corps{former}"
        );
        if self.lives().any(|lifetime| lifetime.expires_at <= self.now) {
            ("False", Reason::TokenExpired, message)
        } else if problems.is_empty() {
            ("Unknown", Reason::Pending, message)
        } else {
            ("False", summary(problems, total).0, message)
        }
    }

    fn ready_alone(&self, corp: &CorpSettled, problem: Option<&Problem>) -> Told {
        let secret = &corp.secret;
        match (corp.in_secret, problem) {
            (Some(lifetime), _) if lifetime.expires_at > self.now => {
                let expires_at = shown(lifetime.expires_at);
                let former = self.former();
                let message = format!(
                    "Secret {secret} holds a token that is valid until {expires_at}{former}"
                );
                valid_told(message, problem.is_some())
            }
            (Some(lifetime), _) => {
                let expired_at = shown(lifetime.expires_at);
                let because = problem.map_or_else(String::new, |it| format!(": {}", it.message));
                let message =
                    format!("the token in Secret {secret} expired at {expired_at}{because}");
                ("False", Reason::TokenExpired, message)
            }
            (None, Some(problem)) => ("False", problem.reason, problem.message.clone()),
            (None, None) if self.app.spec.suspend => {
                ("Unknown", Reason::Pending, SUSPENDED.to_owned())
            }
            (None, None) => ("Unknown", Reason::Pending, FIRST.to_owned()),
        }
    }

    /// Describes the tokens that were fetched with former credentials.
    fn former(&self) -> String {
        let corps = self.settled.corps.iter();
        let client_ids = corps.filter_map(|corp| corp.former_client_id.as_deref());
        let count = client_ids.clone().count();
        let distinct: BTreeSet<&str> = client_ids.filter(|id| !id.is_empty()).collect();
        let named: Vec<&str> = distinct.iter().take(NAMED_MAX).copied().collect();
        let more = match distinct.len() > named.len() {
            true => " and others",
            false => "",
        };
        let of = match named.is_empty() {
            true => String::new(),
            false => format!(" (client_id {}{more})", named.join(", ")),
        };
        match (count, self.settled.corps.len()) {
            (0, _) => String::new(),
            (_, 1) => format!("; it was fetched with former credentials{of}"),
            (count, _) => {
                format!("; {count} of the tokens were fetched with former credentials{of}")
            }
        }
    }

    fn renewed(&self, problems: &[(&str, Problem)], next: Option<&str>) -> Told {
        let corps = &self.settled.corps;
        if self.app.spec.suspend {
            return ("Unknown", Reason::Suspended, SUSPENDED.to_owned());
        }
        if !problems.is_empty() {
            let (reason, message) = summary(problems, corps.len());
            return ("False", reason, format!("{message}{}", self.still_good()));
        }
        let pending = |message: String| ("Unknown", Reason::Pending, message);
        let Some(first) = self.lives().min_by_key(|lifetime| lifetime.expires_at) else {
            return pending(FIRST.to_owned());
        };
        let missing = corps.len() - self.lives().count();
        if missing > 0 {
            return pending(format!(
                "the first token of {missing} corpIds is being fetched"
            ));
        }
        if corps.iter().any(|corp| corp.former_client_id.is_some()) {
            return pending("a token is being fetched with the present credentials".to_owned());
        }
        let next = next.map_or_else(String::new, |next| format!("next renewal at {next}"));
        if let Some(message) = self.not_extended(first, &next) {
            return ("True", Reason::RenewalNotExtended, message);
        }
        let clamped = match is_clamped(first, self.app.spec.renew_before()) {
            true => {
                "; spec.renewBefore exceeds nine tenths of the token's lifetime, which are used instead"
            }
            false => "",
        };
        let message = format!("the last renewal succeeded; {next}{clamped}");
        ("True", Reason::RenewalSucceeded, message)
    }

    /// Describes how long the present tokens remain valid.
    fn still_good(&self) -> String {
        let ends = self.lives().map(|life| life.expires_at);
        match (
            ends.filter(|at| *at > self.now).min().map(shown),
            self.settled.corps.as_slice(),
        ) {
            (None, _) => String::new(),
            (Some(at), [corp]) => {
                format!("; the token in Secret {} is valid until {at}", corp.secret)
            }
            (Some(at), _) => format!("; valid tokens last until {at} at least"),
        }
    }

    /// Describes the corps whose tokens are not renewed at the usual time, if any.
    fn not_extended(&self, first: Lifetime, next: &str) -> Option<String> {
        let any = |is_so: fn(Renewals) -> bool| {
            let mut corps = self.memory.corps.values();
            corps.any(|corp| is_so(corp.attempts(self.tokens).renewals()))
        };
        if any(|renewals| matches!(renewals, Renewals::AfterExpiry { .. })) {
            return Some(format!(
                "DingTalk returns no new token before the current one expires, the first at {}: expect a gap of some seconds then; {next}",
                shown(first.expires_at)
            ));
        }
        any(|renewals| matches!(renewals, Renewals::Late { .. })).then(|| {
            format!(
                "a renewal at the usual time did not extend the token, so the next one is made closer to its expiry, the first at {}; {next}",
                shown(first.expires_at)
            )
        })
    }
}

/// Returns a condition; while its status stays the same, so does its transition time.
pub(in crate::core) fn condition(
    type_: &str,
    (status, reason, message): (&str, Reason, &str),
    generation: Option<i64>,
    previous: &[Condition],
    now: Timestamp,
) -> Condition {
    let mut before = previous.iter();
    let before = before.find(|old| old.type_ == type_ && old.status == status);
    let since = before.map(|old| old.last_transition_time.clone());
    Condition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: reason.as_str().to_owned(),
        message: with_page(reason, message),
        observed_generation: generation,
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

#[cfg(test)]
mod tests;
