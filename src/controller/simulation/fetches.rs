//! Judges the operator's token requests by what its process knew when it sent them, and by nothing
//! but what is promised.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::calls::Fate;
use super::learned::{Ended, Flight, Wanted};
use super::records::AllShown;
use super::replica::Replica;
use super::reported::{is_limited, is_reported, planned};
use super::store::Store;
use super::wishes::{Clocks, Life, Variant, Wish};
use super::world::{GIVEN_UP, World};
use crate::api::DingTalkApp;
use crate::dingtalk::{Class, Failure, TokenResponse};

const SECOND: SignedDuration = SignedDuration::from_secs(1);
/// Between a fetch of a token and the next one, however it is answered.
const FLOOR: SignedDuration = SignedDuration::from_secs(5);
/// Between two renewals that are requested.
const REQUESTED: SignedDuration = SignedDuration::from_secs(60);
/// The parts of a token's life by which its renewal may come earlier: by jitter, and together with
/// another token of its app.
const JITTER: f64 = 0.05;
const TOGETHER: f64 = 0.02;
/// Largest part of the life that `renewBefore` may be.
const RENEW_BEFORE_MAX: f64 = 0.9;
/// Times are recorded in whole seconds.
const ROUNDED: SignedDuration = SignedDuration::from_secs(2);

/// A token request.
#[derive(Clone, Debug)]
pub struct Request {
    pub variant: Variant,
    /// UID of the credentials Secret.
    pub credentials: String,
}

/// What the process is told of a request.
pub type Answered = Result<TokenResponse, Failure>;

/// What a process learns from the answer to a call.
pub enum Learnt {
    /// The state of a Secret.
    Secret {
        name: String,
        version: u64,
        exists: bool,
    },
    /// How a fetch ended.
    Fetch(Variant, Answered),
}

impl World {
    /// Judges a request that a replica sends now.
    pub(super) fn judge_fetch(&mut self, index: usize, request: &Request) {
        let flight = match self.cause(index, request) {
            Ok(flight) => flight,
            Err(objection) => {
                let Variant {
                    client_id,
                    client_secret,
                    corp_id,
                    ..
                } = &request.variant;
                let fetch = format!(
                    "replica {index}: fetches {corp_id} with {client_id} and {client_secret}"
                );
                self.note(&fetch);
                panic!("a fetch {objection}\n{}", self.history.join("\n"));
            }
        };
        let learned = &mut self.replicas[index].learned;
        learned.in_flight.insert(request.variant.clone(), flight);
    }

    /// Returns what the answer to the call that was just carried out tells.
    pub(super) fn learnt(&mut self, request: Option<Request>, fate: Fate) -> Vec<Learnt> {
        let answered = self.site.answered.take();
        let fetch = request.zip(answered);
        let fetch = fetch.map(|(request, answered)| Learnt::Fetch(request.variant, answered));
        let concerns = self
            .store
            .concerns
            .take()
            .filter(|_| fate == Fate::Answered);
        let secret = concerns.map(|name| {
            let stored = self.store.secrets.get(&name);
            let version = stored.map_or(self.store.version, |stored| stored.version);
            let exists = stored.is_some();
            Learnt::Secret {
                name,
                version,
                exists,
            }
        });
        fetch.into_iter().chain(secret).collect()
    }

    /// Records what a replica learns now.
    pub(super) fn learn(&mut self, index: usize, learnt: Vec<Learnt>) {
        let now = self.replicas[index].clocks();
        for learnt in learnt {
            match learnt {
                Learnt::Secret {
                    name,
                    version,
                    exists,
                } => {
                    self.replicas[index]
                        .wishes
                        .saw_secret(&name, version, exists, now);
                }
                Learnt::Fetch(variant, answered) => self.fetch_answered(index, &variant, &answered),
            }
        }
    }

    /// Records that a replica is told now how its request ended.
    fn fetch_answered(&mut self, index: usize, variant: &Variant, answered: &Answered) {
        let now = self.replicas[index].clocks();
        let replica = &mut self.replicas[index];
        let sent = replica
            .learned
            .in_flight
            .get(variant)
            .map(|flight| flight.sent.wall);
        let Some(sent) = sent else { return };
        let outcome = answered.as_ref().map(|response| Life {
            requested_at: sent,
            expires_at: sent + SignedDuration::try_from(response.expires_in).unwrap_or_default(),
        });
        replica.learned.ended(variant, outcome, now);
        if let Err(failure) = answered {
            let reason = failure.reason.as_str();
            self.note(&format!("replica {index}: is told {reason}"));
        }
        self.forget_unwanted(index);
    }

    /// Has a replica's judge forget the tokens that nobody wants, as far as the replica knows.
    pub(super) fn forget_unwanted(&mut self, index: usize) {
        if !self.judges_fetches {
            return;
        }
        let now = self.now();
        let replica = &mut self.replicas[index];
        if replica.wishes.has_changed(&self.store) {
            let active = replica.wishes.active(&self.store);
            replica.learned.forget_unwanted(now, &active);
        }
    }

    /// Returns what is known of a request that is allowed, or what is wrong with it.
    fn cause(&self, index: usize, request: &Request) -> Result<Flight, &'static str> {
        let (replica, now) = (&self.replicas[index], self.replicas[index].clocks());
        let variant = &request.variant;
        let wishers = replica.wishes.wishers(variant, &self.store);
        let wishers: Vec<&Wish> = wishers.filter(|wish| !wish.app.spec.suspend).collect();
        if let Some(objection) = self.is_forbidden(index, request, &wishers, now) {
            return Err(objection);
        }
        let last = replica.learned.last.get(variant);
        let shown = replica.wishes.shown(&self.store);
        let seen = |wish| latest_life(replica, wish, variant, (&self.store, &shown), now.wall);
        let seen: Vec<_> = wishers.iter().map(|wish| (*wish, seen(wish))).collect();
        let valid = |life: &Option<Life>| life.filter(|life| life.expires_at > now.wall);
        let is_missing = seen.iter().any(|(_, life)| valid(life).is_none());
        let was_due = seen
            .iter()
            .any(|(wish, life)| valid(life).is_some_and(|life| is_due(wish, life, last, now)));
        let lives = seen.iter().filter_map(|(_, life)| *life);
        let latest = lives.max_by_key(|life| life.requested_at);
        let requests = open_requests(replica, &wishers, variant);
        let is_asked = !requests.is_empty();
        // A retry or a requested renewal may come before the time that jitter has chosen.
        let is_scheduled = !is_asked && last.is_some_and(|last| last.outcome.is_ok());
        let active = replica.wishes.active(&self.store).remove(variant);
        let wanted = Wanted::by(active.unwrap_or_default(), now.real);
        let flight = |is_requested| Flight {
            sent: now,
            credentials: request.credentials.clone(),
            requests,
            is_requested,
            replaces: latest,
            was_due: was_due && is_scheduled,
            wanted,
        };
        let fetched_at = replica.learned.fetched_at.get(variant);
        if fetched_at.is_some_and(|at| !now.has_passed(FLOOR, *at)) {
            return Err("within 5 s after another one");
        }
        let Some(last) = last else {
            // The retry of a former process's failed attempt.
            let planned = wishers
                .iter()
                .filter_map(|wish| planned(&wish.app, &variant.corp_id));
            let is_retry = planned.min().is_some_and(|at| now.wall >= at - SECOND);
            return match is_missing || was_due || is_asked || is_retry {
                true => Ok(flight(!is_missing && !was_due)),
                false => Err("without a cause"),
            };
        };
        if let Err(class) = last.outcome {
            let is_due = now.has_passed(last.wait, last.at)
                || is_respecified(&wishers, last, class, now)
                || self.is_outage_over(index, last, class);
            return match is_due || is_asked && is_forced(class, last, now) {
                true => Ok(flight(!is_due)),
                false => Err("before the retry of a failed one is due"),
            };
        }
        match is_missing || was_due {
            true => Ok(flight(false)),
            false if !is_asked => Err("without a cause"),
            false if now.has_passed(REQUESTED, last.at) => Ok(flight(true)),
            false => Err("that is requested within a minute after another one"),
        }
    }

    /// Returns why a token must not be fetched, whatever the cause.
    fn is_forbidden(
        &self,
        index: usize,
        request: &Request,
        wishers: &[&Wish],
        now: Clocks,
    ) -> Option<&'static str> {
        let replica = &self.replicas[index];
        let Request {
            variant,
            credentials,
        } = request;
        let is_first = !replica.learned.last.contains_key(variant);
        let objections = [
            (wishers.is_empty(), "for nobody"),
            (
                !replica.outlasts_request(),
                "that the lease may not outlast",
            ),
            (
                self.is_in_flight(variant),
                "beside another one of the same token",
            ),
            (
                replica.learned.is_paused(variant, credentials, now),
                "within a pause",
            ),
            (
                is_first && is_limited(wishers, variant, now.wall),
                "within a limit that the status shows",
            ),
        ];
        objections
            .into_iter()
            .find_map(|(is_so, objection)| is_so.then_some(objection))
    }

    /// Whether a request for a token is on its way from a replica that lives.
    fn is_in_flight(&self, variant: &Variant) -> bool {
        let living = self.replicas.iter().filter(|replica| replica.is_up);
        let mut flights = living.filter_map(|replica| replica.learned.in_flight.get(variant));
        flights.any(|flight| self.now().duration_since(flight.sent.real) <= GIVEN_UP)
    }

    /// Whether the site has answered somebody since an outage in which this attempt failed.
    fn is_outage_over(&self, index: usize, last: &Ended, class: Class) -> bool {
        let learned = &self.replicas[index].learned;
        let is_answered = learned.succeeded.is_some_and(|at| at.real >= last.at.real);
        learned.had_outage && is_answered && class == Class::Transient
    }
}

/// Whether a spec has changed since a failure that a change may end.
fn is_respecified(wishers: &[&Wish], last: &Ended, class: Class, now: Clocks) -> bool {
    let is_ended_by_change = matches!(class, Class::User | Class::Configuration | Class::Quota);
    let mut wishers = wishers.iter();
    is_ended_by_change
        && now.has_passed(FLOOR, last.at)
        && wishers.any(|wish| wish.specified.real >= last.at.real - GIVEN_UP)
}

/// Whether a request ends the wait after a failure: a minute after it, and never that of a limit.
fn is_forced(class: Class, last: &Ended, now: Clocks) -> bool {
    let is_limit = matches!(class, Class::Throttled { .. } | Class::Banned);
    let wait = if is_limit {
        last.wait.max(REQUESTED)
    } else {
        REQUESTED
    };
    now.has_passed(wait, last.at)
}

/// Returns the renewal requests that no fetch has answered, by UID of the app and value, and whether
/// each replaced another one.
fn open_requests(
    replica: &Replica,
    wishers: &[&Wish],
    variant: &Variant,
) -> BTreeMap<(String, String), bool> {
    let mut open = BTreeMap::new();
    for wish in wishers {
        let Some(asked) = &wish.asked else { continue };
        let is_of_former =
            asked.is_of_start && is_reported(&wish.app, &asked.value, &variant.corp_id);
        let learned = &replica.learned;
        if !is_of_former && !learned.has_answered(wish.uid(), &asked.value, &variant.corp_id) {
            let request = (wish.uid().to_owned(), asked.value.clone());
            open.insert(request, asked.follows);
        }
    }
    open
}

/// Returns the life of the latest token that a replica can give an app.
pub fn latest_life(
    replica: &Replica,
    wish: &Wish,
    variant: &Variant,
    seen: (&Store, &AllShown),
    now: Timestamp,
) -> Option<Life> {
    let lives = replica.wishes.lives(wish, variant, seen, now).into_iter();
    let last = replica.learned.last.get(variant);
    let fetched = last.and_then(|last| last.outcome.ok());
    lives.chain(fetched).max_by_key(|life| life.requested_at)
}

/// Returns when a token is renewed at the latest.
pub fn latest_renewal(app: &DingTalkApp, life: Life) -> Timestamp {
    life.expires_at - SignedDuration::from_secs_f64(renew_before(app, life))
}

fn renew_before(app: &DingTalkApp, life: Life) -> f64 {
    let length = life.length().as_secs_f64();
    let before = app.spec.renew_before();
    let before = before.map_or(length / 3.0, |before| before.as_secs_f64());
    before.min(length * RENEW_BEFORE_MAX)
}

/// Returns the time before a token's expiry from which on it may be renewed.
fn renewed_before(app: &DingTalkApp, life: Life) -> SignedDuration {
    let length = life.length().as_secs_f64();
    let has_others = app.spec.corp_ids.len() > 1;
    let early = JITTER + if has_others { TOGETHER } else { 0.0 };
    let before = renew_before(app, life) + early * length;
    SignedDuration::from_secs_f64(before.min(length)) + ROUNDED
}

/// Whether an app's valid token may be renewed now.
fn is_due(wish: &Wish, life: Life, last: Option<&Ended>, now: Clocks) -> bool {
    // A clock that was set since the last fetch has moved the time with it.
    let has_come = |at: Timestamp| {
        let has_moved_here = last.is_some_and(|last| {
            let wait = at.duration_since(last.at.wall);
            now.progress.duration_since(last.at.progress) + ROUNDED >= wait
        });
        now.wall >= at || has_moved_here
    };
    let not_before = last.and_then(|last| last.not_before);
    not_before.is_none_or(|at| has_come(at - FLOOR))
        && has_come(life.expires_at - renewed_before(&wish.app, life))
}
