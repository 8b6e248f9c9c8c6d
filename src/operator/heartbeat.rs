//! Signs of life of the loops that everything depends on.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Each loop goes round every 30 s at the latest; three missed rounds are no hiccup.
const STILL_AFTER: Duration = Duration::from_secs(90);

/// The loops, each of which fetches or renews nothing any more when it stands still.
#[derive(Debug, Default)]
pub struct Pulse {
    /// The one that lets token requests go.
    pub fetches: Heartbeat,
    /// The one that wakes apps at their times.
    pub alarm: Heartbeat,
}

impl Pulse {
    /// The loop that stands still, and for how long.
    pub fn stands_still(&self, now: Instant) -> Option<(&'static str, Duration)> {
        let loops = [("fetches", &self.fetches), ("alarm", &self.alarm)];
        loops
            .into_iter()
            .find_map(|(name, heartbeat)| Some((name, heartbeat.stands_still(now)?)))
    }
}

/// When a loop went round last.
#[derive(Debug)]
pub struct Heartbeat(Mutex<Instant>);

impl Default for Heartbeat {
    fn default() -> Self {
        Self(Mutex::new(Instant::now()))
    }
}

impl Heartbeat {
    /// The loop goes round.
    pub fn beat(&self, now: Instant) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }

    /// For how long the loop has stood still, if that is too long.
    fn stands_still(&self, now: Instant) -> Option<Duration> {
        let last = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let silence = now.saturating_duration_since(last);
        (silence > STILL_AFTER).then_some(silence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_that_misses_three_rounds_stands_still() {
        let (pulse, start) = (Pulse::default(), Instant::now());
        pulse.fetches.beat(start);
        pulse.alarm.beat(start);
        assert_eq!(pulse.stands_still(start + STILL_AFTER), None);
        let silence = Duration::from_secs(91);
        pulse.alarm.beat(start + silence);
        let found = pulse.stands_still(start + silence);
        assert_eq!(found, Some(("fetches", silence)));
        pulse.fetches.beat(start + silence);
        assert_eq!(pulse.stands_still(start + silence), None);
    }
}
