//! Which tokens to fetch, and when.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::api::Cause;
use crate::core::app::corp::Corp;
use crate::core::app::look::look;
use crate::core::app::memory::{Memory, renew_request};
use crate::core::app::take::take_newer;
use crate::core::app::view::{CredentialsSeen, Target, TargetStep, View};
use crate::core::secret::desired::wanted;
use crate::core::secret::write::TARGET_STEPS_MAX;
use crate::core::token::attempt::{FetchId, TokenId};
use crate::core::token::known_credentials::KnownCredentials;
use crate::core::token::record::{ObjectVersion, TokenRecord};
use crate::core::token::schedule::together;

/// When to fetch a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::core) enum Fetch {
    /// Now, for this cause.
    Now(Cause),
    /// Once the value in the Secret has been read, so that another token can be taken over.
    Value,
    /// Unknown until the credentials have been read.
    Check,
    At(Timestamp),
    UnderWay(Option<Timestamp>),
    Waiting(Option<Timestamp>),
}

impl Fetch {
    pub(in crate::core) fn is_now(self) -> bool {
        matches!(self, Self::Now(_))
    }

    pub(in crate::core) fn at(self) -> Option<Timestamp> {
        match self {
            Self::Now(_) | Self::Value | Self::Check => None,
            Self::At(at) => Some(at),
            Self::UnderWay(at) | Self::Waiting(at) => at,
        }
    }
}

/// Returns when each target's and corp's token is fetched. If one is due, those due soon are
/// fetched with it.
pub(in crate::core) fn fetches_of<'t, 'a>(
    view: &View<'_>,
    memory: &mut Memory,
    targets: &'t [Target<'a>],
    now: Timestamp,
) -> Vec<(&'t Target<'a>, &'a str, Fetch)> {
    let mut fetches = Vec::new();
    for target in targets {
        if target.blocked.is_some() {
            continue;
        }
        for corp_id in target.corp_ids {
            let fetch = fetch(view, memory, corp_id, target, now);
            fetches.push((target, corp_id.as_str(), fetch));
        }
    }
    if !fetches.iter().any(|(.., fetch)| fetch.is_now()) {
        return fetches;
    }
    for (target, corp_id, fetch) in &mut fetches {
        let Fetch::At(at) = *fetch else { continue };
        let corp = memory.corp(corp_id);
        let held = corp.held.as_ref().map(|held| held.record.lifetime);
        let lifetime = held.or_else(|| Some(target.token(view, corp_id)?.lifetime));
        if corp.attempts(view.tokens).is_renewal()
            && lifetime.is_some_and(|lifetime| at <= now + together(lifetime))
        {
            *fetch = Fetch::Now(Cause::RenewalDue);
        }
    }
    fetches
}

fn fetch(
    view: &View<'_>,
    memory: &mut Memory,
    corp_id: &str,
    target: &Target<'_>,
    now: Timestamp,
) -> Fetch {
    if take_up(view, memory, corp_id, target, now) {
        return Fetch::Value;
    }
    let held = memory.corp(corp_id).held.as_ref();
    let held = held.map(|held| held.record.clone());
    let token = held.as_ref().or(target.token(view, corp_id));
    if let Some(token) = token {
        memory.credit_request(view.app, token);
        let corp = memory.corp(corp_id);
        corp.had_token = true;
        corp.outdate_resumed(token);
    }
    if view.app.spec.suspend {
        return of_suspended(view, memory, token, now);
    }
    let corp = memory.corp(corp_id);
    let uid = view.app.metadata.uid.as_deref().unwrap_or_default();
    let next = corp.next_fetch(uid, token, view.app.spec.renew_before(), view.tokens, now);
    let namespace = view.app.metadata.namespace.as_deref();
    let attempts = corp.attempts(view.tokens);
    if attempts.has_turn(namespace.unwrap_or_default()) {
        // The attempt in flight does not lie in the future; a queued one may.
        return Fetch::UnderWay(next.filter(|at| *at > now));
    }
    let generation = view.app.metadata.generation;
    let respecified = corp.spec_retry_at(uid, generation, view.tokens);
    if let Some(unusable) = of_unusable(view, memory, now) {
        return unusable;
    }
    let times = (next, respecified);
    by_its_time(view, memory, (corp_id, target, token), times, now)
}

/// Takes over what has arrived since the last look. Returns whether the value in the Secret must be
/// read first.
fn take_up(
    view: &View<'_>,
    memory: &mut Memory,
    corp_id: &str,
    target: &Target<'_>,
    now: Timestamp,
) -> bool {
    let known = memory.credentials_of(view.app).cloned();
    let corp = memory.corp(corp_id);
    corp.follow_request(renew_request(view.app), view.tokens);
    if let Some(known) = &known {
        let in_secret = target.token(view, corp_id);
        corp.credit(in_secret, known, target.only_client_id.is_some());
    }
    take_newer(view, memory, target, corp_id, now)
}

/// Fetches nothing for a suspended app, but checks which credentials its token belongs to, and whether
/// those with a problem can be used by now.
fn of_suspended(
    view: &View<'_>,
    memory: &Memory,
    token: Option<&TokenRecord>,
    now: Timestamp,
) -> Fetch {
    if memory.credentials_problem.is_some() {
        return of_unusable(view, memory, now).unwrap_or(Fetch::Waiting(None));
    }
    match token.is_some() && is_unread(view, memory, token) {
        true => Fetch::Check,
        false => Fetch::Waiting(None),
    }
}

/// Returns what to do about unusable credentials; `None` if they can be used.
fn of_unusable(view: &View<'_>, memory: &Memory, now: Timestamp) -> Option<Fetch> {
    let Some(problem) = &memory.credentials_problem else {
        let is_absent = view.credentials == CredentialsSeen::Absent;
        return is_absent.then_some(Fetch::Check);
    };
    let changed = match &view.credentials {
        CredentialsSeen::Unknown => false,
        CredentialsSeen::Absent => problem.version.is_some(),
        CredentialsSeen::Present(version) => problem.version.as_ref() != Some(version),
    };
    let retry = problem.retry.map(|retry| retry.at);
    let is_due = retry.is_some_and(|at| at <= now);
    let is_respecified = problem.generation != view.app.metadata.generation;
    Some(match changed || is_due || is_respecified {
        true => Fetch::Check,
        false => Fetch::Waiting(retry),
    })
}

/// Returns when to fetch a token with usable credentials. `next` is its planned fetch,
/// `respecified` the retry due to a changed spec.
fn by_its_time(
    view: &View<'_>,
    memory: &Memory,
    (corp_id, target, token): (&str, &Target<'_>, Option<&TokenRecord>),
    (next, respecified): (Option<Timestamp>, Option<Timestamp>),
    now: Timestamp,
) -> Fetch {
    let Some(corp) = memory.corps.get(corp_id) else {
        return Fetch::Waiting(None);
    };
    let attempts = corp.attempts(view.tokens);
    let scheduled = next
        .is_none_or(|at| at <= now)
        .then(|| scheduled_cause(view, corp, corp_id, target, token));
    // Forced renewals and changes of the spec are paced, however often they are made.
    let request = memory.open_request(view.app, corp_id, token);
    let forced_at = attempts.forced_at(now);
    let asked_at = request.map(|_| forced_at).into_iter().chain(respecified);
    let asked_at = asked_at.min();
    let next = next.map(|next| asked_at.map_or(next, |at| at.min(next)));
    // What has failed with these credentials keeps its backoff.
    let is_changed = attempts.failing().is_none() && is_of_others(view, memory, corp, token);
    let floor = attempts.floor();
    if let Some(floor) = floor.filter(|floor| is_changed && *floor > now) {
        return Fetch::At(floor);
    }
    let causes = [
        is_changed.then_some(Cause::CredentialsChanged),
        scheduled,
        (request.is_some() && forced_at <= now).then_some(Cause::RenewalRequested),
        // Only a changed spec makes a failed attempt due before its time.
        next.is_none_or(|at| at <= now)
            .then_some(Cause::SpecChanged),
    ];
    if let Some(cause) = causes.into_iter().flatten().next() {
        return Fetch::Now(cause);
    }
    match next {
        _ if is_unread(view, memory, token) || memory.identify => Fetch::Check,
        Some(at) => Fetch::At(at),
        None => Fetch::Waiting(None),
    }
}

/// Whether the app's credentials have been read and differ from those of its token.
fn is_of_others(
    view: &View<'_>,
    memory: &Memory,
    corp: &Corp,
    token: Option<&TokenRecord>,
) -> bool {
    let is_present = |known: &&KnownCredentials| match &view.credentials {
        CredentialsSeen::Present(version) => *version == known.version,
        CredentialsSeen::Unknown => true,
        CredentialsSeen::Absent => false,
    };
    let Some(known) = memory.credentials_of(view.app).filter(is_present) else {
        return false;
    };
    let is_untried = !corp.attempts(view.tokens).is_attempted;
    token.is_some_and(|token| !corp.is_proven(token, known)) || is_untried && corp.has_former()
}

/// Returns the cause of a fetch that is due by its own schedule.
fn scheduled_cause(
    view: &View<'_>,
    corp: &Corp,
    corp_id: &str,
    target: &Target<'_>,
    token: Option<&TokenRecord>,
) -> Cause {
    if corp.attempts(view.tokens).has_failed() {
        return Cause::RetryDue;
    }
    if token.is_some() {
        return Cause::RenewalDue;
    }
    let present = target.present.and_then(|present| present.recorded.as_ref());
    match present.and_then(|recorded| recorded.token(corp_id)) {
        Some(token) if token.site != view.app.spec.site => Cause::SpecChanged,
        Some(_) => Cause::TargetChanged,
        None if !corp.had_token => Cause::FirstToken,
        None if target.present.is_some() => Cause::TargetChanged,
        None => Cause::TargetMissing,
    }
}

/// Whether the credentials must be read to know whether `token` was fetched with them.
fn is_unread(view: &View<'_>, memory: &Memory, token: Option<&TokenRecord>) -> bool {
    let is_another = |version: &ObjectVersion| match (memory.credentials_of(view.app), token) {
        (Some(known), _) => known.version != *version,
        // Credentials read through another reference say nothing about this one.
        (None, _) if memory.credentials.is_some() => true,
        (None, Some(token)) => token.credentials != *version,
        // After a restart: a plan of former credentials must not hold back others.
        (None, None) => true,
    };
    match &view.credentials {
        CredentialsSeen::Present(version) => is_another(version),
        CredentialsSeen::Absent => true,
        CredentialsSeen::Unknown => memory.credentials_of(view.app).is_none(),
    }
}

/// Returns the reads of Secrets that must be rewritten as a whole once one of their tokens is
/// renewed.
pub(in crate::core) fn values_needed(
    view: &View<'_>,
    memory: &Memory,
    fetches: &[(&Target<'_>, &str, Fetch)],
) -> Vec<TargetStep> {
    let mut steps = BTreeMap::new();
    let is_known = |corp_id: &str| {
        let corp = memory.corps.get(corp_id);
        corp.is_some_and(|corp| corp.held.is_some())
    };
    for (target, corp_id, fetch) in fetches {
        if steps.len() == TARGET_STEPS_MAX || steps.contains_key(&target.name) {
            continue;
        }
        let Some(recorded) = &target.recorded else {
            continue;
        };
        let needs_values = fetch.is_now() || *fetch == Fetch::Value;
        if needs_values && recorded.is_whole() && !is_known(corp_id) {
            let tokens = recorded.tokens.iter().map(|token| &token.corp_id);
            let tokens = tokens.filter(|id| target.token(view, id).is_some());
            let corp_ids: Vec<String> = tokens.filter(|id| !is_known(id)).cloned().collect();
            if corp_ids.iter().any(|unknown| unknown == corp_id) {
                let name = target.name.clone();
                steps.insert(&target.name, TargetStep::Read { name, corp_ids });
            }
        }
    }
    steps.into_values().collect()
}

/// A token to fetch now.
#[derive(Clone, Debug)]
pub(crate) struct Due {
    pub corp_id: String,
    pub cause: Cause,
    pub token: TokenId,
    /// The last of its fetches that has ended.
    pub ended: FetchId,
    /// The record of the token to be replaced.
    pub former: Option<TokenRecord>,
    /// When that token was requested, if it was fetched with the present credentials.
    pub newer_than: Option<Timestamp>,
    /// Whether the renewal was requested, so that another app's token will not do.
    pub is_asked: bool,
}

/// Returns the tokens to fetch now, with the credentials that were just read.
pub(crate) fn due(view: &View<'_>, memory: &mut Memory, now: Timestamp) -> Vec<Due> {
    let wanted = wanted(view.app);
    let mut targets = Vec::new();
    for (wanted, seen) in wanted.into_iter().zip(&view.targets) {
        if let Ok(target) = look(view, memory, wanted, seen, None, now) {
            targets.push(target);
        }
    }
    let fetches = fetches_of(view, memory, &targets, now);
    let due = fetches
        .into_iter()
        .filter_map(|(target, corp_id, fetch)| match fetch {
            Fetch::Now(cause) => due_now(view, memory, target, corp_id, cause, now),
            _ => None,
        });
    due.collect()
}

fn due_now(
    view: &View<'_>,
    memory: &Memory,
    target: &Target<'_>,
    corp_id: &str,
    cause: Cause,
    now: Timestamp,
) -> Option<Due> {
    let corp = memory.corps.get(corp_id)?;
    let known = memory.credentials_of(view.app)?;
    let held = corp.held.as_ref().map(|held| &held.record);
    let former = held.or_else(|| target.token(view, corp_id));
    // A forged time in the future would be newer than any token.
    let proven = former.filter(|record| corp.is_proven(record, known));
    let proven = proven.filter(|record| held.is_some() || record.lifetime.is_plausible(now));
    Some(Due {
        corp_id: corp_id.to_owned(),
        cause,
        token: corp.token()?,
        ended: corp.attempts(view.tokens).ended(),
        newer_than: proven.map(|record| record.lifetime.requested_at),
        is_asked: memory.open_request(view.app, corp_id, former).is_some(),
        former: former.cloned(),
    })
}
