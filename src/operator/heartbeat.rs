//! Detects stuck loops.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::lock::lock;

/// A loop is stuck after this long. Each loop iterates at least every 30 s.
const STILL_AFTER: Duration = Duration::from_secs(90);

/// Heartbeats of the loops without which no tokens are renewed.
#[derive(Debug, Default)]
pub struct Pulse {
    /// Loop that starts token requests.
    pub fetches: Heartbeat,
    /// Loop that reconciles apps when they are due.
    pub alarm: Heartbeat,
}

impl Pulse {
    /// Returns the name of a stuck loop, and the time since its last iteration.
    pub fn stands_still(&self, now: Instant) -> Option<(&'static str, Duration)> {
        let loops = [("fetches", &self.fetches), ("alarm", &self.alarm)];
        loops
            .into_iter()
            .find_map(|(name, heartbeat)| Some((name, heartbeat.stands_still(now)?)))
    }
}

/// Time of a loop's last iteration.
#[derive(Debug)]
pub struct Heartbeat(Mutex<Instant>);

impl Default for Heartbeat {
    fn default() -> Self {
        Self(Mutex::new(Instant::now()))
    }
}

impl Heartbeat {
    /// Records an iteration.
    pub fn beat(&self, now: Instant) {
        *lock(&self.0) = now;
    }

    /// Returns the time since the last iteration, if the loop is stuck.
    fn stands_still(&self, now: Instant) -> Option<Duration> {
        let last = *lock(&self.0);
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
