//! Wakes objects at wall-clock times.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;

/// Longest sleep. Timers stop while a machine sleeps and ignore changes of the clock, so the wall
/// clock must be read again.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

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

    /// Wakes each object at its time; never returns. `look` returns the time.
    pub(super) async fn run(&self, look: impl Fn() -> Timestamp, wake: impl Fn(&K)) {
        loop {
            let (due, wait) = self.due(look());
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::AppRef;

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
