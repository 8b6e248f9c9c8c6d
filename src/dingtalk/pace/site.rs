//! Scheduling for one site: its queue, rates and health.

mod answers;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::call::RankKind;
use super::health::{Busyness, Health};
use super::lines::Lines;
use super::outcome::Started;
use super::pauses::Pauses;
use super::proofs::Proofs;
use super::rates::{Budget, Gate, SiteRate, Spacing, interval};
use super::waiting::{LineKey, Twin};
use super::{Call, Rank, Rates};

/// Time between two probes of an outage. A thousand requests take four seconds at the site's rate and
/// must be served within five seconds after the outage ends.
const PROBE: Duration = Duration::from_millis(600);
/// Time between two requests with unproven credentials for one `client_id`. Together with the regular 10
/// requests per second, this stays below the 20 that DingTalk allows.
const UNPROVEN_INTERVAL: Duration = Duration::from_millis(500);
/// Maximum number of requests in flight with unproven credentials for one `client_id`.
const UNPROVEN_IN_FLIGHT: u32 = 4;
/// Cost of a failure with unproven credentials in its namespace's budget: 40 at once, then two per second.
const FAILURE_OF_NAMESPACE: Duration = Duration::from_millis(500);
/// Size of a failure budget.
const FAILURES_OPEN: Duration = Duration::from_secs(20);
/// Maximum number of requests in flight with unproven credentials for one namespace: as many as its
/// failure budget allows at once.
const UNPROVEN_OF_NAMESPACE: u32 = 40;
/// Time between two clean-ups.
const PRUNE_EVERY: Duration = Duration::from_secs(60);
/// Abandoned requests are removed once this many requests are queued, and again whenever the number of
/// remaining ones has doubled.
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

/// Scheduler for one site.
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
    /// The requests in flight, and whether the credentials of each were proven at its start.
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

    /// Adds the requests that may start now, and abandoned ones, to `started`.
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
            let Some((kind, id)) = self.next(rates, now) else {
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
                self.lines.served(kind, &waiting.call);
                self.first_had_its_turn = kind == RankKind::First;
                started.starting.push((waiting.call, waiting.job));
            }
        }
        let probe_at = self.probe_at.filter(|_| self.lines.has_held());
        for at in self.lines.next_wake().into_iter().chain(probe_at) {
            started.look_again(at.max(now));
        }
    }

    fn next(&mut self, rates: &Rates, now: Instant) -> Option<(RankKind, u64)> {
        // First attempts come first, but use at most every second request, so that a flood of them does
        // not delay the renewal of valid tokens.
        let kinds = match self.first_had_its_turn {
            true => [RankKind::Renewal, RankKind::First, RankKind::Retry],
            false => [RankKind::First, RankKind::Renewal, RankKind::Retry],
        };
        let is_probe_due = self.probe_at.is_none_or(|at| at <= now);
        if is_probe_due && self.lines.has_held() {
            let probe = self.next_of(true, kinds, rates, now);
            if probe.is_some() {
                return probe;
            }
        }
        self.next_of(false, kinds, rates, now)
    }

    fn next_of(
        &mut self,
        is_probe: bool,
        kinds: [RankKind; 3],
        rates: &Rates,
        now: Instant,
    ) -> Option<(RankKind, u64)> {
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
        lines.next(is_probe, kinds, has_room, gate)
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

    /// Ends a request. Returns whether its credentials were proven at its start.
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
