//! Wakes objects at wall-clock times.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;

use super::clock::Clock;
use crate::operator::{Heartbeat, Moment};

/// Longest sleep. Timers stop while a machine sleeps and ignore changes of the clock, so the wall
/// clock must be read again.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// Most that a slewed clock lags between two looks; more means that it was set back.
const SLEWED_MAX: SignedDuration = SignedDuration::from_secs(1);

struct Times<K> {
    by_time: BTreeMap<Turn, K>,
    by_key: HashMap<K, Turn>,
    set: u64,
}

/// A time, and a number that makes it unique.
type Turn = (Timestamp, u64);

/// The times at which to wake objects, which `K` names.
pub(super) struct Alarm<K> {
    times: Mutex<Times<K>>,
    earlier: Notify,
}

impl<K> Default for Alarm<K> {
    fn default() -> Self {
        let times = Times {
            by_time: BTreeMap::new(),
            by_key: HashMap::new(),
            set: 0,
        };
        Self {
            times: Mutex::new(times),
            earlier: Notify::new(),
        }
    }
}

impl<K: Clone + Eq + std::hash::Hash> Alarm<K> {
    /// Sets or clears the time of an object's next look.
    pub(super) fn set(&self, app: &K, at: Option<Timestamp>) {
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(old) = times.by_key.remove(app) {
            times.by_time.remove(&old);
        }
        let Some(at) = at else { return };
        times.set += 1;
        let turn = (at, times.set);
        times.by_key.insert(app.clone(), turn);
        times.by_time.insert(turn, app.clone());
        let is_first = times.by_time.keys().next() == Some(&turn);
        drop(times);
        if is_first {
            self.earlier.notify_one();
        }
    }

    /// Wakes each object at its time; never returns.
    pub(super) async fn run(&self, clock: &dyn Clock, heartbeat: &Heartbeat, wake: impl Fn(&K)) {
        let mut former = clock.now();
        loop {
            let now = clock.now();
            heartbeat.beat(now.monotonic);
            let (due, wait) = match is_set_back(former, now) {
                // All are woken, and each decides again when it is due.
                true => self.due(Timestamp::MAX),
                false => self.due(now.wall),
            };
            former = now;
            due.iter().for_each(&wake);
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.earlier.notified() => {}
            }
        }
    }

    /// Returns the objects that are due, and how long to wait for the next.
    pub(super) fn due(&self, now: Timestamp) -> (Vec<K>, Duration) {
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        let mut due = Vec::new();
        while let Some(first) = times.by_time.first_entry() {
            let (at, _) = *first.key();
            if at > now {
                let wait = at.duration_since(now).max(SignedDuration::from_millis(1));
                let wait = Duration::try_from(wait).unwrap_or(LOOK_AGAIN);
                return (due, wait.min(LOOK_AGAIN));
            }
            let key = first.remove();
            times.by_key.remove(&key);
            due.push(key);
        }
        (due, LOOK_AGAIN)
    }
}

fn is_set_back(former: Moment, now: Moment) -> bool {
    let by_wall = now.wall.duration_since(former.wall);
    let by_monotonic = now.monotonic.saturating_duration_since(former.monotonic);
    let by_monotonic = SignedDuration::try_from(by_monotonic).unwrap_or(SignedDuration::MAX);
    by_wall < by_monotonic - SLEWED_MAX
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::AppRef;

    #[test]
    fn a_clock_that_is_set_back_is_noticed_and_one_that_stood_still_is_none() {
        let former = Moment::now();
        let after = |wall: i64, monotonic: u64| Moment {
            wall: former.wall + SignedDuration::from_secs(wall),
            monotonic: former.monotonic + Duration::from_secs(monotonic),
        };
        for (wall, monotonic, expected) in [
            (30, 30, false),
            (29, 30, false),
            (28, 30, true),
            (-3600, 30, true),
            // The machine slept, or the clock was set forward.
            (3600, 30, false),
        ] {
            let found = is_set_back(former, after(wall, monotonic));
            assert_eq!(found, expected, "{wall} {monotonic}");
        }
    }

    #[test]
    fn an_app_is_due_once_and_only_at_its_last_time() {
        let alarm = Alarm::default();
        let app = AppRef::new("payroll").within("hr");
        let at = |second| Timestamp::from_second(second).expect("a time");
        alarm.set(&app, Some(at(10)));
        alarm.set(&app, Some(at(20)));
        assert_eq!(alarm.due(at(15)), (vec![], Duration::from_secs(5)));
        assert_eq!(alarm.due(at(20)), (vec![app.clone()], LOOK_AGAIN));
        assert_eq!(alarm.due(at(30)), (vec![], LOOK_AGAIN));
        alarm.set(&app, Some(at(10_000)));
        assert_eq!(
            alarm.due(at(0)).1,
            LOOK_AGAIN,
            "a clock that jumps is noticed"
        );
    }
}
