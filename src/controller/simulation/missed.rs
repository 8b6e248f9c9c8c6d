//! Judges whether every token is fetched in time.

use jiff::{SignedDuration, Timestamp};

use super::fetches::{latest_life, latest_renewal};
use super::learned::Ended;
use super::records::AllShown;
use super::reported::planned;
use super::site::Repeat;
use super::wishes::{Variant, Wish};
use super::world::World;
use crate::dingtalk::Class;

/// How often that is judged.
const INTERVAL: SignedDuration = SignedDuration::from_secs(60);
/// What a fetch may take until it is sent: looks, reads, the queue, and messages of three seconds.
const PATIENCE: SignedDuration = SignedDuration::from_secs(60);
/// How long what disturbs calls has an effect: several backoffs.
const DISTURBED: SignedDuration = SignedDuration::from_mins(10);

impl World {
    /// Asserts from time to time that no fetch is late.
    pub(super) fn judge_missed(&mut self) {
        if !self.judges_fetches || self.now() < self.missed_at {
            return;
        }
        self.missed_at = self.now() + INTERVAL;
        let late = (0..self.replicas.len()).find_map(|index| self.missed(index));
        if let Some(late) = late {
            self.note(&format!("the token {late}"));
            panic!("a fetch is late\n{}", self.history.join("\n"));
        }
    }

    /// Returns a token that a replica should have fetched by now.
    fn missed(&self, index: usize) -> Option<String> {
        let replica = &self.replicas[index];
        let is_stopping = replica.process.context.stop.is_cancelled();
        let began = replica
            .leads_since
            .filter(|_| replica.is_up && !is_stopping)?;
        let lasting = [replica.cut_off_until, replica.lease_fails_until, began];
        let changed = replica.wishes.changed.max(lasting.into_iter().max())?;
        let is_late = |since: Timestamp| self.now().duration_since(since) > PATIENCE;
        let disturbed = [self.lost_at, replica.learned.limited_at];
        let is_recent = |at: Timestamp| self.now() < at + DISTURBED;
        let is_disturbed =
            replica.clock_set_at.is_some() || disturbed.into_iter().flatten().any(is_recent);
        let is_unread = self.store.read_refusal.is_some();
        if is_disturbed || is_unread || !replica.outlasts_request() || !is_late(changed) {
            return None;
        }
        let variants = replica.wishes.fetchable(&self.store);
        let shown = replica.wishes.shown(&self.store);
        variants.into_iter().find_map(|(wish, variant)| {
            let due = self.due_by(index, wish, &variant, &shown)?;
            let since = due.max(wish.specified.real).max(changed);
            let Variant {
                client_id, corp_id, ..
            } = variant;
            is_late(since).then(|| format!("of {corp_id} with {client_id} was due since {since}"))
        })
    }

    /// Returns when a token must be fetched, unless it is being fetched.
    fn due_by(
        &self,
        index: usize,
        wish: &Wish,
        variant: &Variant,
        shown: &AllShown,
    ) -> Option<Timestamp> {
        let (replica, now) = (&self.replicas[index], self.now());
        if replica.learned.in_flight.contains_key(variant) {
            return None;
        }
        let last = replica.learned.last.get(variant);
        if let Some(Ended {
            at,
            outcome: Err(class),
            ..
        }) = last
        {
            return Some(at.real + longest_wait(*class));
        }
        let latest = latest_life(replica, wish, variant, (&self.store, shown), now);
        let due = latest.map_or(now - DISTURBED, |life| match self.site.repeat {
            // A renewal before expiry brings no more life, which it has learned.
            Repeat::Remaining => life.expires_at,
            _ => latest_renewal(&wish.app, life),
        });
        // A former process's plan holds, if its last attempt failed.
        let since = last.map_or_else(
            || planned(&wish.app, &variant.corp_id),
            |it| Some(it.at.real),
        );
        Some(since.map_or(due, |since| due.max(since)))
    }
}

/// Returns the longest wait after failures of a class, however many there were.
fn longest_wait(class: Class) -> SignedDuration {
    match class {
        Class::User | Class::Configuration | Class::Quota => SignedDuration::from_hours(1),
        Class::Throttled { .. } => SignedDuration::from_secs(70),
        Class::Banned => SignedDuration::from_secs(330),
        Class::Transient => SignedDuration::from_mins(5),
        Class::Unknown => SignedDuration::from_mins(15),
        Class::Garbled => SignedDuration::from_mins(10),
    }
}
