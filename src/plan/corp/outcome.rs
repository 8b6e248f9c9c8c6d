//! What the outcome of a fetch changes.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::Corp;
use crate::dingtalk::Minted;
use crate::plan::attempt::{FailedAttempt, Failing, Former, Minting};
use crate::plan::backoff::delay;
use crate::plan::renewals::Repeated;
use crate::plan::schedule::{FETCH_FLOOR, Schedule, jitter};
use crate::plan::token::lifetime;
use crate::plan::{Held, RenewRequest, TokenRecord};

/// Expiries this close are the same expiry, seen through two round trips.
const SAME_EXPIRY: SignedDuration = SignedDuration::from_secs(5);

/// While a site is down for all, a corp asks again so soon; the queue probes the site at its own
/// pace, whoever waits.
const OUTAGE_RETRY: Duration = Duration::from_secs(2);

/// The former record of a token whose fetch has brought the same value with the same expiry: only the
/// credentials are those of the new record. `None` if it is to be recorded anew.
fn kept(old: TokenRecord, new: &TokenRecord) -> Option<TokenRecord> {
    let gained = new
        .lifetime
        .expires_at
        .duration_since(old.lifetime.expires_at);
    // A record from the future, before the clock was set back, gives no lifetime to go by.
    let is_kept = gained.abs() <= SAME_EXPIRY && old.lifetime.minted_at <= new.lifetime.minted_at;
    is_kept.then(|| TokenRecord {
        credentials: new.credentials.clone(),
        client_id: new.client_id.clone(),
        ..old
    })
}

impl Corp {
    /// Takes note of a token that was minted by the request that started at `requested_at`; tells
    /// whether its value is new.
    pub fn minted(
        &mut self,
        uid: &str,
        minting: &Minting,
        minted: Minted,
        requested_at: Timestamp,
        former: Former<'_>,
        now: Timestamp,
    ) -> bool {
        let record = TokenRecord {
            site: minting.site.clone(),
            client_id: minting.client_id.clone(),
            corp_id: minting.corp_id.clone(),
            lifetime: lifetime(requested_at, minted.expires_in),
            credentials: minting.credentials.clone(),
            answers: minting.request.as_deref().map(RenewRequest::of),
        };
        let same_value = match &self.held {
            Some(held) => held.token == minted.token,
            None => former.has_same_value,
        };
        let previous = self.held.take().map(|held| held.record);
        let previous = previous.or_else(|| former.record.cloned());
        let previous =
            previous.filter(|old| old.site == record.site && old.corp_id == record.corp_id);
        let same_value = same_value && previous.is_some();
        if let Some(old) = &previous {
            self.learn(uid, old, &record, minting.renew_before, now);
        }
        if !same_value && previous.is_some() {
            self.value_changed_at = Some(record.lifetime.minted_at);
        }
        let (record, is_kept) = same_value
            .then_some(previous)
            .flatten()
            .and_then(|old| kept(old, &record))
            .map_or((record, false), |kept| (kept, true));
        let lifetime = record.lifetime;
        let held = Held {
            token: minted.token,
            record,
        };
        self.hold(held, Some(minting.fingerprint));
        self.is_fetched = true;
        // It was asked for again, since it was not wanted for a while: a repeat might revoke this one.
        let queued = self.minting.take();
        self.minting = queued.filter(|queued| !queued.is_answered_by(minting));
        self.renewal_cause = Some(minting.cause);
        if !is_kept {
            self.unwritten_since.get_or_insert(now);
        }
        self.request_done.clone_from(&minting.request);
        self.attempted_at = Some(now);
        let jitter = jitter(uid, lifetime.expires_at);
        let at = self.renewals.at(lifetime, minting.renew_before, jitter);
        let at = at.max(now + FETCH_FLOOR);
        self.renewal = Some((lifetime, minting.renew_before, Schedule::at(now, at)));
        !same_value
    }

    /// Learns from a fetch that replaced the token `old` whether renewals bring more life.
    fn learn(
        &mut self,
        uid: &str,
        old: &TokenRecord,
        new: &TokenRecord,
        renew_before: Option<Duration>,
        now: Timestamp,
    ) {
        if old.lifetime.expires_at <= now {
            self.renewals = self.renewals.expired();
            return;
        }
        // A token of another app is no repetition, and one that was just fetched has no life to gain.
        let elapsed = new
            .lifetime
            .minted_at
            .duration_since(old.lifetime.minted_at);
        if old.client_id != new.client_id || elapsed.abs() <= SAME_EXPIRY * 2 {
            return;
        }
        let gained = new
            .lifetime
            .expires_at
            .duration_since(old.lifetime.expires_at);
        self.renewals = self.renewals.repeated(&Repeated {
            lifetime: old.lifetime,
            renew_before,
            jitter: jitter(uid, old.lifetime.expires_at),
            at: now,
            is_extended: gained > SAME_EXPIRY,
        });
    }

    /// Records a failed attempt.
    pub fn failed(&mut self, minting: &Minting, attempt: FailedAttempt, now: Timestamp) {
        let FailedAttempt {
            failure,
            life_left,
            is_site_down,
            random,
        } = attempt;
        let same_class = self
            .failing
            .as_ref()
            .filter(|old| old.failure.class == failure.class);
        let same_reason = self
            .failing
            .as_ref()
            .filter(|old| old.failure.reason == failure.reason);
        // What the whole site's outage costs is not counted against the corp.
        let counted = u32::from(!is_site_down);
        let streak = same_class.map_or(1, |old| old.streak.saturating_add(counted));
        let former = self.former_failure.take();
        let former = former.filter(|(reason, _)| reason == failure.reason.as_str());
        let since = match (same_reason, former) {
            (Some(old), _) => old.since,
            (None, Some((_, since))) => since,
            (None, None) => now,
        };
        let streak_since = self.failing.as_ref().map_or(now, |old| old.streak_since);
        self.is_attempted = true;
        self.attempted_at = Some(now);
        let wait = match is_site_down {
            true => OUTAGE_RETRY,
            false => delay(failure.class, streak, random, failure.wait, life_left),
        };
        self.retry = Some(Schedule::after(now, wait));
        self.request_done.clone_from(&minting.request);
        self.failing = Some(Failing {
            failure,
            streak,
            since,
            streak_since,
            generation: minting.generation,
        });
    }
}
