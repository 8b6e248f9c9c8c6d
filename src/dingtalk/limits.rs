//! How fast the endpoint may be called, by client_id and by site. Pure: the time is an argument.
//!
//! Calls are spaced evenly, without bursts: a burst on top of the rate would reach what DingTalk
//! throttles, which is twice the default here.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use super::{Class, Failure, Scope};

/// A site that says it is busy is called half as often, down to this part of the rate.
const SLOWDOWN_MAX: u32 = 64;
/// A site that has not said so for this long is called twice as often again.
const SLOWDOWN_HOLD: Duration = Duration::from_secs(10);
/// So many HTML answers in a row are the site's ban.
const HTML_BAN: u32 = 3;
/// So many transient failures without a success between them are taken for the site's outage.
const OUTAGE: u32 = 3;
/// How often what no longer matters is forgotten.
const PRUNE_EVERY: Duration = Duration::from_secs(60);

/// The rates that are kept.
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    /// Calls per second with one client_id; 20 are allowed.
    pub per_client: u32,
    /// Calls in flight with one client_id.
    pub in_flight_per_client: u32,
    /// Calls per second to one site; its ban begins at 500.
    pub per_site: u32,
}

impl Default for Rates {
    fn default() -> Self {
        Self {
            per_client: 10,
            in_flight_per_client: 4,
            per_site: 250,
        }
    }
}

/// What one call counts against.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Slot {
    /// The site's name.
    pub site: String,
    /// The app's client_id.
    pub client_id: String,
    /// The organisation.
    pub corp_id: String,
}

/// Whether a call may start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It may, and counts as started.
    Now,
    /// Not before then.
    At(Instant),
    /// When another call of the same client_id has finished.
    AfterAnother,
}

#[derive(Default)]
struct Site {
    next_free: Option<Instant>,
    slowdown: u32,
    slowed_at: Option<Instant>,
    html_in_a_row: u32,
    transient_in_a_row: u32,
}

#[derive(Default)]
struct ClientUse {
    next_free: Option<Instant>,
    in_flight: u32,
}

#[derive(Clone, PartialEq, Eq, Hash)]
enum Paused {
    Site(String),
    Client(String, String),
    Corp(String, String),
}

/// The state of every rate.
pub struct Limits {
    rates: Rates,
    sites: HashMap<String, Site>,
    clients: HashMap<(String, String), ClientUse>,
    pauses: HashMap<Paused, Instant>,
    in_flight: HashSet<Slot>,
    pruned_at: Option<Instant>,
}

impl Limits {
    /// Nothing called yet.
    pub fn new(rates: Rates) -> Self {
        Self {
            rates,
            sites: HashMap::new(),
            clients: HashMap::new(),
            pauses: HashMap::new(),
            in_flight: HashSet::new(),
            pruned_at: None,
        }
    }

    /// Whether a call may start now; [`Admission::Now`] counts it.
    pub fn admit(&mut self, slot: &Slot, now: Instant) -> Admission {
        self.prune(now);
        if self.in_flight.contains(slot) {
            return Admission::AfterAnother;
        }
        let until = self.paused_until(slot);
        let site = self.sites.entry(slot.site.clone()).or_default();
        let client = self
            .clients
            .entry((slot.site.clone(), slot.client_id.clone()))
            .or_default();
        let earliest = [until, site.next_free, client.next_free]
            .into_iter()
            .flatten()
            .max();
        if let Some(earliest) = earliest.filter(|&at| at > now) {
            return Admission::At(earliest);
        }
        if client.in_flight >= self.rates.in_flight_per_client {
            return Admission::AfterAnother;
        }
        site.recover(now);
        site.next_free = Some(now + interval(self.rates.per_site) * (1 << site.slowdown));
        client.next_free = Some(now + interval(self.rates.per_client));
        client.in_flight += 1;
        self.in_flight.insert(slot.clone());
        Admission::Now
    }

    /// Until when every call of this site has to wait, if it has to.
    pub fn site_free_at(&self, site: &str) -> Option<Instant> {
        let paused = self.pauses.get(&Paused::Site(site.to_owned())).copied();
        paused.max(self.sites.get(site).and_then(|site| site.next_free))
    }

    /// Takes note of a success; tells whether the site works again after it did not.
    pub fn succeeded(&mut self, slot: &Slot) -> bool {
        self.release(slot);
        let site = self.sites.entry(slot.site.clone()).or_default();
        site.html_in_a_row = 0;
        std::mem::take(&mut site.transient_in_a_row) >= OUTAGE
    }

    /// Takes note of a failed call; an HTML answer may turn out to be the site's ban.
    pub fn failed(&mut self, slot: &Slot, failure: Failure, now: Instant) -> Failure {
        self.release(slot);
        let site = self.sites.entry(slot.site.clone()).or_default();
        // No answer at all says nothing about what the next answer is.
        if failure.http_status.is_some() {
            site.html_in_a_row = match failure.html {
                true => site.html_in_a_row + 1,
                false => 0,
            };
        }
        if failure.class == Class::Transient {
            site.transient_in_a_row = site.transient_in_a_row.saturating_add(1);
        }
        let failure = if failure.html && site.html_in_a_row >= HTML_BAN {
            failure.into_site_ban()
        } else {
            failure
        };
        if matches!(failure.class, Class::Throttled { .. }) && failure.scope == Scope::Site {
            site.slow_down(now);
        }
        failure
    }

    fn release(&mut self, slot: &Slot) {
        self.in_flight.remove(slot);
        let client = (slot.site.clone(), slot.client_id.clone());
        if let Some(client) = self.clients.get_mut(&client) {
            client.in_flight = client.in_flight.saturating_sub(1);
        }
    }

    /// Holds back everything in the failure's scope for `pause`.
    pub fn pause(&mut self, slot: &Slot, scope: Scope, pause: Duration, now: Instant) {
        let key = match scope {
            Scope::Site => Paused::Site(slot.site.clone()),
            Scope::Client => Paused::Client(slot.site.clone(), slot.client_id.clone()),
            Scope::Corp => Paused::Corp(slot.site.clone(), slot.corp_id.clone()),
        };
        let until = self.pauses.entry(key).or_insert(now);
        *until = (*until).max(now + pause);
    }

    fn paused_until(&self, slot: &Slot) -> Option<Instant> {
        if self.pauses.is_empty() {
            return None;
        }
        [
            Paused::Site(slot.site.clone()),
            Paused::Client(slot.site.clone(), slot.client_id.clone()),
            Paused::Corp(slot.site.clone(), slot.corp_id.clone()),
        ]
        .iter()
        .filter_map(|key| self.pauses.get(key).copied())
        .max()
    }

    fn prune(&mut self, now: Instant) {
        let due = self
            .pruned_at
            .is_none_or(|at| now.duration_since(at) >= PRUNE_EVERY);
        if due {
            self.pruned_at = Some(now);
            self.pauses.retain(|_, until| *until > now);
            self.clients.retain(|_, client| {
                client.in_flight > 0 || client.next_free.is_some_and(|at| at > now)
            });
        }
    }
}

impl Site {
    fn slow_down(&mut self, now: Instant) {
        // Answers to calls that were on their way at the same rate say the same thing once.
        let heard = self
            .slowed_at
            .is_some_and(|at| now.duration_since(at) < Duration::from_secs(1));
        if !heard && (1 << self.slowdown) < SLOWDOWN_MAX {
            self.slowdown += 1;
        }
        self.slowed_at = Some(now);
    }

    fn recover(&mut self, now: Instant) {
        let held = self
            .slowed_at
            .is_some_and(|at| now.duration_since(at) >= SLOWDOWN_HOLD);
        if held {
            self.slowdown = self.slowdown.saturating_sub(1);
            self.slowed_at = (self.slowdown > 0).then_some(now);
        }
    }
}

fn interval(per_second: u32) -> Duration {
    Duration::from_secs(1) / per_second.max(1)
}

#[cfg(test)]
mod tests {
    use super::super::failure::look_up;
    use super::*;

    fn slot(client: &str, corp: &str) -> Slot {
        Slot {
            site: "global".into(),
            client_id: client.into(),
            corp_id: corp.into(),
        }
    }

    fn failure(code: &str) -> Failure {
        Failure {
            http_status: Some(403),
            ..Failure::of(look_up(&[code], 403).0)
        }
    }

    fn html() -> Failure {
        Failure {
            http_status: Some(403),
            html: true,
            ..Failure::of(look_up(&[], 403).0)
        }
    }

    /// Starts whatever may start, for a second; each call takes `latency`.
    fn calls_in_a_second(
        limits: &mut Limits,
        slots: &[Slot],
        latency: Duration,
        start: Instant,
    ) -> usize {
        let mut flying: Vec<(Instant, Slot)> = Vec::new();
        let mut calls = 0;
        for tick in 0..1000 {
            let now = start + Duration::from_millis(tick);
            flying.retain(|(end, slot)| {
                let over = *end <= now;
                if over {
                    limits.succeeded(slot);
                }
                !over
            });
            for slot in slots {
                if limits.admit(slot, now) == Admission::Now {
                    calls += 1;
                    flying.push((now + latency, slot.clone()));
                }
            }
        }
        calls
    }

    #[test]
    fn a_client_and_a_site_keep_their_rates() {
        let start = Instant::now();
        let corps: Vec<Slot> = (0..50).map(|n| slot("one", &n.to_string())).collect();
        let mut limits = Limits::new(Rates::default());
        assert_eq!(
            calls_in_a_second(&mut limits, &corps, Duration::from_millis(1), start),
            10
        );
        let clients: Vec<Slot> = (0..500).map(|n| slot(&n.to_string(), "corp")).collect();
        let mut limits = Limits::new(Rates::default());
        let calls = calls_in_a_second(&mut limits, &clients, Duration::from_millis(1), start);
        assert!((200..=250).contains(&calls), "{calls}");
    }

    #[test]
    fn four_are_in_flight_and_one_for_a_token() {
        let start = Instant::now();
        let corps: Vec<Slot> = (0..50).map(|n| slot("one", &n.to_string())).collect();
        let mut limits = Limits::new(Rates::default());
        assert_eq!(
            calls_in_a_second(&mut limits, &corps, Duration::from_secs(9), start),
            4
        );
        let mut limits = Limits::new(Rates::default());
        assert_eq!(limits.admit(&corps[0], start), Admission::Now);
        let later = start + Duration::from_secs(1);
        assert_eq!(limits.admit(&corps[0], later), Admission::AfterAnother);
        assert_eq!(limits.admit(&corps[1], later), Admission::Now);
    }

    #[test]
    fn a_pause_holds_back_its_scope_and_no_more() {
        let start = Instant::now();
        let minute = Duration::from_secs(60);
        let free = |scope, other: &Slot| {
            let mut limits = Limits::new(Rates::default());
            limits.pause(&slot("one", "corp"), scope, minute, start);
            assert_eq!(
                limits.admit(&slot("one", "corp"), start),
                Admission::At(start + minute)
            );
            limits.admit(other, start) == Admission::Now
        };
        assert!(!free(Scope::Corp, &slot("two", "corp")));
        assert!(free(Scope::Corp, &slot("one", "other")));
        assert!(!free(Scope::Client, &slot("one", "other")));
        assert!(free(Scope::Client, &slot("two", "corp")));
        assert!(!free(Scope::Site, &slot("two", "other")));
    }

    #[test]
    fn a_busy_site_is_called_less_and_then_more_again() {
        let start = Instant::now();
        let mut limits = Limits::new(Rates::default());
        let clients: Vec<Slot> = (0..500).map(|n| slot(&n.to_string(), "corp")).collect();
        for second in 0..5 {
            let at = start + Duration::from_secs(second);
            limits.failed(&clients[0], failure("systemBusy"), at);
        }
        let slow = calls_in_a_second(
            &mut limits,
            &clients,
            Duration::ZERO,
            start + Duration::from_secs(6),
        );
        assert!(slow <= 10, "{slow}");
        for minute in 1..10 {
            calls_in_a_second(
                &mut limits,
                &clients,
                Duration::ZERO,
                start + Duration::from_secs(60 * minute),
            );
        }
        let again = calls_in_a_second(
            &mut limits,
            &clients,
            Duration::ZERO,
            start + Duration::from_secs(700),
        );
        assert!(again >= 200, "{again}");
    }

    #[test]
    fn three_html_answers_in_a_row_are_a_ban() {
        let now = Instant::now();
        let mut limits = Limits::new(Rates::default());
        let call = slot("one", "corp");
        let mut reason = |answer: Option<Failure>| match answer {
            Some(failure) => Some(limits.failed(&call, failure, now).class),
            None => {
                limits.succeeded(&call);
                None
            }
        };
        assert_eq!(reason(Some(html())), Some(Class::User));
        assert_eq!(reason(Some(html())), Some(Class::User));
        assert_eq!(reason(None), None);
        assert_eq!(reason(Some(html())), Some(Class::User));
        assert_eq!(reason(Some(html())), Some(Class::User));
        assert_eq!(reason(Some(html())), Some(Class::Banned));
    }

    #[test]
    fn a_success_after_an_outage_says_so_once() {
        let now = Instant::now();
        let mut limits = Limits::new(Rates::default());
        let call = slot("one", "corp");
        assert!(!limits.succeeded(&call));
        for _ in 0..2 {
            limits.failed(&call, failure("server.error"), now);
        }
        assert!(!limits.succeeded(&call), "two failures are no outage");
        for _ in 0..3 {
            limits.failed(&call, failure("server.error"), now);
        }
        assert!(limits.succeeded(&call));
        assert!(!limits.succeeded(&call));
    }
}
