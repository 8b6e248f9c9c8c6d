//! What limits the requests to a site: its rates, budgets, pauses and outages.

mod answers;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::health::{Busyness, Health};
use super::pauses::Pauses;
use super::rates::{Budget, Gate, SiteRate, Spacing, interval};
use super::waiting::LineKey;
use super::{Call, Rates};

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

#[derive(Default)]
struct ClientUse {
    proven: Spacing,
    unproven: Spacing,
}

#[derive(Default)]
struct NamespaceUse {
    in_flight: u32,
    unproven_in_flight: u32,
    failures: Budget,
}

#[derive(Default)]
pub(super) struct Limits {
    rate: SiteRate,
    clients: HashMap<Arc<str>, ClientUse>,
    namespaces: HashMap<Arc<str>, NamespaceUse>,
    pauses: Pauses,
    of_proven: Health,
    of_unproven: Health,
    busyness: Busyness,
    failures: Budget,
    probe_at: Option<Instant>,
    pruned_at: Option<Instant>,
}

impl Limits {
    /// Whether any request may start.
    pub(super) fn gate(&self, rates: &Rates, now: Instant) -> Gate {
        self.rate.gate(rates, now)
    }

    /// Whether a request of this line may start. A probe may do so during an outage.
    pub(super) fn gate_of_line(
        &self,
        line: &LineKey,
        is_proven: bool,
        is_probe: bool,
        rates: &Rates,
        now: Instant,
    ) -> Gate {
        let (namespace, client_id) = (&line.namespace, &line.client_id);
        if !is_probe && self.is_down_for(namespace, client_id, is_proven) {
            return Gate::Held;
        }
        let paused = self.pauses.of_line(namespace, client_id, is_proven);
        let client = self.clients.get(client_id);
        let of_client = |client: &ClientUse| match is_proven {
            true => client.proven.gate(rates.in_flight_per_client, now),
            false => client.unproven.gate(UNPROVEN_IN_FLIGHT, now),
        };
        Gate::from(paused, now)
            .then(|| client.map_or(Gate::Open, of_client))
            .then(|| match is_proven {
                true => Gate::Open,
                false => self.gate_of_failures(namespace, now),
            })
    }

    /// Whether the budgets for failures allow a request with unproven credentials.
    fn gate_of_failures(&self, namespace: &str, now: Instant) -> Gate {
        let of_namespace = |namespace: &NamespaceUse| {
            let in_flight = FAILURE_OF_NAMESPACE * namespace.unproven_in_flight;
            let open = FAILURES_OPEN.saturating_sub(in_flight);
            namespace.failures.gate(open, now)
        };
        let namespace = self.namespaces.get(namespace);
        namespace
            .map_or(Gate::Open, of_namespace)
            .then(|| self.failures.gate(FAILURES_OPEN, now))
    }

    /// Whether a namespace may have another request in flight.
    pub(super) fn has_room(&self, namespace: &str, is_proven: bool, rates: &Rates) -> bool {
        let of = self.namespaces.get(namespace);
        let in_flight = of.map_or(0, |of| of.in_flight);
        let unproven = of.map_or(0, |of| of.unproven_in_flight);
        self.rate.has_room(rates, in_flight) && (is_proven || unproven < UNPROVEN_OF_NAMESPACE)
    }

    fn is_down_for(&self, namespace: &str, client_id: &str, is_proven: bool) -> bool {
        self.of_proven.is_down_for(namespace, client_id)
            || !is_proven && self.of_unproven.is_down_for(namespace, client_id)
    }

    pub(super) fn pause_of_corp(&self, call: &Call, is_proven: bool) -> Option<Instant> {
        self.pauses.of_corp(call, is_proven)
    }

    /// Returns when an outage may be probed; `None` means at once.
    pub(super) fn probe_at(&self) -> Option<Instant> {
        self.probe_at
    }

    /// Whether an outage may be probed now.
    pub(super) fn may_probe(&self, now: Instant) -> bool {
        self.probe_at.is_none_or(|at| at <= now)
    }

    pub(super) fn begin(&mut self, call: &Call, is_proven: bool, rates: &Rates, now: Instant) {
        self.rate.begin(rates, now);
        let client = self.clients.entry(Arc::clone(&call.client_id)).or_default();
        match is_proven {
            true => client.proven.begin(interval(rates.per_client), now),
            false => client.unproven.begin(UNPROVEN_INTERVAL, now),
        }
        let namespace = self.namespaces.entry(Arc::clone(&call.namespace));
        let namespace = namespace.or_default();
        namespace.in_flight += 1;
        namespace.unproven_in_flight += u32::from(!is_proven);
        if self.is_down_for(&call.namespace, &call.client_id, is_proven) {
            self.probe_at = Some(now + PROBE);
        }
    }

    pub(super) fn end(&mut self, call: &Call, is_proven: bool) {
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
    }

    /// Forgets what no longer limits anything, from time to time.
    pub(super) fn prune(&mut self, now: Instant) {
        let is_due = self
            .pruned_at
            .is_none_or(|at| now.duration_since(at) >= PRUNE_EVERY);
        if is_due {
            self.pruned_at = Some(now);
            self.pauses.prune(now);
            self.clients
                .retain(|_, client| !client.proven.is_idle(now) || !client.unproven.is_idle(now));
            self.namespaces
                .retain(|_, namespace| namespace.in_flight > 0 || !namespace.failures.is_full(now));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dingtalk::pace::tests::call;
    use crate::dingtalk::{Failure, UNREACHABLE};

    #[test]
    fn what_limits_nothing_any_more_is_forgotten_once_a_minute() {
        let (rates, now) = (Rates::default(), Instant::now());
        let call = call("x", "one", "1");
        let mut limits = Limits::default();
        for is_proven in [true, false] {
            limits.begin(&call, is_proven, &rates, now);
            limits.end(&call, is_proven);
        }
        limits.failed(&call, Failure::of(&UNREACHABLE), None, false, now);
        let mut known_after = |wait: Duration| {
            limits.prune(now + wait);
            (limits.clients.len(), limits.namespaces.len())
        };
        assert_eq!(known_after(Duration::ZERO), (1, 1));
        let early = PRUNE_EVERY.saturating_sub(Duration::from_secs(1));
        assert_eq!(known_after(early), (1, 1));
        assert_eq!(known_after(PRUNE_EVERY), (0, 0));
    }
}
