//! One site: who waits for it, how fast it may be called, what its answers have said.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::call::CLASSES;
use super::health::{Busyness, Health};
use super::lines::Lines;
use super::outcome::{Heard, Recovery, Started};
use super::pauses::Pauses;
use super::proofs::Proofs;
use super::rates::{Budget, Gate, SiteRate, Spacing, interval};
use super::waiting::{LineKey, Twin};
use super::{Call, Rank, Rates, Reach};
use crate::api::Reason;
use crate::dingtalk::{Class, Failure, Scope};

/// An outage is probed by one call in this time, whoever waits: a thousand that wait take four seconds
/// at the site's rate, and are to be served within five of its return.
const PROBE: Duration = Duration::from_millis(600);
/// A ban lasts at least this long: five minutes are documented for that of an address.
const BAN: Duration = Duration::from_secs(300);
/// A `client_id` that calls too often waits so long, and twice as long each time.
const THROTTLE: Duration = Duration::from_secs(1);
/// A `client_id` never waits longer than this, unless the answer asks for it.
const THROTTLE_MAX: Duration = Duration::from_secs(60);
/// Unproven credentials are tried so often for one `client_id`: added to its own rate of 10 calls
/// a second, that stays below the 20 that DingTalk allows.
const UNPROVEN_INTERVAL: Duration = Duration::from_millis(500);
/// Calls in flight with unproven credentials for one `client_id`.
const UNPROVEN_IN_FLIGHT: u32 = 4;
/// What a failure with unproven credentials costs its namespace: 40 at once, then two a second.
const FAILURE_OF_NAMESPACE: Duration = Duration::from_millis(500);
/// What it costs the site's budget: 400 at once, then 20 a second.
const FAILURE_OF_SITE: Duration = Duration::from_millis(50);
/// The costs that may be open at once.
const FAILURES_OPEN: Duration = Duration::from_secs(20);
/// Calls in flight with unproven credentials for one namespace: as many as may fail at once.
const UNPROVEN_OF_NAMESPACE: u32 = 40;
/// How often what no longer matters is forgotten.
const PRUNE_EVERY: Duration = Duration::from_secs(60);
/// Abandoned requests are swept out once so many wait, and each time the number has doubled.
const SWEEP_FROM: usize = 1024;

#[derive(Default)]
struct ClientUse {
    proven: Spacing,
    unproven: Spacing,
    throttled: u32,
    throttled_at: Option<Instant>,
}

#[derive(Default)]
struct NamespaceUse {
    in_flight: u32,
    unproven_in_flight: u32,
    failures: Budget,
}

/// See the module.
pub(super) struct Site<J> {
    lines: Lines<J>,
    rate: SiteRate,
    clients: HashMap<Arc<str>, ClientUse>,
    namespaces: HashMap<Arc<str>, NamespaceUse>,
    proofs: Proofs,
    pauses: Pauses,
    of_proven: Health,
    of_unproven: Health,
    busyness: Busyness,
    failures: Budget,
    /// The calls in flight, and whether each began as one of proven credentials.
    in_flight: HashMap<Twin, bool>,
    probe_at: Option<Instant>,
    first_had_its_turn: bool,
    sweep_at: usize,
    pruned_at: Option<Instant>,
}

impl<J> Default for Site<J> {
    fn default() -> Self {
        Self {
            lines: Lines::default(),
            rate: SiteRate::default(),
            clients: HashMap::new(),
            namespaces: HashMap::new(),
            proofs: Proofs::default(),
            pauses: Pauses::default(),
            of_proven: Health::default(),
            of_unproven: Health::default(),
            busyness: Busyness::default(),
            failures: Budget::default(),
            in_flight: HashMap::new(),
            probe_at: None,
            first_had_its_turn: false,
            sweep_at: SWEEP_FROM,
            pruned_at: None,
        }
    }
}

impl<J> Site<J> {
    pub(super) fn push(&mut self, call: Call, rank: Rank, job: J) {
        let is_proven = self.is_proven(&call);
        self.lines.push(call, rank, job, is_proven);
    }

    pub(super) fn waiting(&self) -> usize {
        self.lines.len()
    }

    pub(super) fn is_proven(&self, call: &Call) -> bool {
        self.proofs.has(&call.client_id, &call.credentials)
    }

    /// Takes out what may start now.
    pub(super) fn start(
        &mut self,
        rates: &Rates,
        wanted: &impl Fn(&J) -> bool,
        now: Instant,
        started: &mut Started<J>,
    ) {
        self.prune(now);
        if self.lines.len() >= self.sweep_at {
            started.unwanted.extend(self.lines.sweep(wanted));
            self.sweep_at = (2 * self.lines.len()).max(SWEEP_FROM);
        }
        self.lines.wake(now);
        loop {
            match self.rate.gate(rates, now) {
                Gate::Open => {}
                Gate::Until(at) => {
                    if self.lines.has_ready() {
                        started.look_again(at);
                    }
                    break;
                }
                Gate::Busy | Gate::Held => break,
            }
            let Some((class, id)) = self.next(rates, now) else {
                break;
            };
            let Some(waiting) = self.lines.take(id) else {
                break;
            };
            let is_proven = waiting.is_proven;
            if !wanted(&waiting.job) {
                started.unwanted.push(waiting.job);
            } else if self.in_flight.contains_key(&Twin::of(&waiting.call)) {
                self.lines.put_behind(waiting);
            } else if let Some(until) = self.pauses.of_corp(&waiting.call, is_proven)
                && until > now
            {
                self.lines.park(waiting, until);
            } else {
                self.begin(&waiting.call, is_proven, rates, now);
                self.lines.served(class, &waiting.call);
                self.first_had_its_turn = class == 0;
                started.starting.push((waiting.call, waiting.job));
            }
        }
        let probe_at = self.probe_at.filter(|_| self.lines.has_held());
        for at in self.lines.next_wake().into_iter().chain(probe_at) {
            started.look_again(at.max(now));
        }
    }

    fn next(&mut self, rates: &Rates, now: Instant) -> Option<(usize, u64)> {
        // First attempts come first, but never take more than every second call: a flood of them
        // must not hold back the renewals of valid tokens.
        let classes = match self.first_had_its_turn {
            true => [1, 0, 2],
            false => [0, 1, 2],
        };
        let is_probe_due = self.probe_at.is_none_or(|at| at <= now);
        if is_probe_due && self.lines.has_held() {
            let probe = self.next_of(true, classes, rates, now);
            if probe.is_some() {
                return probe;
            }
        }
        self.next_of(false, classes, rates, now)
    }

    fn next_of(
        &mut self,
        is_probe: bool,
        classes: [usize; CLASSES],
        rates: &Rates,
        now: Instant,
    ) -> Option<(usize, u64)> {
        let Self {
            lines,
            rate,
            clients,
            namespaces,
            pauses,
            of_proven,
            of_unproven,
            failures,
            ..
        } = self;
        let has_room = |namespace: &str, is_proven: bool| {
            let of = namespaces.get(namespace);
            let in_flight = of.map_or(0, |of| of.in_flight);
            let unproven = of.map_or(0, |of| of.unproven_in_flight);
            rate.has_room(rates, in_flight) && (is_proven || unproven < UNPROVEN_OF_NAMESPACE)
        };
        let nobody = (ClientUse::default(), NamespaceUse::default());
        let gate = |line: &LineKey, is_proven: bool| {
            let (namespace, client_id) = (&line.namespace, &line.client_id);
            let is_down = of_proven.is_down_for(namespace, client_id)
                || !is_proven && of_unproven.is_down_for(namespace, client_id);
            if is_down && !is_probe {
                return Gate::Held;
            }
            let client = clients.get(client_id).unwrap_or(&nobody.0);
            let of_namespace = namespaces.get(namespace).unwrap_or(&nobody.1);
            let paused = pauses.of_line(namespace, client_id, is_proven);
            Gate::from(paused, now).then(|| match is_proven {
                true => client.proven.gate(rates.in_flight_per_client, now),
                false => {
                    let in_flight = FAILURE_OF_NAMESPACE * of_namespace.unproven_in_flight;
                    let open = FAILURES_OPEN.saturating_sub(in_flight);
                    let unproven = client.unproven.gate(UNPROVEN_IN_FLIGHT, now);
                    unproven
                        .then(|| of_namespace.failures.gate(open, now))
                        .then(|| failures.gate(FAILURES_OPEN, now))
                }
            })
        };
        lines.next(is_probe, classes, has_room, gate)
    }

    fn is_down_for(&self, call: &Call, is_proven: bool) -> bool {
        self.of_proven.is_down_for(&call.namespace, &call.client_id)
            || !is_proven
                && self
                    .of_unproven
                    .is_down_for(&call.namespace, &call.client_id)
    }

    fn begin(&mut self, call: &Call, is_proven: bool, rates: &Rates, now: Instant) {
        self.rate.begin(rates, now);
        let client = self.clients.entry(Arc::clone(&call.client_id)).or_default();
        match is_proven {
            true => client.proven.begin(interval(rates.per_client), now),
            false => client.unproven.begin(UNPROVEN_INTERVAL, now),
        }
        let namespace = self
            .namespaces
            .entry(Arc::clone(&call.namespace))
            .or_default();
        namespace.in_flight += 1;
        namespace.unproven_in_flight += u32::from(!is_proven);
        self.in_flight.insert(Twin::of(call), is_proven);
        if self.is_down_for(call, is_proven) {
            self.probe_at = Some(now + PROBE);
        }
    }

    /// Ends a call; returns whether it began as one of proven credentials.
    fn end(&mut self, call: &Call) -> bool {
        let twin = Twin::of(call);
        let is_proven = self.in_flight.remove(&twin).unwrap_or(true);
        self.rate.end();
        if let Some(client) = self.clients.get_mut(&call.client_id) {
            match is_proven {
                true => client.proven.end(),
                false => client.unproven.end(),
            }
        }
        if let Some(namespace) = self.namespaces.get_mut(&call.namespace) {
            namespace.in_flight = namespace.in_flight.saturating_sub(1);
            let unproven = u32::from(!is_proven);
            namespace.unproven_in_flight = namespace.unproven_in_flight.saturating_sub(unproven);
        }
        self.lines.unblock(&call.client_id);
        self.lines.ended(&twin);
        is_proven
    }

    pub(super) fn succeeded(&mut self, call: &Call, rates: &Rates, now: Instant) -> Vec<Recovery> {
        self.end(call);
        self.rate.succeeded(rates, now);
        if !self.is_proven(call) {
            self.proofs.add(&call.client_id, &call.credentials);
            let proofs = &self.proofs;
            let is_proven = |line: &LineKey| proofs.has(&line.client_id, &line.credentials);
            self.lines.prove(&call.client_id, is_proven);
        }
        self.busyness.served(call, now);
        if let Some(client) = self.clients.get_mut(&call.client_id) {
            client.throttled = 0;
        }
        self.lines.release();
        let healths = [&mut self.of_proven, &mut self.of_unproven];
        let healths = healths.into_iter().map(std::mem::take);
        let outages = healths.filter_map(|health| health.outage());
        // A success elsewhere says nothing of those whom it concerned.
        let is_over = |reach: &Reach| match reach {
            Reach::Site => true,
            Reach::Namespace(namespace) => *namespace == call.namespace,
            Reach::Client(client_id) => *client_id == call.client_id,
            Reach::Corp { .. } => false,
        };
        outages
            .filter(|(reach, _)| is_over(reach))
            .map(|(reach, since)| Recovery { reach, since })
            .collect()
    }

    pub(super) fn failed(
        &mut self,
        call: &Call,
        failure: Failure,
        failing_since: Option<Instant>,
        now: Instant,
    ) -> Heard<J> {
        let is_proven = self.end(call);
        let succeeded_at = self.rate.succeeded_at();
        let health = match is_proven {
            true => &mut self.of_proven,
            false => &mut self.of_unproven,
        };
        let failure = health.html(call, failure, now);
        if failure.class == Class::Transient {
            health.transient(call, &failure, failing_since, succeeded_at, now);
        }
        let is_site_down =
            health.is_site_outage(&failure) && health.is_down_for(&call.namespace, &call.client_id);
        match failure.class {
            Class::Banned => {
                let reach = match failure.scope {
                    Scope::Corp => Reach::of_corp(call),
                    Scope::ClientId => Reach::Client(Arc::clone(&call.client_id)),
                    Scope::Site => health.ban(call, failure.html, succeeded_at, now),
                };
                let wait = failure.wait.unwrap_or_default().max(BAN);
                self.pauses
                    .add(&reach, &call.namespace, is_proven, now + wait);
            }
            Class::Throttled { per_minute } => {
                self.throttled(call, &failure, per_minute, is_proven, now);
            }
            _ => {}
        }
        if !is_proven && !self.is_down_for(call, is_proven) {
            self.failures.spend(FAILURE_OF_SITE, now);
            if let Some(namespace) = self.namespaces.get_mut(&call.namespace) {
                namespace.failures.spend(FAILURE_OF_NAMESPACE, now);
            }
        }
        // What the site says of these credentials it would say to each of their requests.
        let is_rejected = !is_proven && failure.reason == Reason::InvalidCredentials;
        let rejected_too = match is_rejected {
            true => self.lines.take_line(call),
            false => Vec::new(),
        };
        Heard {
            failure,
            rejected_too,
            is_site_down,
        }
    }

    fn throttled(
        &mut self,
        call: &Call,
        failure: &Failure,
        per_minute: bool,
        is_proven: bool,
        now: Instant,
    ) {
        let asked = failure.wait.unwrap_or_default();
        match failure.scope {
            Scope::Corp => {
                let until = now + asked.max(THROTTLE);
                self.pauses
                    .add(&Reach::of_corp(call), &call.namespace, is_proven, until);
            }
            Scope::ClientId => {
                let client_id = Arc::clone(&call.client_id);
                let is_paused = self
                    .pauses
                    .of_line(&call.namespace, &client_id, is_proven)
                    .is_some_and(|until| until > now);
                let client = self.clients.entry(Arc::clone(&client_id)).or_default();
                // Calls that were in flight together hear the same thing once.
                if !is_paused {
                    client.throttled = client.throttled.saturating_add(1);
                    client.throttled_at = Some(now);
                }
                let doubled = THROTTLE * (1 << client.throttled.saturating_sub(1).min(6));
                let least = match per_minute {
                    true => THROTTLE_MAX,
                    false => doubled.min(THROTTLE_MAX),
                };
                let until = now + least.max(asked);
                self.pauses
                    .add(&Reach::Client(client_id), &call.namespace, is_proven, until);
            }
            Scope::Site => {
                if is_proven && self.busyness.is_busy(call, now) {
                    self.rate.slow_down(now);
                }
            }
        }
    }

    fn prune(&mut self, now: Instant) {
        let is_due = self
            .pruned_at
            .is_none_or(|at| now.duration_since(at) >= PRUNE_EVERY);
        if is_due {
            self.pruned_at = Some(now);
            self.pauses.prune(now);
            self.clients.retain(|_, client| {
                let is_throttled = client
                    .throttled_at
                    .is_some_and(|at| now.duration_since(at) < 2 * PRUNE_EVERY);
                is_throttled || !client.proven.is_idle(now) || !client.unproven.is_idle(now)
            });
            self.namespaces
                .retain(|_, namespace| namespace.in_flight > 0 || !namespace.failures.is_full(now));
        }
    }
}
