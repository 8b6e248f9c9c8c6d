//! The queue of token requests: a token's very first attempt comes first, then the nearest expiry,
//! as fast as the limits allow. Pure: the time is an argument.

use std::collections::{BTreeMap, HashSet};
use std::time::Instant;

use jiff::Timestamp;

use super::{Admission, Limits, Slot};

/// First attempts first (`None` sorts before any expiry), then by expiry, then in order of arrival.
type Rank = (Option<Timestamp>, u64);

/// See the module.
pub struct Queue<J> {
    jobs: BTreeMap<Rank, (Slot, J)>,
    arrived: u64,
}

impl<J> Default for Queue<J> {
    fn default() -> Self {
        Self {
            jobs: BTreeMap::new(),
            arrived: 0,
        }
    }
}

impl<J> Queue<J> {
    /// Adds a request; `expires_at` is when the token that it renews expires.
    pub fn push(&mut self, expires_at: Option<Timestamp>, slot: Slot, job: J) {
        self.arrived += 1;
        self.jobs.insert((expires_at, self.arrived), (slot, job));
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.jobs.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// Takes out the requests that the limits allow now, which count as started, and those that are
    /// not `wanted` any more, which cost nothing and hold nothing back.
    pub fn start(
        &mut self,
        limits: &mut Limits,
        wanted: impl Fn(&J) -> bool,
        now: Instant,
    ) -> Started<J> {
        let mut next: Option<Instant> = None;
        let (mut starting, mut unwanted) = (Vec::new(), Vec::new());
        let mut waiting: HashSet<(&str, &str)> = HashSet::new();
        for (rank, (slot, job)) in &self.jobs {
            // What one client_id has to wait for, its later requests wait for, too.
            let client = (slot.site.as_str(), slot.client_id.as_str());
            if waiting.contains(&client) {
                continue;
            }
            if !wanted(job) {
                unwanted.push(*rank);
                continue;
            }
            match limits.admit(slot, now) {
                Admission::Now => starting.push(*rank),
                Admission::At(at) => {
                    next = Some(next.map_or(at, |earlier| earlier.min(at)));
                    if limits.site_free_at(&slot.site).is_some_and(|at| at > now) {
                        break;
                    }
                    waiting.insert(client);
                }
                Admission::AfterAnother => {
                    waiting.insert(client);
                }
            }
        }
        let mut take = |ranks: Vec<Rank>| -> Vec<(Slot, J)> {
            let jobs = ranks.iter().filter_map(|rank| self.jobs.remove(rank));
            jobs.collect()
        };
        Started {
            starting: take(starting),
            unwanted: take(unwanted).into_iter().map(|(_, job)| job).collect(),
            next,
        }
    }
}

/// What [`Queue::start`] took out.
pub struct Started<J> {
    /// The requests to make now.
    pub starting: Vec<(Slot, J)>,
    /// The requests that nobody waits for any more.
    pub unwanted: Vec<J>,
    /// When another may be made; `None`: when something has finished or arrived.
    pub next: Option<Instant>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dingtalk::Rates;

    fn slot(client: &str) -> Slot {
        Slot {
            site: "global".into(),
            client_id: client.into(),
            corp_id: "ding1".into(),
        }
    }

    #[test]
    fn a_first_attempt_comes_first_then_the_nearest_expiry() {
        let at = |second| Some(Timestamp::from_second(second).expect("a time"));
        let mut queue = Queue::default();
        queue.push(at(20), slot("a"), "later");
        queue.push(at(10), slot("b"), "sooner");
        queue.push(None, slot("c"), "first");
        let (mut limits, mut now) = (Limits::new(Rates::default()), Instant::now());
        let mut order = Vec::new();
        while !queue.is_empty() {
            let started = queue.start(&mut limits, |_| true, now);
            order.extend(started.starting.into_iter().map(|(_, job)| job));
            now = started.next.unwrap_or(now);
        }
        assert_eq!(order, ["first", "sooner", "later"]);
    }

    #[test]
    fn what_nobody_waits_for_any_more_holds_nothing_back() {
        let mut queue = Queue::default();
        for _ in 0..3 {
            queue.push(None, slot("a"), "stale");
        }
        queue.push(None, slot("a"), "wanted");
        let (mut limits, now) = (Limits::new(Rates::default()), Instant::now());
        let started = queue.start(&mut limits, |job| *job == "wanted", now);
        assert_eq!(started.unwanted.len(), 3);
        assert_eq!(started.starting.len(), 1, "at once");
        assert!(queue.is_empty());
    }
}
