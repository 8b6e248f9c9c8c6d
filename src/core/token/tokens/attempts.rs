//! Fetches of a token: the one in progress, how the last ones ended, and when the next one may be
//! made.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::api::Reason;
use crate::core::token::attempt::{FailedAttempt, Failing, FetchId, PendingFetch};
use crate::core::token::backoff::delay;
use crate::core::token::renewals::Renewals;
use crate::core::token::schedule::{
    FETCH_FLOOR, Lifetime, SAME_EXPIRY, Schedule, jitter, set_back,
};
use crate::dingtalk::{Class, Failure, Rank};

/// Minimum interval between forced renewals.
const FORCED_PACE: SignedDuration = SignedDuration::from_secs(60);

/// Retry interval while a site is down for everybody; the queue probes the site at its own pace
/// anyway.
const OUTAGE_RETRY: Duration = Duration::from_secs(2);

/// The last failure of a former process. Others can write a status, so none of its texts is kept.
#[derive(Clone, Copy, Debug)]
struct FormerFailure {
    reason: Reason,
    class: Class,
    /// Since when attempts have failed for this reason.
    since: Timestamp,
}

/// The fetch that is queued or in flight.
#[derive(Debug)]
struct UnderWay {
    fetch: FetchId,
    since: Timestamp,
    /// The namespaces in whose turns it waits. A namespace that shares a token with a busy one must
    /// not wait for that one's turn.
    turns: Vec<String>,
    is_in_flight: bool,
    /// The earliest expiry of the tokens that it replaces and that are still valid.
    expires_at: Option<Timestamp>,
}

/// Fetches of a token.
#[derive(Debug, Default)]
pub struct Attempts {
    under_way: Option<UnderWay>,
    failing: Option<Box<Failing>>,
    former_failure: Option<FormerFailure>,
    /// Whether this process knows an outcome; until then, the last one is in the status.
    pub is_attempted: bool,
    ended: FetchId,
    /// When to renew, learned from earlier renewals.
    renewals: Renewals,
    retry: Option<Schedule>,
    attempted_at: Option<Timestamp>,
}

impl Attempts {
    /// Resumes a former process's decision not to fetch before `at`, and what it had learned.
    pub fn resume(&mut self, at: Timestamp, renewals: Renewals, now: Timestamp) {
        self.retry = Some(Schedule::at(now, at));
        self.renewals = renewals;
    }

    /// Records that the last attempt of a former process failed, and since when attempts have failed.
    pub fn resume_failure(&mut self, failure: &Failure, since: Timestamp) {
        self.former_failure = Some(FormerFailure {
            reason: failure.reason,
            class: failure.class,
            since,
        });
    }

    /// Returns when the last attempt ended.
    pub(super) fn attempted_at(&self) -> Option<Timestamp> {
        self.attempted_at
    }

    /// Records when the last attempt ended that was made before the token was forgotten.
    pub(super) fn last_attempted(&mut self, at: Timestamp) {
        self.attempted_at = Some(at);
    }

    /// Returns when to renew, learned from earlier renewals.
    pub fn renewals(&self) -> Renewals {
        self.renewals
    }

    /// Returns the last fetch that has ended.
    pub fn ended(&self) -> FetchId {
        self.ended
    }

    /// Returns the failures, if the last attempt failed.
    pub fn failing(&self) -> Option<&Failing> {
        self.failing.as_deref()
    }

    /// Whether a fetch is queued or in flight.
    pub fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }

    /// Returns since when a fetch has been queued or in flight.
    pub fn under_way_since(&self) -> Option<Timestamp> {
        self.under_way.as_ref().map(|it| it.since)
    }

    /// Returns the fetch that is queued or in flight.
    pub(super) fn awaited(&self) -> Option<FetchId> {
        self.under_way.as_ref().map(|it| it.fetch)
    }

    /// Moves the times along with a clock that was set back by this much.
    pub fn set_back(&mut self, by: SignedDuration) {
        if let Some(schedule) = &mut self.retry {
            schedule.set_back(by);
        }
        self.attempted_at = self.attempted_at.map(|at| set_back(at, by));
    }

    /// Adjusts times to a clock that was set back. Must be called before any decision.
    pub fn notice_clock(&mut self, now: Timestamp) {
        if let Some(schedule) = &mut self.retry {
            schedule.notice_clock(now);
        }
        self.attempted_at = self.attempted_at.map(|at| at.min(now));
    }

    /// Returns the earliest time of the next attempt, if the last one failed or a former process
    /// decided it.
    pub fn retry_at(&self) -> Option<Timestamp> {
        self.retry.map(|retry| retry.at)
    }

    /// Returns the time before which no fetch is made, whatever the cause.
    pub fn floor(&self) -> Option<Timestamp> {
        self.attempted_at.map(|at| at + FETCH_FLOOR)
    }

    /// Returns when a forced renewal is allowed: a minute after the last attempt, and not before
    /// the end of a limit that DingTalk has imposed.
    pub fn forced_at(&self, now: Timestamp) -> Timestamp {
        let paced = self.attempted_at.map_or(now, |at| at + FORCED_PACE);
        let last = self.failing.as_ref().map(|failing| failing.failure.class);
        let former = self.former_failure.map(|former| former.class);
        let is_limited = last
            .or(former)
            .is_some_and(|class| class.traits().limit.is_some());
        match self.retry.filter(|_| is_limited) {
            Some(retry) => paced.max(retry.at),
            None => paced,
        }
    }

    /// Returns the rank of the next fetch, given the expiry of the known token. A token that could
    /// only be renewed after its expiry is as urgent as a renewal can be.
    pub fn rank(&self, expires_at: Option<Timestamp>, now: Timestamp) -> Rank {
        let is_new = !self.is_attempted && self.former_failure.is_none();
        match expires_at {
            Some(at) if at > now || self.failing.is_none() => Rank::Renewal(at),
            None if is_new => Rank::First,
            Some(_) | None => Rank::Retry,
        }
    }

    /// Whether the last attempt failed, in this process or a former one.
    pub fn has_failed(&self) -> bool {
        self.failing.is_some() || self.former_failure.is_some()
    }

    /// Whether the next fetch is an ordinary renewal, which may be made a little earlier.
    pub fn is_renewal(&self) -> bool {
        self.retry.is_none() && self.renewals == Renewals::Usual
    }

    /// Whether the fetch in progress waits in a turn of this namespace.
    pub fn has_turn(&self, namespace: &str) -> bool {
        let mut turns = self.under_way.iter().flat_map(|it| &it.turns);
        turns.any(|turn| turn == namespace)
    }

    pub(super) fn begun(&mut self, pending: &PendingFetch, namespace: &str) {
        let under_way = self.under_way.get_or_insert_with(|| UnderWay {
            fetch: pending.id,
            since: pending.since,
            turns: Vec::new(),
            is_in_flight: false,
            expires_at: None,
        });
        under_way.turns.push(namespace.to_owned());
        let former = pending.former.as_ref();
        let expires_at = former.map(|former| former.lifetime.expires_at);
        let valid = expires_at.filter(|at| *at > pending.since);
        under_way.expires_at = under_way.expires_at.into_iter().chain(valid).min();
    }

    /// Records that the fetch was sent.
    pub(super) fn started(&mut self, fetch: FetchId) {
        if let Some(under_way) = &mut self.under_way {
            under_way.is_in_flight |= under_way.fetch == fetch;
        }
    }

    /// Drops the fetch from this namespace's turns and returns whether that was the last one.
    pub(super) fn dropped(&mut self, fetch: FetchId, namespace: &str) -> bool {
        if let Some(under_way) = &mut self.under_way
            && under_way.fetch == fetch
            && !under_way.is_in_flight
        {
            under_way.turns.retain(|turn| turn != namespace);
        }
        self.under_way.take_if(|it| it.turns.is_empty()).is_some()
    }

    /// Returns the earliest expiry of the tokens that the fetch replaces and that are still valid.
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.under_way.as_ref()?.expires_at
    }

    /// Resumes what a former process knew, unless this one has tried or is trying.
    pub(super) fn resume_beside(&mut self, resumed: &Self) {
        if self.is_attempted || self.is_under_way() {
            return;
        }
        let retries = [resumed.retry, self.retry].into_iter().flatten();
        self.retry = retries.max_by_key(|retry| retry.at);
        self.former_failure = self.former_failure.or(resumed.former_failure);
        if self.renewals == Renewals::Usual {
            self.renewals = resumed.renewals;
        }
    }

    fn end(&mut self, fetch: FetchId, now: Timestamp) {
        // What was queued in another turn meanwhile is decided again.
        self.under_way = None;
        self.ended = self.ended.max(fetch);
        self.is_attempted = true;
        self.attempted_at = Some(now);
    }

    pub(super) fn succeeded(
        &mut self,
        pending: &PendingFetch,
        lifetime: Lifetime,
        client_id: &str,
        now: Timestamp,
    ) {
        self.end(pending.id, now);
        self.found();
        self.learn(pending, lifetime, client_id, now);
    }

    /// Records that the token is available.
    pub(super) fn found(&mut self) {
        self.is_attempted = true;
        self.former_failure = None;
        self.failing = None;
        self.retry = None;
    }

    /// Learns whether renewals extend the token from a fetch that replaced one.
    fn learn(&mut self, pending: &PendingFetch, new: Lifetime, client_id: &str, now: Timestamp) {
        let Some(former) = &pending.former else {
            return;
        };
        let old = former.lifetime;
        if old.expires_at <= now {
            self.renewals = self.renewals.next_lifetime();
            return;
        }
        // A token of another client is not a repeated one, and one that was just fetched has no
        // lifetime to gain.
        let elapsed = new.requested_at.duration_since(old.requested_at);
        if former.client_id != client_id || elapsed.abs() <= SAME_EXPIRY * 2 {
            return;
        }
        let jitter = jitter(&pending.uid, old.expires_at);
        let is_extended = new.expires_at.duration_since(old.expires_at) > SAME_EXPIRY;
        let renewals = self.renewals;
        self.renewals = renewals.repeated(old, pending.renew_before, jitter, now, is_extended);
    }

    pub(super) fn failed(
        &mut self,
        pending: &PendingFetch,
        attempt: FailedAttempt,
        now: Timestamp,
    ) {
        self.end(pending.id, now);
        let FailedAttempt {
            failure,
            life_left,
            is_site_down,
            random,
        } = attempt;
        let old = self.failing.as_deref();
        let same_class = old.filter(|old| old.failure.class == failure.class);
        let same_reason = old.filter(|old| old.failure.reason == failure.reason);
        // A failure due to the whole site's outage does not lengthen the backoff.
        let counted = u32::from(!is_site_down);
        let streak = same_class.map_or(1, |old| old.streak.saturating_add(counted));
        let former = self.former_failure.take();
        let former = former.filter(|former| former.reason == failure.reason);
        let former_since = former.map_or(now, |former| former.since);
        let since = same_reason.map_or(former_since, |old| old.since);
        let streak_since = old.map_or(now, |old| old.streak_since);
        let wait = match is_site_down {
            true => OUTAGE_RETRY,
            false => delay(failure.class, streak, random, failure.wait, life_left),
        };
        self.retry = Some(Schedule::after(now, wait));
        self.failing = Some(Box::new(Failing {
            failure,
            streak,
            since,
            streak_since,
            uid: pending.uid.clone(),
            generation: pending.generation,
        }));
    }

    /// Ends the backoff of a token that has failed only since `since`, when an outage began that is
    /// over now. Returns whether it did.
    pub(super) fn hurry(&mut self, since: Timestamp, now: Timestamp) -> bool {
        let is_by_outage = self.failing.as_ref().is_some_and(|failing| {
            failing.failure.class.traits().is_outage && failing.streak_since >= since
        });
        let is_waiting = self.under_way.is_none() && self.retry.is_some_and(|retry| retry.at > now);
        let hurries = is_by_outage && is_waiting;
        if hurries {
            self.retry = Some(Schedule::at(now, now));
        }
        hurries
    }
}
