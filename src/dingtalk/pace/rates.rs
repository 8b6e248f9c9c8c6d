//! Rate limits. Requests are spaced evenly: DingTalk throttles at twice the default rate, which a burst
//! would reach.

use std::time::{Duration, Instant};

/// Each time a site is busy, its rate is halved, down to the configured rate divided by this.
const SLOWDOWN_MAX: u32 = 64;
/// The rate is doubled again after a site has not been busy for this long.
const SLOWDOWN_HOLD: Duration = Duration::from_secs(10);
/// Initial limit for requests in flight to a site. Each success raises the limit by one.
const WINDOW_START: u32 = 16;
/// The limit for requests in flight is reset after this long without a success.
const WINDOW_IDLE: Duration = Duration::from_secs(10);

/// Configured rate limits.
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    /// Requests per second with one `client_id`; DingTalk allows 20.
    pub per_client: u32,
    /// Requests in flight with one `client_id`.
    pub in_flight_per_client: u32,
    /// Requests per second to one site; DingTalk bans an address at 500.
    pub per_site: u32,
    /// Requests in flight to one site.
    pub in_flight_per_site: u32,
}

impl Default for Rates {
    fn default() -> Self {
        Self {
            per_client: 10,
            in_flight_per_client: 4,
            per_site: 250,
            in_flight_per_site: 256,
        }
    }
}

/// Whether a request may start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    /// It may start now.
    Open,
    /// It must wait until this time.
    Until(Instant),
    /// It must wait for another request to end.
    Busy,
    /// It must wait for its turn to probe an outage.
    Held,
}

impl Gate {
    /// Returns a gate that opens at `at`; open if that is `None` or has passed.
    pub(super) fn from(at: Option<Instant>, now: Instant) -> Self {
        at.filter(|at| *at > now).map_or(Self::Open, Self::Until)
    }

    /// Returns this gate if it is closed, or else `other`.
    pub(super) fn then(self, other: impl FnOnce() -> Self) -> Self {
        match self {
            Self::Open => other(),
            closed => closed,
        }
    }
}

/// Spaces requests evenly and counts those in flight.
#[derive(Debug, Default)]
pub(super) struct Spacing {
    next_free: Option<Instant>,
    in_flight: u32,
}

impl Spacing {
    pub(super) fn gate(&self, in_flight_max: u32, now: Instant) -> Gate {
        if self.in_flight >= in_flight_max {
            return Gate::Busy;
        }
        Gate::from(self.next_free, now)
    }

    pub(super) fn begin(&mut self, interval: Duration, now: Instant) {
        self.next_free = Some(now + interval);
        self.in_flight += 1;
    }

    pub(super) fn end(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    pub(super) fn is_idle(&self, now: Instant) -> bool {
        self.in_flight == 0 && self.next_free.is_none_or(|at| at <= now)
    }
}

/// Budget for failures, which refills with time.
#[derive(Debug, Default)]
pub(super) struct Budget {
    spent_until: Option<Instant>,
}

impl Budget {
    pub(super) fn gate(&self, burst: Duration, now: Instant) -> Gate {
        let open = self.spent_until.and_then(|until| until.checked_sub(burst));
        Gate::from(open, now)
    }

    pub(super) fn spend(&mut self, cost: Duration, now: Instant) {
        self.spent_until = Some(self.spent_until.map_or(now, |until| until.max(now)) + cost);
    }

    pub(super) fn is_full(&self, now: Instant) -> bool {
        self.spent_until.is_none_or(|until| until <= now)
    }
}

/// Rate limit of a site, which adapts to its responses.
#[derive(Debug, Default)]
pub(super) struct SiteRate {
    spacing: Spacing,
    slowdown: u32,
    slowed_at: Option<Instant>,
    /// Successes without an idle time of [`WINDOW_IDLE`] in between.
    successes: u32,
    succeeded_at: Option<Instant>,
}

impl SiteRate {
    pub(super) fn gate(&self, rates: &Rates, now: Instant) -> Gate {
        self.spacing.gate(self.window(rates), now)
    }

    /// Returns the current limit for requests in flight: it grows with each success, up to the configured
    /// limit.
    fn window(&self, rates: &Rates) -> u32 {
        let window = WINDOW_START.saturating_add(self.successes);
        window.min(rates.in_flight_per_site).max(1)
    }

    /// Whether a namespace with this many requests in flight may start another. It may use half of what
    /// the other namespaces leave, so that there is always room for the next namespace, even if requests
    /// hang.
    pub(super) fn has_room(&self, rates: &Rates, in_flight: u32) -> bool {
        let others = self.spacing.in_flight.saturating_sub(in_flight);
        in_flight < (self.window(rates).saturating_sub(others) / 2).max(1)
    }

    pub(super) fn begin(&mut self, rates: &Rates, now: Instant) {
        let is_idle = |at: Instant| now.duration_since(at) >= WINDOW_IDLE;
        if self.succeeded_at.is_none_or(is_idle) {
            self.successes = 0;
        }
        self.recover(now);
        let interval = interval(rates.per_site) * (1 << self.slowdown);
        self.spacing.begin(interval, now);
    }

    pub(super) fn end(&mut self) {
        self.spacing.end();
    }

    pub(super) fn succeeded(&mut self, now: Instant) {
        self.succeeded_at = Some(now);
        self.successes = self.successes.saturating_add(1);
    }

    pub(super) fn succeeded_at(&self) -> Option<Instant> {
        self.succeeded_at
    }

    /// Halves the rate, since the site is busy.
    pub(super) fn slow_down(&mut self, now: Instant) {
        // Responses to requests that were in flight together count once.
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

pub(super) fn interval(per_second: u32) -> Duration {
    Duration::from_secs(1) / per_second.max(1)
}
