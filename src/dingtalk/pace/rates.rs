//! How fast a site may be called: calls are spaced evenly, without bursts, since a burst on top of
//! the rate would reach what DingTalk throttles, which is twice the default here.

use std::time::{Duration, Instant};

/// A busy site is called half as often each time, down to this part of the rate.
const SLOWDOWN_MAX: u32 = 64;
/// A site that has not been busy for this long is called twice as often again.
const SLOWDOWN_HOLD: Duration = Duration::from_secs(10);
/// Calls in flight to a site that has not answered lately. Each success allows one more.
const WINDOW_START: u32 = 16;
/// After so long without a success, nothing is known of how much a site takes.
const WINDOW_IDLE: Duration = Duration::from_secs(10);

/// The rates that are kept.
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    /// Calls per second with one `client_id`; 20 are allowed.
    pub per_client: u32,
    /// Calls in flight with one `client_id`.
    pub in_flight_per_client: u32,
    /// Calls per second to one site; its ban begins at 500.
    pub per_site: u32,
    /// Calls in flight to one site.
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

/// Whether a call may start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    /// It may.
    Open,
    /// Not before then.
    Until(Instant),
    /// Not before another call has finished.
    Busy,
    /// It is in an outage, and goes when it is its turn to probe it.
    Held,
}

impl Gate {
    /// Open from a time on.
    pub(super) fn from(at: Option<Instant>, now: Instant) -> Self {
        at.filter(|at| *at > now).map_or(Self::Open, Self::Until)
    }

    /// The other gate, where this one is open.
    pub(super) fn then(self, other: impl FnOnce() -> Self) -> Self {
        match self {
            Self::Open => other(),
            closed => closed,
        }
    }
}

/// The calls of one `client_id`, spaced and counted.
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

/// Failures that may happen at once, and how fast they are forgotten.
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

/// The calls of a whole site.
#[derive(Debug)]
pub(super) struct SiteRate {
    spacing: Spacing,
    slowdown: u32,
    slowed_at: Option<Instant>,
    window: u32,
    succeeded_at: Option<Instant>,
}

impl Default for SiteRate {
    fn default() -> Self {
        Self {
            spacing: Spacing::default(),
            slowdown: 0,
            slowed_at: None,
            window: WINDOW_START,
            succeeded_at: None,
        }
    }
}

impl SiteRate {
    pub(super) fn gate(&self, rates: &Rates, now: Instant) -> Gate {
        self.spacing.gate(self.window(rates), now)
    }

    /// So many calls may be in flight: as many as the site has answered, within the limit.
    fn window(&self, rates: &Rates) -> u32 {
        self.window.min(rates.in_flight_per_site).max(1)
    }

    /// Whether a namespace with so many calls in flight may have another: at most half of what the
    /// others leave, so that there is room for the next one, however long calls hang.
    pub(super) fn has_room(&self, rates: &Rates, in_flight: u32) -> bool {
        let others = self.spacing.in_flight.saturating_sub(in_flight);
        in_flight < (self.window(rates).saturating_sub(others) / 2).max(1)
    }

    pub(super) fn begin(&mut self, rates: &Rates, now: Instant) {
        let is_idle = |at: Instant| now.duration_since(at) >= WINDOW_IDLE;
        if self.succeeded_at.is_none_or(is_idle) {
            self.window = WINDOW_START;
        }
        self.recover(now);
        let interval = interval(rates.per_site) * (1 << self.slowdown);
        self.spacing.begin(interval, now);
    }

    pub(super) fn end(&mut self) {
        self.spacing.end();
    }

    pub(super) fn succeeded(&mut self, rates: &Rates, now: Instant) {
        self.succeeded_at = Some(now);
        self.window = self.window(rates).saturating_add(1);
    }

    /// When the site gave a token last.
    pub(super) fn succeeded_at(&self) -> Option<Instant> {
        self.succeeded_at
    }

    /// The site is busy.
    pub(super) fn slow_down(&mut self, now: Instant) {
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

/// The time between two calls.
pub(super) fn interval(per_second: u32) -> Duration {
    Duration::from_secs(1) / per_second.max(1)
}
