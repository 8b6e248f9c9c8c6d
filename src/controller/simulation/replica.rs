//! One replica of the operator: its process, and its view of the world.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::runtime::watcher::Event;

use super::calls::{self, Begun, Wire};
use super::known::Known;
use super::learned::Learned;
use super::process::Process;
use super::store::{Store, Told};
use super::wishes::{Clocks, Wishes};
use crate::dingtalk::REQUEST_TIMEOUT;
use crate::operator::{Election, LEASE_DURATION, Leadership, Moment};

pub const KINDS: usize = 3;

/// A watch, by its index in the arrays of [`Replica`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    App,
    Reference,
    Secret,
}

impl Told {
    pub fn kind(&self) -> Kind {
        match self {
            Self::App(_) => Kind::App,
            Self::Reference(_) => Kind::Reference,
            Self::Secret(_) => Kind::Secret,
        }
    }
}

/// A watch, as its replica sees it.
#[derive(Clone, Copy)]
pub struct Watch {
    /// Number of the connection; events of former ones are lost.
    pub connection: u64,
    /// False between the end of a connection and the list that follows it, when no events arrive.
    pub is_connected: bool,
    /// When the last event in transit arrives.
    pub told_until: Timestamp,
}

pub struct Replica {
    pub process: Process,
    pub wire: Wire,
    pub leadership: Arc<Leadership>,
    /// The election, if there are several replicas.
    pub election: Option<Election>,
    pub has_led: bool,
    pub is_up: bool,
    /// What the watches have told its process, except for the objects.
    known: Known,
    /// The same for the judge of fetches, and what the fetches of its process have taught it.
    pub wishes: Wishes,
    pub learned: Learned,
    /// When it sent the request that last renewed its lease, if there is an election.
    pub lease_sent: Option<Moment>,
    /// Since when its process leads.
    pub leads_since: Option<Timestamp>,
    /// When its clock was last set.
    pub clock_set_at: Option<Timestamp>,
    /// Number of its process; what was planned for former ones is lost.
    pub life: u64,
    /// Number of scheduled looks.
    pub looks: u64,
    pub watches: [Watch; KINDS],
    /// Whether its list of Secrets has begun.
    pub lists_secrets: bool,
    /// When its last list of Secrets ended.
    pub secrets_listed_at: Option<Timestamp>,
    /// Until when it is cut off from everything.
    pub cut_off_until: Timestamp,
    /// Until when its calls about the Lease fail.
    pub lease_fails_until: Timestamp,
    /// How far its clock is ahead.
    pub clock_ahead: SignedDuration,
    /// By how much its clock was ever set forward.
    set_forward: SignedDuration,
}

impl Replica {
    pub fn new(wire: Wire, now: Timestamp) -> Self {
        let leadership = Arc::new(Leadership::alone());
        let watch = Watch {
            connection: 0,
            is_connected: false,
            told_until: now,
        };
        Self {
            process: Process::new(&wire, Arc::clone(&leadership)),
            wire,
            leadership,
            election: None,
            has_led: false,
            is_up: false,
            known: Known::default(),
            wishes: Wishes::default(),
            learned: Learned::default(),
            lease_sent: None,
            leads_since: None,
            clock_set_at: None,
            life: 0,
            looks: 0,
            watches: [watch; KINDS],
            lists_secrets: false,
            secrets_listed_at: None,
            cut_off_until: now,
            lease_fails_until: now,
            clock_ahead: SignedDuration::ZERO,
            set_forward: SignedDuration::ZERO,
        }
    }

    /// Starts a new process, as candidate `identity` if there are others.
    pub fn start(&mut self, identity: Option<String>) {
        self.leadership = Arc::new(match identity {
            None => Leadership::alone(),
            Some(_) => Leadership::default(),
        });
        self.election = identity.map(Election::new);
        self.has_led = false;
        self.lists_secrets = false;
        self.known = Known::default();
        self.wishes = Wishes::default();
        self.learned = Learned::default();
        self.lease_sent = None;
        let wall = self.wire.moment.lock().expect("no panic").wall;
        self.leads_since = self.election.is_none().then(|| wall - self.clock_ahead);
        self.process = Process::new(&self.wire, Arc::clone(&self.leadership));
        self.is_up = true;
    }

    /// Ends the process; what was in flight is lost.
    pub fn end(&mut self) {
        self.is_up = false;
        self.life += 1;
        for watch in &mut self.watches {
            watch.connection += 1;
            watch.is_connected = false;
        }
        self.wire.begun.lock().expect("no panic").clear();
    }

    pub fn hear(&mut self, told: Told) {
        let now = self.clocks();
        let real = now.real;
        self.known.told(&told, real);
        self.wishes.told(&told, now);
        if matches!(told, Told::Secret(Event::InitDone)) {
            self.secrets_listed_at = Some(real);
        }
        match told {
            Told::App(event) => self.process.app_event(event),
            Told::Reference(event) => self.process.reference_event(event),
            Told::Secret(event) => self.process.secret_event(event),
        }
    }

    /// Returns the calls that have begun, writes with what the process knows if they `are_judged`.
    pub fn begun(&mut self, are_judged: bool) -> Vec<Begun> {
        let mut begun = std::mem::take(&mut *self.wire.begun.lock().expect("no panic"));
        for call in &mut begun {
            if are_judged && call.kind == calls::Kind::Write {
                let (apps, references) = self.process.objects();
                call.known = Some(Known {
                    apps,
                    references,
                    ..self.known.clone()
                });
            }
        }
        begun
    }

    /// Whether its lease lasts at least as long as a token request may take: otherwise another
    /// replica might request the same token meanwhile.
    pub fn outlasts_request(&self) -> bool {
        let now = *self.wire.moment.lock().expect("no panic");
        let lasts = |sent: Moment| {
            let needed = LEASE_DURATION.checked_sub(REQUEST_TIMEOUT).expect("longer");
            let wall = Duration::try_from(now.wall.duration_since(sent.wall)).unwrap_or_default();
            wall < needed && now.monotonic.duration_since(sent.monotonic) < needed
        };
        self.election.is_none() || self.lease_sent.is_some_and(lasts)
    }

    pub fn clocks(&self) -> Clocks {
        let wall = self.wire.moment.lock().expect("no panic").wall;
        let real = wall - self.clock_ahead;
        let progress = real + self.set_forward;
        Clocks {
            wall,
            real,
            progress,
        }
    }

    pub fn set_time(&mut self, at: Timestamp) {
        let mut moment = self.wire.moment.lock().expect("no panic");
        let wall = at + self.clock_ahead;
        let step = wall.duration_since(moment.wall);
        moment.monotonic += Duration::try_from(step).unwrap_or_default();
        moment.wall = wall;
    }

    /// Sets the wall clock; the monotonic one does not change.
    pub fn set_clock(&mut self, ahead: SignedDuration) {
        let change = ahead - self.clock_ahead;
        self.set_forward += change.max(SignedDuration::ZERO);
        self.clock_ahead = ahead;
        let mut moment = self.wire.moment.lock().expect("no panic");
        moment.wall += change;
        self.clock_set_at = Some(moment.wall);
    }
}

/// Lists all objects of a kind, except an app that is listed late.
pub fn list(store: &Store, kind: Kind, late: Option<&String>) -> Vec<Told> {
    let mut list = Vec::new();
    match kind {
        Kind::App => {
            let apps = store.apps.iter();
            let apps = apps.filter(|(name, _)| late != Some(*name));
            list.extend(apps.map(|(_, app)| Told::App(Event::InitApply(app.clone()))));
            list.push(Told::App(Event::InitDone));
        }
        Kind::Reference => {
            let references = store.references.values();
            let told = |it: &crate::api::DingTalkTokenReference| {
                Told::Reference(Event::InitApply(it.clone()))
            };
            list.extend(references.map(told));
            list.push(Told::Reference(Event::InitDone));
        }
        Kind::Secret => {
            let secrets = store.secrets.iter();
            let told =
                secrets.map(|(name, secret)| Told::Secret(Event::InitApply(secret.meta(name))));
            list.extend(told);
            list.push(Told::Secret(Event::InitDone));
        }
    }
    list
}

/// Returns the event with which a list begins.
pub fn listing(kind: Kind) -> Told {
    match kind {
        Kind::App => Told::App(Event::Init),
        Kind::Reference => Told::Reference(Event::Init),
        Kind::Secret => Told::Secret(Event::Init),
    }
}
