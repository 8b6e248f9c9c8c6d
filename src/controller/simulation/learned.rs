//! What a process has learned from its own fetches: their outcomes, and whom DingTalk makes wait.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::wishes::{Clocks, Life, Variant};
use crate::dingtalk::{Class, Failure, Scope};

const SECOND: SignedDuration = SignedDuration::from_secs(1);
const MINUTE: SignedDuration = SignedDuration::from_mins(1);
const HOUR: SignedDuration = SignedDuration::from_hours(1);
/// So many corps that fail without a success between them may be an outage of the site, which has a
/// pace of its own.
const OUTAGE: usize = 3;

/// With less than this left of a token's life, the search for the latest renewal that extends it has
/// come to its end.
const LAST: SignedDuration = SignedDuration::from_secs(115);

/// After this time, an app has been looked at with its credentials.
const LOOKED_AT: SignedDuration = SignedDuration::from_secs(15);

/// Which apps want a token, since its last fetch was sent.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The UIDs of the apps for which it may be fetched, and since when.
    by: BTreeMap<String, Timestamp>,
    /// Whether it may have been forgotten: all apps have gone at some time that the process had
    /// looked at.
    was_left: bool,
}

impl Wanted {
    pub fn by(apps: BTreeSet<String>, now: Timestamp) -> Self {
        Self {
            was_left: apps.is_empty(),
            by: apps.into_iter().map(|uid| (uid, now)).collect(),
        }
    }

    fn now_by(&mut self, apps: &BTreeSet<String>, now: Timestamp) {
        let before = self.by.len();
        self.by.retain(|uid, _| apps.contains(uid));
        let have_gone = self.by.len() < before;
        let mut others = self.by.values();
        let is_looked_at = others.any(|since| now.duration_since(*since) >= LOOKED_AT);
        self.was_left |= self.by.is_empty() || have_gone && !is_looked_at;
        for uid in apps {
            self.by.entry(uid.clone()).or_insert(now);
        }
    }
}

/// A fetch that was sent.
#[derive(Clone, Debug)]
pub struct Flight {
    pub sent: Clocks,
    /// UID of the credentials Secret.
    pub credentials: String,
    /// The requests for renewal that it may answer, by UID of the app and value, and whether each
    /// replaced another one.
    pub requests: BTreeMap<(String, String), bool>,
    /// Whether it was made for nothing else.
    pub is_requested: bool,
    /// The latest life of the token that was known.
    pub replaces: Option<Life>,
    /// Whether that token was due.
    pub was_due: bool,
    pub wanted: Wanted,
}

/// How the last fetch of a token ended.
#[derive(Clone, Debug)]
pub struct Ended {
    pub at: Clocks,
    pub outcome: Result<Life, Class>,
    /// Number of failures of this class in a row.
    pub streak: u32,
    /// The shortest wait before the next attempt, after a failure.
    pub wait: SignedDuration,
    /// If the fetch was due and brought no more life: when the next one is.
    pub not_before: Option<Timestamp>,
    wanted: Wanted,
}

/// Whom a limit holds.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Held {
    Corp(String, String),
    ClientId(String),
}

/// A limit that DingTalk has imposed.
#[derive(Debug)]
struct Pause {
    held: Held,
    since: Clocks,
    wait: SignedDuration,
    is_by_proven: bool,
}

/// What a process has learned.
#[derive(Default)]
pub struct Learned {
    pub in_flight: BTreeMap<Variant, Flight>,
    pub last: BTreeMap<Variant, Ended>,
    /// When each token was last fetched, whether or not it was wanted ever since.
    pub fetched_at: BTreeMap<Variant, Clocks>,
    /// How far renewal requests were answered, by UID of the app, value, and corp. A fetch that may
    /// have been queued before the request answers half of it: another one may follow.
    answered: BTreeMap<(String, String, String), u32>,
    pauses: Vec<Pause>,
    /// Contents and Secrets of credentials that have fetched a token.
    proven: BTreeSet<(String, String)>,
    /// The corps that have failed since the last success.
    failing: BTreeSet<String>,
    pub succeeded: Option<Clocks>,
    pub had_outage: bool,
    /// When DingTalk last imposed a limit.
    pub limited_at: Option<Timestamp>,
}

impl Learned {
    /// Returns until when a pause holds this token, if one does.
    pub fn is_paused(&self, variant: &Variant, credentials: &str, now: Clocks) -> bool {
        let is_proven = self.is_proven(variant, credentials);
        let mut pauses = self.pauses.iter();
        pauses.any(|pause| {
            let is_held = match &pause.held {
                Held::Corp(client_id, corp_id) => {
                    (client_id, corp_id) == (&variant.client_id, &variant.corp_id)
                }
                Held::ClientId(client_id) => *client_id == variant.client_id,
            };
            // What unproven credentials are told holds unproven ones alone.
            is_held
                && (pause.is_by_proven || !is_proven)
                && now.real.duration_since(pause.since.real) < pause.wait
        })
    }

    fn is_proven(&self, variant: &Variant, credentials: &str) -> bool {
        let client_id = &variant.client_id;
        let has = |what: &str| self.proven.contains(&(client_id.clone(), what.to_owned()));
        has(&variant.client_secret) || has(credentials)
    }

    /// Records that a fetch has ended.
    pub fn ended(&mut self, variant: &Variant, outcome: Result<Life, &Failure>, now: Clocks) {
        let Some(flight) = self.in_flight.remove(variant) else {
            return;
        };
        for ((uid, value), follows) in &flight.requests {
            let request = (uid.clone(), value.clone(), variant.corp_id.clone());
            let is_certain = flight.is_requested && !follows;
            *self.answered.entry(request).or_default() += if is_certain { 2 } else { 1 };
        }
        let ended = match outcome {
            Ok(life) => self.succeeded(variant, &flight, life, now),
            Err(failure) => self.failed(variant, &flight, failure, now),
        };
        match ended.wanted.was_left {
            true => self.last.remove(variant),
            false => self.last.insert(variant.clone(), ended),
        };
    }

    fn succeeded(&mut self, variant: &Variant, flight: &Flight, life: Life, now: Clocks) -> Ended {
        for what in [&variant.client_secret, &flight.credentials] {
            self.proven
                .insert((variant.client_id.clone(), what.clone()));
        }
        self.failing.clear();
        self.fetched_at.insert(variant.clone(), now);
        self.succeeded = Some(now);
        let same = flight.replaces.filter(|old| {
            let gained = life.expires_at.duration_since(old.expires_at);
            old.expires_at > now.wall && gained.abs() <= 5 * SECOND
        });
        // The same token again is as old as it was.
        let requested_at = same.map_or(life.requested_at, |old| old.requested_at);
        let life = Life {
            requested_at,
            ..life
        };
        // A token that was just fetched has no life to gain.
        let is_old = |old: &Life| now.wall.duration_since(old.requested_at) > 12 * SECOND;
        let planned = self.last.get(variant).and_then(|last| last.not_before);
        let not_before = same.and_then(|old| {
            let left = old.expires_at.duration_since(now.wall);
            match left > LAST {
                _ if !flight.was_due || !is_old(&old) => planned,
                true => Some(old.expires_at - (left / 2).max(110 * SECOND)),
                false => Some(old.expires_at - left / 2),
            }
        });
        let wait = SignedDuration::ZERO;
        Ended {
            at: now,
            outcome: Ok(life),
            streak: 0,
            wait,
            not_before,
            wanted: flight.wanted.clone(),
        }
    }

    fn failed(
        &mut self,
        variant: &Variant,
        flight: &Flight,
        failure: &Failure,
        now: Clocks,
    ) -> Ended {
        let class = failure.class;
        self.failing.insert(variant.corp_id.clone());
        let is_outage = self.failing.len() >= OUTAGE;
        self.had_outage |= is_outage;
        let last = self.last.get(variant);
        let same = last.filter(|last| last.outcome.as_ref().err() == Some(&class));
        let streak = same.map_or(1, |same| same.streak + 1);
        let left = flight
            .replaces
            .map(|life| life.expires_at.duration_since(now.wall));
        let left = left.filter(SignedDuration::is_positive);
        let wait = match class {
            Class::Transient if is_outage => SECOND,
            class => least_wait(class, streak, left),
        };
        self.pause(variant, flight, failure, now);
        let outcome = Err(class);
        Ended {
            at: now,
            outcome,
            streak,
            wait,
            not_before: None,
            wanted: flight.wanted.clone(),
        }
    }

    fn pause(&mut self, variant: &Variant, flight: &Flight, failure: &Failure, now: Clocks) {
        let wait = match failure.class {
            Class::Banned => 5 * MINUTE,
            Class::Throttled { per_minute: true } => MINUTE,
            Class::Throttled { per_minute: false } => SECOND,
            _ => return,
        };
        self.limited_at = Some(now.real);
        let (client_id, corp_id) = (variant.client_id.clone(), variant.corp_id.clone());
        let held = match (failure.scope, failure.class) {
            (Scope::ClientId, _) => Held::ClientId(client_id),
            // How many must hear of a limit of the site before it holds all of them is another
            // matter; it holds those that were told.
            (Scope::Corp, _) | (Scope::Site, Class::Banned) => Held::Corp(client_id, corp_id),
            (Scope::Site, _) => return,
        };
        let is_by_proven = self.is_proven(variant, &flight.credentials);
        self.pauses.push(Pause {
            held,
            since: now,
            wait,
            is_by_proven,
        });
    }

    /// Whether a renewal request of an app is answered.
    pub fn has_answered(&self, uid: &str, value: &str, corp_id: &str) -> bool {
        let request = (uid.to_owned(), value.to_owned(), corp_id.to_owned());
        self.answered
            .get(&request)
            .is_some_and(|halves| *halves >= 2)
    }

    /// Forgets tokens that the process may have forgotten. `active` has the UIDs of the apps that want
    /// each token now.
    pub fn forget_unwanted(
        &mut self,
        now: Timestamp,
        active: &BTreeMap<Variant, BTreeSet<String>>,
    ) {
        let nobody = BTreeSet::new();
        for (variant, flight) in &mut self.in_flight {
            let apps = active.get(variant).unwrap_or(&nobody);
            flight.wanted.now_by(apps, now);
        }
        let in_flight = &self.in_flight;
        self.last.retain(|variant, ended| {
            let apps = active.get(variant).unwrap_or(&nobody);
            ended.wanted.now_by(apps, now);
            !ended.wanted.was_left || in_flight.contains_key(variant)
        });
    }
}

/// Returns the shortest wait after so many failures of a class in a row, as documented. `left` is
/// what is left of the life of a valid token.
fn least_wait(class: Class, streak: u32, left: Option<SignedDuration>) -> SignedDuration {
    let doubling = |start: SignedDuration, most: SignedDuration| {
        let wait = start.checked_mul(1 << (streak - 1).min(16));
        wait.map_or(most, |wait| wait.min(most))
    };
    let is_hurried = matches!(class, Class::Transient | Class::Unknown | Class::Garbled);
    let wait = match class {
        Class::User => doubling(5 * MINUTE, HOUR),
        Class::Configuration | Class::Quota => HOUR,
        Class::Throttled { per_minute: true } => MINUTE,
        Class::Throttled { per_minute: false } => doubling(SECOND, MINUTE),
        Class::Transient if streak <= 7 => SECOND,
        Class::Banned | Class::Transient => 5 * MINUTE,
        Class::Unknown if streak <= 5 => SECOND,
        Class::Unknown => 15 * MINUTE,
        Class::Garbled => doubling(MINUTE / 2, 10 * MINUTE),
    };
    match left.filter(|_| is_hurried) {
        Some(left) => wait.min((left / 8).max(SECOND)),
        None => wait,
    }
}
