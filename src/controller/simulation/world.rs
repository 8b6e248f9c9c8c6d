//! Time, delays and disturbances.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::Lease;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::calls::{self, Begun, Deliver, Fate, LeaseCall, Wire};
use super::fetches::Learnt;
use super::replica::{Kind, Replica};
use super::shrink::is_left_out;
use super::site::{REPEATS, Site};
use super::store::{Store, Told};
use crate::dingtalk::REQUEST_TIMEOUT;

/// The write or fetch before or after which the process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Death {
    pub at: usize,
    pub is_before: bool,
}

/// A scheduled event.
#[expect(clippy::large_enum_variant, reason = "they are few at a time")]
pub(super) enum What {
    /// A call sent at this time arrives.
    Execute(Begun, Timestamp),
    /// The answer to a call, and what it tells the judge of fetches.
    Deliver(Deliver, Vec<Learnt>),
    /// A watch event on this connection arrives.
    Tell(u64, Told),
    /// A watch starts with a list.
    List(Kind),
    /// Something is due. Only the latest look counts.
    Look(u64),
    Start,
    /// A stopped process must have ended.
    End,
    LeaseRound,
    LeaseCall(LeaseCall),
    LeaseAnswer(LeaseCall, Result<Option<Lease>, ()>),
}

struct Planned {
    replica: usize,
    life: u64,
    what: What,
}

/// Minimum time between the end of a process and the first act of its successor: the Lease must
/// expire.
const TAKEOVER: SignedDuration = SignedDuration::from_secs(1);
/// How long a stopped process may take, of the 45 s that a pod has to terminate.
const GRACE: SignedDuration = SignedDuration::from_secs(20);

/// A token request that has not arrived by then was abandoned, and its connection closed.
pub const GIVEN_UP: SignedDuration =
    SignedDuration::from_secs(REQUEST_TIMEOUT.as_secs().cast_signed());

pub struct World {
    pub store: Store,
    pub site: Site,
    /// Decides what users do, and when.
    pub dice: SmallRng,
    /// Decides how long messages take and which are lost. Separate, so that what users do stays the
    /// same.
    delays: SmallRng,
    pub history: Vec<String>,
    /// Number of writes and fetches begun.
    pub effects: usize,
    pub loses_calls: bool,
    /// When a message was last lost.
    pub(super) lost_at: Option<Timestamp>,
    /// When it is next judged whether a fetch is late.
    pub(super) missed_at: Timestamp,
    /// Number of acts by users, networks and nodes.
    acts: usize,
    /// Whether each write and each fetch is judged, which is slow with many apps and Secrets.
    pub judges_writes: bool,
    pub judges_fetches: bool,
    /// When a spec last changed.
    pub desired_since: Timestamp,
    death: Option<Death>,
    pub replicas: Vec<Replica>,
    queue: BinaryHeap<Reverse<(Timestamp, u64)>>,
    planned: HashMap<u64, Planned>,
    sequence: u64,
    /// An app whose namespace is listed late.
    pub(super) late: Option<String>,
}

impl World {
    /// Creates a world with a single replica.
    pub fn new(seed: u64, death: Option<Death>) -> Self {
        Self::with_replicas(1, seed, death)
    }

    /// Creates a world with this many replicas, one of which leads.
    pub fn with_replicas(count: usize, seed: u64, death: Option<Death>) -> Self {
        let start = Timestamp::from_second(1_800_000_000).expect("a time");
        let mut dice = SmallRng::seed_from_u64(seed);
        let repeat = REPEATS[dice.random_range(0..REPEATS.len())];
        let mut site = Site::new(repeat);
        site.clients.insert("client".to_owned(), "right".to_owned());
        let replicas = 0..u64::try_from(count).expect("few");
        let replicas = replicas.map(|index| Replica::new(Wire::new(start, seed + index), start));
        let mut world = Self {
            store: Store {
                now: start,
                ..Store::default()
            },
            site,
            dice,
            delays: SmallRng::seed_from_u64(!seed),
            history: vec![format!("seed {seed}, {repeat:?}, {death:?}")],
            effects: 0,
            loses_calls: false,
            lost_at: None,
            missed_at: start,
            acts: 0,
            judges_writes: true,
            judges_fetches: true,
            desired_since: start,
            death,
            replicas: replicas.collect(),
            queue: BinaryHeap::new(),
            planned: HashMap::new(),
            sequence: 0,
            late: None,
        };
        for index in 0..count {
            world.start(index);
        }
        world
    }

    pub fn now(&self) -> Timestamp {
        self.store.now
    }

    pub fn note(&mut self, what: &str) {
        let start = Timestamp::from_second(1_800_000_000).expect("a time");
        let seconds = self.now().duration_since(start).as_secs_f64();
        self.history.push(format!("{seconds:>10.3} s  {what}"));
    }

    /// Whether the next disturbance is part of this history.
    pub(super) fn acts(&mut self) -> bool {
        self.acts += 1;
        !is_left_out(self.acts - 1)
    }

    /// Returns a number below `sides`.
    pub fn roll(&mut self, sides: usize) -> usize {
        self.dice.random_range(0..sides)
    }

    /// Whether a message is lost.
    pub(super) fn is_lost(&mut self) -> bool {
        let is_lost = self.loses_calls && self.delays.random_range(0..20) == 0;
        self.lost_at = is_lost.then(|| self.now()).or(self.lost_at);
        is_lost
    }

    /// Returns true once in `sides` on average.
    pub fn rolls(&mut self, sides: usize) -> bool {
        self.roll(sides) == 0
    }

    /// Records that users want something else than before.
    pub(super) fn desired_state_changed(&mut self) {
        self.desired_since = self.now();
        self.watch();
    }

    /// Starts a new process, which lists everything.
    fn start(&mut self, index: usize) {
        let several = self.replicas.len() > 1;
        let identity = several.then(|| format!("{index}-{}", self.replicas[index].life));
        self.replicas[index].start(identity);
        self.watch();
        self.begin_list(index, Kind::App);
        self.begin_list(index, Kind::Reference);
        if several {
            self.plan_soon(index, What::LeaseRound);
        }
    }

    /// Kills the process. Another one starts once its Lease has expired, so after the last write
    /// that it had sent has arrived.
    pub fn die(&mut self) {
        self.replica_dies(0);
    }

    /// Kills the process of one of several replicas; the election finds its successor.
    pub fn replica_dies(&mut self, index: usize) {
        if self.acts() {
            self.ends_at_once(index);
        }
    }

    fn ends_at_once(&mut self, index: usize) {
        self.note(&format!("the process of replica {index} dies"));
        let sent = self.queue.iter().filter(|Reverse((_, number))| {
            let planned = self.planned.get(number);
            let what = planned.map(|planned| (planned.replica, &planned.what));
            matches!(what, Some((of, What::Execute(begun, _))) if of == index && begun.kind == calls::Kind::Write)
        });
        let last = sent.map(|Reverse((at, _))| *at).max();
        self.replicas[index].end();
        let earliest = self.now() + TAKEOVER;
        self.plan(
            index,
            last.map_or(earliest, |at| at.max(earliest)),
            What::Start,
        );
    }

    /// Stops a process, which drains its work before another one starts.
    pub fn stop(&mut self, index: usize) {
        if !self.acts() {
            return;
        }
        self.note(&format!("replica {index} is told to stop"));
        self.replicas[index].process.stop();
        self.plan(index, self.now() + GRACE, What::End);
    }

    pub(super) fn plan(&mut self, replica: usize, at: Timestamp, what: What) {
        self.sequence += 1;
        self.queue.push(Reverse((at, self.sequence)));
        let life = self.replicas[replica].life;
        let planned = Planned {
            replica,
            life,
            what,
        };
        self.planned.insert(self.sequence, planned);
    }

    /// Schedules something after a message's delay.
    pub(super) fn plan_soon(&mut self, replica: usize, what: What) {
        let at = self.arrival(replica);
        self.plan(replica, at, what);
    }

    pub(super) fn arrival(&mut self, replica: usize) -> Timestamp {
        let millis = match self.delays.random_range(0..20) {
            0 => self.delays.random_range(0..3000),
            _ => self.delays.random_range(0..50),
        };
        let from = self.now().max(self.replicas[replica].cut_off_until);
        from + SignedDuration::from_millis(millis)
    }

    fn settle(&mut self, index: usize) {
        if !self.replicas[index].is_up {
            return;
        }
        let wait = self.replicas[index].process.settle();
        let begun = self.replicas[index].begun(self.judges_writes);
        let did = !begun.is_empty();
        for begun in begun {
            let sent = self.now();
            if let Some(request) = begun.request.as_ref().filter(|_| self.judges_fetches) {
                self.judge_fetch(index, request);
            }
            self.plan_soon(index, What::Execute(begun, sent));
        }
        self.watch();
        if self.replicas[index].process.has_ended() {
            self.end(index);
        } else if !did {
            let wait = SignedDuration::try_from(wait).unwrap_or_default();
            self.replicas[index].looks += 1;
            let look = self.replicas[index].looks;
            self.plan(index, self.now() + wait, What::Look(look));
        }
    }

    fn end(&mut self, index: usize) {
        self.note(&format!("the process of replica {index} has ended"));
        self.release_lease(index);
        self.replicas[index].end();
        self.plan(index, self.now() + TAKEOVER, What::Start);
    }

    /// Runs for a duration.
    pub fn run(&mut self, duration: Duration) {
        let until = self.now() + SignedDuration::try_from(duration).expect("not for ever");
        self.watch();
        for index in 0..self.replicas.len() {
            self.settle(index);
        }
        while let Some(Reverse((at, number))) = self.queue.peek().copied() {
            if at > until {
                break;
            }
            self.queue.pop();
            let Some(planned) = self.planned.remove(&number) else {
                continue;
            };
            let index = planned.replica;
            let is_of_this_life = planned.life == self.replicas[index].life;
            // A connection ends with its process, but a write may have arrived before.
            let arrives = matches!(&planned.what, What::Execute(begun, _) if begun.kind == calls::Kind::Write);
            if !is_of_this_life && !arrives {
                continue;
            }
            let latest = self.replicas[index].looks;
            if matches!(planned.what, What::Look(look) if look != latest) {
                continue;
            }
            self.set_time(at);
            self.judge_missed();
            self.happen(index, planned.what, is_of_this_life);
            self.settle(index);
        }
        self.set_time(until);
        self.judge_missed();
    }

    fn happen(&mut self, index: usize, what: What, is_of_this_life: bool) {
        match what {
            What::Execute(begun, sent) => {
                self.execute(index, begun, sent, is_of_this_life);
            }
            What::Deliver(deliver, learnt) => {
                deliver();
                self.learn(index, learnt);
            }
            What::Tell(connection, told) => self.told(index, connection, told),
            What::List(kind) => self.list(index, kind),
            What::Look(_) => {}
            What::Start => self.start(index),
            What::End => self.end(index),
            What::LeaseRound => self.lease_round(index, false),
            What::LeaseCall(call) => self.lease_called(index, call),
            What::LeaseAnswer(call, answer) => self.lease_answered(index, &call, answer),
        }
    }

    fn execute(&mut self, index: usize, begun: Begun, sent: Timestamp, is_of_this_life: bool) {
        let mut fate = Fate::Answered;
        if self.is_lost() {
            fate = [Fate::RequestLost, Fate::AnswerLost][self.delays.random_range(0..2)];
        }
        let is_late = self.now().duration_since(sent) > GIVEN_UP;
        if is_late && begun.kind == calls::Kind::Fetch {
            fate = Fate::RequestLost;
        }
        let mut dies = false;
        if begun.kind != calls::Kind::Read {
            let number = self.effects;
            self.effects += 1;
            if let Some(death) = self.death.filter(|death| death.at == number) {
                dies = true;
                fate = match death.is_before {
                    true => Fate::RequestLost,
                    false => Fate::Answered,
                };
            }
        }
        let count = self.store.writes.len();
        let fetched: usize = self.site.fetched.values().sum();
        let (known, request) = (begun.known, begun.request);
        let missing = known.is_some().then(|| self.without_token());
        let deliver = (begun.execute)(&mut self.store, &mut self.site, fate);
        for write in count..self.store.writes.len() {
            let write = format!("replica {index}: {}", self.store.writes[write]);
            self.note(&write);
        }
        if self.site.fetched.values().sum::<usize>() > fetched {
            self.note(&format!("replica {index}: fetched a token"));
        }
        if let Some((known, missing)) = known.zip(missing) {
            self.judge_writes(index, sent, count, &missing);
            self.judge_changes(&known);
        }
        self.store.changes.clear();
        if dies {
            self.ends_at_once(index);
        } else if is_of_this_life {
            let learnt = self.learnt(request, fate);
            self.plan_soon(index, What::Deliver(deliver, learnt));
        }
        self.watch();
    }

    fn set_time(&mut self, at: Timestamp) {
        for replica in &mut self.replicas {
            replica.set_time(at);
        }
        self.store.now = at;
    }
}
