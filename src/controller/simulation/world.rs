//! Time, users, delays and deaths.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::runtime::watcher::Event;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde_json::json;

use super::calls::{Begun, Deliver, Fate, Kind, Wire};
use super::process::Process;
use super::site::{REPEATS, Site};
use super::store::{NAMESPACE, Store};
use crate::api::{ANNOTATION_RENEW_REQUESTED_AT, DingTalkApp};

/// At which write or fetch the process dies, and whether before it or after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Death {
    pub at: usize,
    pub is_before: bool,
}

enum What {
    Execute(Begun),
    Deliver(Deliver),
    AppEvent,
    SecretEvent,
    ReferenceEvent,
    Look,
    Start,
}

/// How long after the end of a process another one acts at the earliest: the Lease has to run out.
const TAKEOVER: SignedDuration = SignedDuration::from_secs(1);

pub struct World {
    pub store: Store,
    pub site: Site,
    pub dice: SmallRng,
    pub history: Vec<String>,
    /// Writes and fetches that were begun.
    pub effects: usize,
    pub loses_calls: bool,
    death: Option<Death>,
    wire: Wire,
    pub process: Process,
    life: u64,
    queue: BinaryHeap<Reverse<(Timestamp, u64)>>,
    planned: std::collections::HashMap<u64, (u64, What)>,
    sequence: u64,
    /// An app whose namespace is listed late.
    late: Option<String>,
    is_down: bool,
    told: [Timestamp; 3],
    /// How many events of each watch are planned in this life.
    to_tell: [usize; 3],
}

impl World {
    pub fn new(seed: u64, death: Option<Death>) -> Self {
        let start = Timestamp::from_second(1_800_000_000).expect("a time");
        let mut dice = SmallRng::seed_from_u64(seed);
        let repeat = REPEATS[dice.random_range(0..REPEATS.len())];
        let wire = Wire::new(start, seed);
        let mut site = Site::new(repeat, start);
        site.clients.insert("client".to_owned(), "right".to_owned());
        let mut world = Self {
            store: Store {
                now: start,
                ..Store::default()
            },
            site,
            dice,
            history: vec![format!("seed {seed}, {repeat:?}, {death:?}")],
            effects: 0,
            loses_calls: false,
            death,
            process: Process::new(&wire),
            wire,
            life: 0,
            queue: BinaryHeap::new(),
            planned: std::collections::HashMap::new(),
            sequence: 0,
            late: None,
            is_down: false,
            told: [start; 3],
            to_tell: [0; 3],
        };
        world.start();
        world
    }

    pub fn now(&self) -> Timestamp {
        self.store.now
    }

    pub fn note(&mut self, what: &str) {
        let second = self.now().as_second() - 1_800_000_000;
        self.history.push(format!("{second:>6} s  {what}"));
    }

    /// A new process lists everything.
    fn start(&mut self) {
        self.process = Process::new(&self.wire);
        self.store.app_events.clear();
        self.store.secret_events.clear();
        self.store.reference_events.clear();
        self.process.app_event(Event::Init);
        let late = self.late.as_ref();
        let listed = self.store.apps.iter();
        for (_, app) in listed.filter(|(name, _)| late != Some(*name)) {
            self.process.app_event(Event::InitApply(app.clone()));
        }
        self.process.app_event(Event::InitDone);
        self.process.reference_event(Event::Init);
        for reference in self.store.references.values() {
            let event = Event::InitApply(reference.clone());
            self.process.reference_event(event);
        }
        self.process.reference_event(Event::InitDone);
        self.process.secret_event(Event::Init);
        for (name, secret) in &self.store.secrets {
            self.process
                .secret_event(Event::InitApply(secret.meta(name)));
        }
        self.process.secret_event(Event::InitDone);
    }

    /// The process dies, and another takes its place: once its Lease has run out, so after the last of the
    /// writes that it had sent.
    pub fn die(&mut self) {
        self.note("the process dies");
        self.life += 1;
        self.to_tell = [0; 3];
        self.is_down = true;
        self.wire.begun.lock().expect("no panic").clear();
        let sent = self.queue.iter().filter(|Reverse((_, number))| {
            let planned = self.planned.get(number);
            matches!(planned, Some((_, What::Execute(begun))) if begun.kind == Kind::Write)
        });
        let last = sent.map(|Reverse((at, _))| *at).max();
        let earliest = self.now() + TAKEOVER;
        self.plan(last.map_or(earliest, |at| at.max(earliest)), What::Start);
    }

    /// The same, but this app is seen only later, by [`Self::see_late`].
    pub fn die_and_miss(&mut self, name: &str) {
        self.late = Some(name.to_owned());
        self.die();
    }

    /// The app that was missed is seen.
    pub fn see_late(&mut self) {
        let late = self.late.take();
        if let Some(app) = late.and_then(|name| self.store.apps.get(&name)) {
            let event = Event::Apply(app.clone());
            self.store.app_events.push_back(event);
            self.watch();
        }
    }

    fn plan(&mut self, at: Timestamp, what: What) {
        self.sequence += 1;
        self.queue.push(Reverse((at, self.sequence)));
        self.planned.insert(self.sequence, (self.life, what));
    }

    fn delay(&mut self) -> SignedDuration {
        let millis = match self.dice.random_range(0..20) {
            0 => self.dice.random_range(0..3000),
            _ => self.dice.random_range(0..50),
        };
        SignedDuration::from_millis(millis)
    }

    fn settle(&mut self) {
        if self.is_down {
            return;
        }
        let wait = self.process.settle(self.now());
        let begun = std::mem::take(&mut *self.wire.begun.lock().expect("no panic"));
        let did = !begun.is_empty();
        for begun in begun {
            let at = self.now() + self.delay();
            self.plan(at, What::Execute(begun));
        }
        self.watch();
        if !did {
            let wait = SignedDuration::try_from(wait).unwrap_or_default();
            let at = self.now() + wait;
            self.plan(at, What::Look);
        }
    }

    /// Plans the watches' events, each kind in its order.
    fn watch(&mut self) {
        if self.is_down {
            return;
        }
        let to_tell = [
            self.store.app_events.len(),
            self.store.secret_events.len(),
            self.store.reference_events.len(),
        ];
        for (kind, count) in to_tell.into_iter().enumerate() {
            for _ in self.to_tell[kind]..count {
                self.to_tell[kind] += 1;
                let at = (self.now() + self.delay()).max(self.told[kind]);
                self.told[kind] = at;
                let what = match kind {
                    0 => What::AppEvent,
                    1 => What::SecretEvent,
                    _ => What::ReferenceEvent,
                };
                self.plan(at, what);
            }
        }
    }

    /// Runs for so long.
    pub fn run(&mut self, duration: Duration) {
        let until = self.now() + SignedDuration::try_from(duration).expect("not for ever");
        self.watch();
        self.settle();
        while let Some(Reverse((at, number))) = self.queue.peek().copied() {
            if at > until {
                break;
            }
            self.queue.pop();
            let Some((life, what)) = self.planned.remove(&number) else {
                continue;
            };
            self.set_time(at);
            let is_of_this_life = life == self.life;
            match what {
                // A connection ends with its process; a write may have arrived before.
                What::Execute(begun) if is_of_this_life || begun.kind == Kind::Write => {
                    if self.execute(begun, is_of_this_life) {
                        continue;
                    }
                }
                What::Deliver(deliver) if is_of_this_life => deliver(),
                What::AppEvent if is_of_this_life => {
                    self.to_tell[0] -= 1;
                    if let Some(event) = self.store.app_events.pop_front() {
                        self.process.app_event(event);
                    }
                }
                What::SecretEvent if is_of_this_life => {
                    self.to_tell[1] -= 1;
                    if let Some(event) = self.store.secret_events.pop_front() {
                        self.process.secret_event(event);
                    }
                }
                What::ReferenceEvent if is_of_this_life => {
                    self.to_tell[2] -= 1;
                    if let Some(event) = self.store.reference_events.pop_front() {
                        self.process.reference_event(event);
                    }
                }
                What::Look if is_of_this_life => {}
                What::Start if is_of_this_life => {
                    self.is_down = false;
                    self.start();
                }
                What::Execute(_)
                | What::Deliver(_)
                | What::AppEvent
                | What::SecretEvent
                | What::ReferenceEvent
                | What::Look
                | What::Start => continue,
            }
            self.settle();
        }
        self.set_time(until);
    }

    /// Returns whether the process died of it.
    fn execute(&mut self, begun: Begun, is_of_this_life: bool) -> bool {
        let mut fate = Fate::Answered;
        if self.loses_calls && self.dice.random_range(0..20) == 0 {
            fate = [Fate::RequestLost, Fate::AnswerLost][self.dice.random_range(0..2)];
        }
        let mut dies = false;
        if begun.kind != Kind::Read {
            let number = self.effects;
            self.effects += 1;
            if let Some(death) = self.death.filter(|death| death.at == number) {
                dies = true;
                fate = if death.is_before {
                    Fate::RequestLost
                } else {
                    Fate::Answered
                };
            }
        }
        let count = self.store.writes.len();
        let fetched: usize = self.site.fetched.values().sum();
        let deliver = (begun.execute)(&mut self.store, &mut self.site, fate);
        for write in count..self.store.writes.len() {
            let write = format!("operator: {}", self.store.writes[write]);
            self.note(&write);
        }
        if self.site.fetched.values().sum::<usize>() > fetched {
            self.note("operator: fetched a token");
        }
        if dies {
            self.die();
            self.settle();
            return true;
        }
        if is_of_this_life {
            let at = self.now() + self.delay();
            self.plan(at, What::Deliver(deliver));
        }
        self.watch();
        false
    }

    fn set_time(&mut self, at: Timestamp) {
        let mut moment = self.wire.moment.lock().expect("no panic");
        let step = Duration::try_from(at.duration_since(moment.wall)).unwrap_or_default();
        moment.wall = at;
        moment.monotonic += step;
        self.store.now = at;
    }

    /// Applies an app with these fields over the defaults.
    pub fn apply(&mut self, name: &str, spec: &serde_json::Value) {
        self.note(&format!("user: apply {name} {spec}"));
        let mut app = json!({
            "apiVersion": "dingtalk-token-operator.github.io/v1alpha1", "kind": "DingTalkApp",
            "metadata": {"name": name},
            "spec": {"credentialsSecretRef": {"name": "credentials"}, "site": "china", "corpIds": ["ding1"]},
        });
        for (field, value) in spec.as_object().expect("an object") {
            app["spec"][field] = value.clone();
        }
        self.store
            .put_app(serde_json::from_value::<DingTalkApp>(app).expect("an app"));
        self.watch();
    }

    /// Applies a reference to an app, whose copies have this name.
    pub fn refer(&mut self, name: &str, app: &str, target: &str) {
        self.note(&format!("user: apply reference {name} to {app}, {target}"));
        let reference = json!({
            "apiVersion": "dingtalk-token-operator.github.io/v1alpha1", "kind": "DingTalkTokenReference",
            "metadata": {"name": name},
            "spec": {"appRef": {"namespace": NAMESPACE, "name": app}, "target": {"name": target}},
        });
        let reference = serde_json::from_value(reference).expect("a reference");
        self.store.put_reference(reference);
        self.watch();
    }

    /// Asks an app for a renewal.
    pub fn renew(&mut self, name: &str) {
        self.note(&format!("user: renew {name}"));
        let mut app = self.store.apps[name].clone();
        let annotations = app.metadata.annotations.get_or_insert_default();
        annotations.insert(
            ANNOTATION_RENEW_REQUESTED_AT.to_owned(),
            self.store.now.to_string(),
        );
        self.store.put_app(app);
        self.watch();
    }
}
