//! What the operator remembers of one organisation's token, and how attempts change it.

mod outcome;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::attempt::{Failing, Minting};
use super::renewals::Renewals;
use super::schedule::{CLOCK_TOLERANCE, FETCH_FLOOR, Schedule, jitter};
use super::{Held, KnownCredentials, Lifetime, TokenRecord};
use crate::api::Cause;
use crate::dingtalk::{Class, Fingerprint, Rank};

/// A person's requests for a renewal are obeyed this often.
const FORCED_PACE: SignedDuration = SignedDuration::from_secs(60);

/// How the attempts with the present credentials stand.
pub struct Attempt {
    failing: Option<Failing>,
    retry: Option<Schedule>,
    request_done: Option<String>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Corp {
    /// The token, where its value is known.
    pub held: Option<Held>,
    /// Whether this process fetched it, for whichever app; else it was read from a Secret.
    pub is_fetched: bool,
    /// Why this process fetched it or took it over from another app.
    pub renewal_cause: Option<Cause>,
    /// Whether it ever had a token, as far as is known.
    pub had_token: bool,
    /// The fetch under way.
    pub minting: Option<Minting>,
    /// Attempts that fail.
    pub failing: Option<Failing>,
    /// Since when a token waits to be written; its record may be that of the one in the Secret.
    pub unwritten_since: Option<Timestamp>,
    /// When the value changed last in this process, other than by the first issue.
    pub value_changed_at: Option<Timestamp>,
    /// The credentials that the last attempt used.
    pub tried: Option<Fingerprint>,
    /// The credentials that the token was fetched with, where that is known.
    pub minted_with: Option<Fingerprint>,
    /// The last request for renewal that was acted upon.
    pub request_done: Option<String>,
    /// Whether this process has had an outcome; before, the status tells how the last one was.
    pub is_attempted: bool,
    /// The failure of a former process, and since when it lasts.
    pub former_failure: Option<(String, Timestamp)>,
    /// When a token is renewed, as earlier renewals taught.
    renewals: Renewals,
    renewal: Option<(Lifetime, Option<Duration>, Schedule)>,
    retry: Option<Schedule>,
    attempted_at: Option<Timestamp>,
}

impl Corp {
    /// Not before `at`, as a former process decided, and what it had learnt.
    pub fn resume(&mut self, at: Timestamp, renewals: Renewals, now: Timestamp) {
        self.retry = Some(Schedule::at(now, at));
        self.renewals = renewals;
    }

    /// When a token is renewed, as earlier renewals taught.
    pub fn renewals(&self) -> Renewals {
        self.renewals
    }

    /// To be called before anything is decided.
    pub fn notice_clock(&mut self, now: Timestamp) {
        if let Some((.., schedule)) = &mut self.renewal {
            schedule.notice_clock(now);
        }
        if let Some(schedule) = &mut self.retry {
            schedule.notice_clock(now);
        }
        self.attempted_at = self.attempted_at.map(|at| at.min(now));
        self.unwritten_since = self.unwritten_since.map(|since| since.min(now));
    }

    /// When the token is fetched next, apart from changes of spec and credentials; `None`: now.
    pub fn next_fetch(
        &mut self,
        uid: &str,
        token: Option<&TokenRecord>,
        renew_before: Option<Duration>,
        now: Timestamp,
    ) -> Option<Timestamp> {
        if let Some(retry) = self.retry {
            return Some(retry.at);
        }
        let lifetime = token?.lifetime;
        let fits = |(of, before, _): &(Lifetime, Option<Duration>, Schedule)| {
            *of == lifetime && *before == renew_before
        };
        if self.renewal.as_ref().is_none_or(|renewal| !fits(renewal)) {
            let jitter = jitter(uid, lifetime.expires_at);
            let at = self.renewals.at(lifetime, renew_before, jitter);
            self.renewal = Some((lifetime, renew_before, Schedule::at(now, at)));
        }
        self.renewal.map(|(.., schedule)| schedule.at)
    }

    /// From when on a person's request for a renewal is obeyed: a minute after the last attempt, and
    /// not before a limit that the site has named is over.
    pub fn forced_at(&self, now: Timestamp) -> Timestamp {
        let paced = self.attempted_at.map_or(now, |at| at + FORCED_PACE);
        let is_limited = self.failing.as_ref().is_some_and(|failing| {
            matches!(
                failing.failure.class,
                Class::Throttled { .. } | Class::Banned
            )
        });
        match self.retry.filter(|_| is_limited) {
            Some(retry) => paced.max(retry.at),
            None => paced,
        }
    }

    /// What goes before its next fetch, if the token that is known expires at `expires_at`. A token
    /// that could only be renewed after its expiry is as urgent as a renewal can be.
    pub fn rank(&self, expires_at: Option<Timestamp>, now: Timestamp) -> Rank {
        let is_new = !self.is_attempted && self.former_failure.is_none();
        match expires_at {
            Some(at) if at > now || self.failing.is_none() => Rank::Renewal(at),
            None if is_new => Rank::First,
            Some(_) | None => Rank::Retry,
        }
    }

    /// Whether the last attempt failed, in this process or in a former one.
    pub fn has_failed(&self) -> bool {
        self.failing.is_some() || self.former_failure.is_some()
    }

    /// Whether the next fetch is an ordinary renewal, which may be made a little earlier.
    pub fn is_renewal(&self) -> bool {
        self.retry.is_none() && self.renewals == Renewals::Usual
    }

    /// From when on a failed attempt is worth repeating because the spec has changed since.
    pub fn spec_retry_at(&self, generation: Option<i64>) -> Option<Timestamp> {
        self.failing.as_ref().filter(|failing| {
            failing.generation != generation && failing.failure.class.needs_a_person()
        })?;
        Some(self.attempted_at? + FETCH_FLOOR)
    }

    /// Takes note of the credentials that the token was fetched with, where its record tells. A
    /// predecessor's token counts as theirs by its `client_id`, or a restored backup would mint.
    pub fn credit(
        &mut self,
        in_secret: Option<&TokenRecord>,
        known: &KnownCredentials,
        is_predecessors: bool,
    ) {
        let token = self.held.as_ref().map(|held| &held.record).or(in_secret);
        let Some(token) = token.filter(|_| self.tried.is_none()) else {
            return;
        };
        let is_theirs = is_predecessors && token.client_id == known.client_id;
        if !known.fetched(token) && !is_theirs {
            return;
        }
        self.tried = Some(known.fingerprint);
        self.minted_with = self.tried;
        if let Some(held) = &mut self.held {
            held.record.credentials = known.version.clone();
        }
    }

    /// How the attempts stand.
    pub fn attempt(&self) -> Attempt {
        Attempt {
            failing: self.failing.clone(),
            retry: self.retry,
            request_done: self.request_done.clone(),
        }
    }

    /// Undoes what the outcome of former credentials did to the attempts with the present ones.
    pub fn restore(&mut self, attempt: Attempt) {
        self.failing = attempt.failing;
        self.retry = attempt.retry;
        self.request_done = attempt.request_done;
    }

    /// Whether a token that a Secret holds was fetched with these credentials.
    pub fn is_proven(&self, token: &TokenRecord, known: &KnownCredentials) -> bool {
        let is_latest = self
            .held
            .as_ref()
            .is_none_or(|held| held.record.is_same_token(token));
        match self.minted_with {
            Some(fingerprint) if is_latest => fingerprint == known.fingerprint,
            // A newer one waits to be written; of this one only the annotations are known.
            Some(_) => token.client_id().is_some_and(|id| id == known.client_id),
            None => known.fetched(token),
        }
    }

    /// Whether the times of a recorded token can be true. What this process has believed before, it
    /// believes after the clock was set back.
    pub fn believes(&self, token: &TokenRecord, now: Timestamp) -> bool {
        let held = self.held.as_ref().map(|held| held.record.lifetime);
        let scheduled = self.renewal.as_ref().map(|(lifetime, ..)| *lifetime);
        token.lifetime.is_plausible(now) || [held, scheduled].contains(&Some(token.lifetime))
    }

    /// The token, where it was fetched with these credentials.
    pub fn proven(&self, known: &KnownCredentials) -> Option<Held> {
        let held = self.held.as_ref()?;
        let is_proven = match self.minted_with {
            Some(fingerprint) => fingerprint == known.fingerprint,
            None => known.fetched(&held.record),
        };
        is_proven.then(|| held.clone())
    }

    /// Takes over a token that another app with the same credentials has; `is_fetched` says whether
    /// this process fetched it.
    pub fn adopt(&mut self, held: Held, is_fetched: bool, now: Timestamp) {
        self.value_changed_at = self
            .held
            .as_ref()
            .filter(|old| old.token != held.token)
            .map(|_| held.record.lifetime.minted_at)
            .or(self.value_changed_at);
        self.hold(held, self.tried);
        self.is_fetched = is_fetched;
        self.renewal_cause = Some(Cause::TokenShared);
        self.minting = None;
        self.unwritten_since.get_or_insert(now);
    }

    /// Forgets the token if `recorded`, by another replica, is a later one: this one led before and after
    /// it, and may have slept between. One that is in no Secret yet may be the later one in spite of
    /// its time, if the clocks of the two differ.
    pub fn give_way_to(&mut self, recorded: &TokenRecord) {
        let Some(held) = &self.held else { return };
        let tolerance = match self.unwritten_since {
            Some(_) => CLOCK_TOLERANCE,
            None => SignedDuration::ZERO,
        };
        if recorded.lifetime.minted_at > held.record.lifetime.minted_at + tolerance {
            self.held = None;
            self.minted_with = None;
            self.is_fetched = false;
            self.unwritten_since = None;
            self.renewal = None;
        }
    }

    fn hold(&mut self, held: Held, minted_with: Option<Fingerprint>) {
        self.held = Some(held);
        self.minted_with = minted_with;
        self.is_attempted = true;
        self.former_failure = None;
        self.failing = None;
        self.retry = None;
    }

    /// An outage that began at `since` is over: a corp that has failed in it, and not before, is
    /// tried now. Returns whether it is.
    pub fn hurry(&mut self, since: Timestamp, now: Timestamp) -> bool {
        let is_by_outage = self.failing.as_ref().is_some_and(|failing| {
            failing.failure.class == Class::Transient && failing.streak_since >= since
        });
        let is_waiting = self.minting.is_none() && self.retry.is_some_and(|retry| retry.at > now);
        let hurries = is_by_outage && is_waiting;
        if hurries {
            self.retry = Some(Schedule::at(now, now));
        }
        hurries
    }
}
