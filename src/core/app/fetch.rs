//! Which tokens to fetch, and when.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::api::Cause;
use crate::core::app::corp::Corp;
use crate::core::app::decision::Decision;
use crate::core::app::memory::{Memory, renew_request};
use crate::core::app::view::{CredentialsSeen, Target, TargetStep, View};
use crate::core::secret::desired::wanted;
use crate::core::secret::write::TARGET_STEPS_MAX;
use crate::core::token::attempt::{FetchId, TokenId};
use crate::core::token::known_credentials::KnownCredentials;
use crate::core::token::record::{ObjectVersion, TokenRecord};
use crate::core::token::schedule::together;
use crate::core::token::why::Why;

const SECOND: SignedDuration = SignedDuration::from_secs(1);

/// When to fetch a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fetch {
    /// Now, for this cause. For `TokenShared`, the token of another app is looked for, and none is
    /// fetched.
    Now(Cause),
    /// Once the value in the Secret has been read, so that another token can be taken over.
    Value,
    /// Unknown until the credentials have been read.
    Check,
    At(Timestamp),
    /// At this time, or earlier together with others.
    Renewal(Timestamp),
    /// When something else happens, at this time at the latest, if any.
    Waiting(Option<Timestamp>),
}

impl Fetch {
    fn is_now(self) -> bool {
        matches!(self, Self::Now(_))
    }

    /// Whether it is made now, unless another app already has the token.
    fn is_call(self) -> bool {
        matches!(self, Self::Now(cause) if cause != Cause::TokenShared)
    }

    /// Whether the credentials are read now.
    pub(super) fn reads_credentials(self) -> bool {
        matches!(self, Self::Now(_) | Self::Value | Self::Check)
    }

    pub(super) fn at(self) -> Option<Timestamp> {
        match self {
            Self::Now(_) | Self::Value | Self::Check => None,
            Self::At(at) | Self::Renewal(at) => Some(at),
            Self::Waiting(at) => at,
        }
    }
}

impl<'a> Decision<'_, 'a> {
    /// Returns when each target's and corp's token is fetched. If one is due, those due soon are
    /// fetched with it.
    pub(super) fn fetches<'t>(
        &mut self,
        targets: &'t [Target<'a>],
    ) -> Vec<(&'t Target<'a>, &'a str, Fetch)> {
        let mut fetches = Vec::new();
        for target in targets.iter().filter(|target| target.blocked.is_none()) {
            for corp_id in target.corp_ids {
                fetches.push((target, corp_id.as_str(), self.fetch(target, corp_id)));
            }
        }
        if !fetches.iter().any(|(.., fetch)| fetch.is_call()) {
            return fetches;
        }
        for (target, corp_id, fetch) in &mut fetches {
            if let Fetch::Renewal(at) = *fetch
                && let Some(token) = self.token(target, corp_id)
                && at <= self.now + together(token.lifetime)
            {
                *fetch = Fetch::Now(Cause::RenewalDue);
            }
        }
        fetches
    }

    fn fetch(&mut self, target: &Target<'_>, corp_id: &str) -> Fetch {
        let (view, now) = (self.view, self.now);
        if self.take_up(target, corp_id) {
            return Fetch::Value;
        }
        let token = self.token(target, corp_id);
        let token = token.map(|token| (token.lifetime, token.answers));
        let corp = self.memory.corp_mut(corp_id);
        if let Some((lifetime, answers)) = token {
            corp.credit_request(renew_request(view.app), answers);
            corp.had_token = true;
            corp.outdate_resumed(lifetime);
            corp.saw(lifetime);
        }
        if view.app.spec.suspend {
            return self.of_suspended(self.token(target, corp_id));
        }
        let uid = view.app.metadata.uid.as_deref().unwrap_or_default();
        let lifetime = token.map(|(lifetime, _)| lifetime);
        let renew_before = view.app.spec.renew_before();
        let next = corp.next_fetch(uid, lifetime, renew_before, view.tokens, now);
        let namespace = view.app.metadata.namespace.as_deref();
        let attempts = corp.attempts(view.tokens);
        if attempts.has_turn(namespace.unwrap_or_default()) {
            // The attempt in flight does not lie in the future; a queued one may.
            return Fetch::Waiting(next.filter(|at| *at > now));
        }
        let respecified = corp.spec_retry_at(uid, view.app.metadata.generation, view.tokens);
        self.of_unusable()
            .unwrap_or_else(|| self.by_its_time(target, corp_id, next, respecified))
    }

    /// Takes over what has arrived since the last look. Returns whether the value in the Secret must
    /// be read first.
    fn take_up(&mut self, target: &Target<'_>, corp_id: &str) -> bool {
        let view = self.view;
        let known = self.known().cloned();
        let corp = self.memory.corp_mut(corp_id);
        corp.follow_request(renew_request(view.app), view.tokens);
        if let Some(known) = &known {
            let in_secret = target.token(view, corp_id);
            corp.credit(in_secret, known, target.only_client_id.is_some());
        }
        self.take_newer(target, corp_id)
    }

    /// Fetches nothing for a suspended app, but checks which credentials its token belongs to, and
    /// whether those with a problem can be used by now.
    fn of_suspended(&self, token: Option<&TokenRecord>) -> Fetch {
        if self.memory.credentials_problem.is_some() {
            return self.of_unusable().unwrap_or(Fetch::Waiting(None));
        }
        match token.is_some() && self.is_unread(token) {
            true => Fetch::Check,
            false => Fetch::Waiting(None),
        }
    }

    /// Returns what to do about unusable credentials; `None` if they can be used.
    fn of_unusable(&self) -> Option<Fetch> {
        let seen = &self.view.credentials;
        let Some(problem) = &self.memory.credentials_problem else {
            return (*seen == CredentialsSeen::Absent).then_some(Fetch::Check);
        };
        let changed = match seen {
            CredentialsSeen::Unknown => false,
            CredentialsSeen::Absent => problem.version.is_some(),
            CredentialsSeen::Present(version) => problem.version.as_ref() != Some(version),
        };
        let retry = problem.retry.map(|retry| retry.at);
        let is_due = retry.is_some_and(|at| at <= self.now);
        let is_respecified = problem.generation != self.generation();
        Some(match changed || is_due || is_respecified {
            true => Fetch::Check,
            false => Fetch::Waiting(retry),
        })
    }

    /// Returns when to fetch a token with usable credentials. `next` is its planned fetch,
    /// `respecified` the retry due to a changed spec.
    fn by_its_time(
        &self,
        target: &Target<'_>,
        corp_id: &str,
        next: Option<Timestamp>,
        respecified: Option<Timestamp>,
    ) -> Fetch {
        let (view, now) = (self.view, self.now);
        let (corp, token) = (self.memory.corp(corp_id), self.token(target, corp_id));
        let attempts = corp.attempts(view.tokens);
        let scheduled = next
            .is_none_or(|at| at <= now)
            .then(|| self.scheduled_cause(target, corp_id));
        // Forced renewals and changes of the spec are paced, however often they are made.
        let request = self.memory.open_request(view.app, corp_id);
        let forced_at = attempts.forced_at(now);
        let asked_at = request.map(|_| forced_at).into_iter().chain(respecified);
        let planned = next.filter(|_| attempts.is_renewal());
        let next = next.and_then(|next| asked_at.chain([next]).min());
        // What has failed with these credentials keeps its backoff.
        let is_changed = attempts.failing().is_none() && self.is_of_others(corp, token);
        let floor = attempts.floor();
        let floor = floor.filter(|floor| *floor > now);
        // A failed attempt has a pace of its own.
        let is_floored = attempts.failing().is_none() && (is_changed || scheduled.is_some());
        if let Some(floor) = floor.filter(|_| is_floored) {
            return Fetch::At(floor);
        }
        let causes = [
            is_changed.then_some(Cause::CredentialsChanged),
            scheduled,
            (request.is_some() && forced_at <= now).then_some(Cause::RenewalRequested),
            corp.is_outdated.then_some(Cause::TokenShared),
            // Only a changed spec makes a failed attempt due before its time.
            next.is_none_or(|at| at <= now)
                .then_some(Cause::SpecChanged),
        ];
        if let Some(cause) = causes.into_iter().flatten().next() {
            return Fetch::Now(cause);
        }
        match next {
            _ if self.is_unread(token) || self.memory.identify => Fetch::Check,
            Some(at) if floor.is_none() && planned == Some(at) => Fetch::Renewal(at),
            Some(at) => Fetch::At(at),
            None => Fetch::Waiting(None),
        }
    }

    /// Whether the app's credentials have been read and differ from those of its token.
    fn is_of_others(&self, corp: &Corp, token: Option<&TokenRecord>) -> bool {
        let is_present = |known: &&KnownCredentials| match &self.view.credentials {
            CredentialsSeen::Present(version) => *version == known.version,
            CredentialsSeen::Unknown => true,
            CredentialsSeen::Absent => false,
        };
        let Some(known) = self.known().filter(is_present) else {
            return false;
        };
        let is_untried = !corp.attempts(self.view.tokens).is_attempted;
        let may_be_revoked = || corp.has_former_of(&known.client_id, self.view.tokens);
        token.is_some_and(|token| !corp.is_proven(token, known)) || is_untried && may_be_revoked()
    }

    /// Returns the cause of a fetch that is due by its own schedule.
    fn scheduled_cause(&self, target: &Target<'_>, corp_id: &str) -> Cause {
        let corp = self.memory.corp(corp_id);
        if corp.attempts(self.view.tokens).has_failed() {
            return Cause::RetryDue;
        }
        if self.token(target, corp_id).is_some() {
            return Cause::RenewalDue;
        }
        let present = target.present.and_then(|present| present.recorded.as_ref());
        match present.and_then(|recorded| recorded.token(corp_id)) {
            Some(token) if token.site != self.view.app.spec.site => Cause::SpecChanged,
            Some(_) => Cause::TargetChanged,
            None if !corp.had_token => Cause::FirstToken,
            None if target.present.is_some() => Cause::TargetChanged,
            None => Cause::TargetMissing,
        }
    }

    /// Whether the credentials must be read to know whether `token` was fetched with them.
    fn is_unread(&self, token: Option<&TokenRecord>) -> bool {
        let is_another = |version: &ObjectVersion| match (self.known(), token) {
            (Some(known), _) => known.version != *version,
            // Credentials read through another reference say nothing about this one.
            (None, _) if self.memory.credentials.is_some() => true,
            (None, Some(token)) => token.credentials != *version,
            // After a restart: a plan of former credentials must not hold back others.
            (None, None) => true,
        };
        match &self.view.credentials {
            CredentialsSeen::Present(version) => is_another(version),
            CredentialsSeen::Absent => true,
            CredentialsSeen::Unknown => self.known().is_none(),
        }
    }

    /// Returns the reads of Secrets that must be rewritten as a whole once one of their tokens is
    /// renewed.
    pub(super) fn values_needed(&self, fetches: &[(&Target<'_>, &str, Fetch)]) -> Vec<TargetStep> {
        let mut steps = BTreeMap::new();
        let is_known = |corp_id: &str| self.memory.corp(corp_id).held.is_some();
        for (target, corp_id, fetch) in fetches {
            if steps.len() == TARGET_STEPS_MAX || steps.contains_key(&target.name) {
                continue;
            }
            let needs_values = fetch.is_now() || *fetch == Fetch::Value;
            if let Some(recorded) = &target.recorded
                && needs_values
                && recorded.is_whole()
                && !is_known(corp_id)
            {
                let tokens = recorded.tokens.iter().map(|token| &token.corp_id);
                let tokens = tokens.filter(|id| target.token(self.view, id).is_some());
                let corp_ids: Vec<String> = tokens.filter(|id| !is_known(id)).cloned().collect();
                if corp_ids.iter().any(|unknown| unknown == corp_id) {
                    let name = target.name.clone();
                    steps.insert(&target.name, TargetStep::Read { name, corp_ids });
                }
            }
        }
        steps.into_values().collect()
    }

    fn due(&self, target: &Target<'_>, corp_id: &str, cause: Cause) -> Option<Due> {
        let (corp, known) = (self.memory.corp(corp_id), self.known()?);
        let former = self.token(target, corp_id);
        // A forged time in the future would be newer than any token.
        let former_believed =
            former.filter(|record| corp.held.is_some() || record.lifetime.is_plausible(self.now));
        let newer_than = former_believed.and_then(|record| {
            let requested_at = record.lifetime.requested_at;
            match corp.is_proven(record, known) {
                true => Some(requested_at),
                // It may be the wanted token itself, or have revoked any older one.
                false => known.shares_client(record).then(|| requested_at - SECOND),
            }
        });
        let request = self.memory.open_request(self.view.app, corp_id);
        let request = request.filter(|_| cause != Cause::TokenShared);
        Some(Due {
            corp_id: corp_id.to_owned(),
            why: Why {
                renew_requested_at: request.map(Box::from),
                ..cause.into()
            },
            token: corp.token()?,
            ended: corp.attempts(self.view.tokens).ended(),
            newer_than,
            former: former.cloned(),
        })
    }
}

/// A token to fetch now.
#[derive(Clone, Debug)]
pub(crate) struct Due {
    pub corp_id: String,
    pub why: Why,
    pub token: TokenId,
    /// The last of its fetches that has ended.
    pub ended: FetchId,
    /// The record of the token to be replaced.
    pub former: Option<TokenRecord>,
    /// What another app has counts if it was requested later than this.
    pub newer_than: Option<Timestamp>,
}

/// Returns the tokens to fetch now, with the credentials that were just read.
pub(crate) fn due(view: &View<'_>, memory: &mut Memory, now: Timestamp) -> Vec<Due> {
    let mut decision = Decision::new(view, memory, now);
    let wanted = wanted(view.app).into_iter().zip(&view.targets);
    let targets = wanted.filter_map(|(wanted, seen)| decision.look(wanted, seen, None).ok());
    let targets: Vec<Target<'_>> = targets.collect();
    let fetches = decision.fetches(&targets).into_iter();
    let due = fetches.filter_map(|(target, corp_id, fetch)| match fetch {
        Fetch::Now(cause) => decision.due(target, corp_id, cause),
        _ => None,
    });
    let due: Vec<Due> = due.collect();
    for due in &due {
        memory.corp_mut(&due.corp_id).is_outdated = false;
    }
    due
}
