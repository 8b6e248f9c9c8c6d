//! How many normal events the operator publishes.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::core::NoticeType;

/// Normal events that may be published at once, in all namespaces.
const BURST: u32 = 100;
/// Normal events that may be published at once in one namespace: it may use a fifth of the budget.
const NAMESPACE_BURST: u32 = BURST / 5;
/// Interval after which one more may be: 10,000 apps renew twice a second.
const INTERVAL: Duration = Duration::from_millis(200);
/// The same for one namespace.
const NAMESPACE_INTERVAL: Duration = Duration::from_secs(1);

/// The whole operator's budget for normal events, which refills with time, and a smaller one for
/// each namespace. The API server stores each event for an hour, and what is left out is in the
/// status as well.
#[derive(Debug, Default)]
pub(super) struct EventBudget {
    all: Budget,
    /// The budgets that are not full.
    namespaces: HashMap<String, Budget>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Budget {
    /// When it is full again.
    full_at: Option<Instant>,
}

impl Budget {
    /// Returns the budget after one more event; `None` if that is too much now.
    fn spent(self, burst: u32, interval: Duration, now: Instant) -> Option<Self> {
        let full_at = self.full_at.map_or(now, |at| at.max(now)) + interval;
        let is_enough = full_at.duration_since(now) <= interval * burst;
        is_enough.then_some(Self {
            full_at: Some(full_at),
        })
    }
}

impl EventBudget {
    /// Whether an event of this type may be published now. Warnings cost nothing: there is one for
    /// each change.
    pub(super) fn spend(&mut self, namespace: &str, type_: NoticeType, now: Instant) -> bool {
        if type_ == NoticeType::Warning {
            return true;
        }
        self.namespaces
            .retain(|_, budget| budget.full_at.is_some_and(|at| at > now));
        let own = self.namespaces.get(namespace).copied().unwrap_or_default();
        let own = own.spent(NAMESPACE_BURST, NAMESPACE_INTERVAL, now);
        let all = self.all.spent(BURST, INTERVAL, now);
        let Some((own, all)) = own.zip(all) else {
            return false;
        };
        self.namespaces.insert(namespace.to_owned(), own);
        self.all = all;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_events_have_a_budget_that_refills_and_warnings_need_none() {
        let mut budget = EventBudget::default();
        let start = Instant::now();
        let mut spend = |type_, now| {
            let namespaces = (0..1000).map(|n| format!("ns{}", n % 100));
            namespaces
                .filter(|namespace| budget.spend(namespace, type_, now))
                .count()
        };
        assert_eq!(spend(NoticeType::Normal, start), 100);
        assert_eq!(spend(NoticeType::Warning, start), 1000);
        let later = start + Duration::from_secs(1);
        assert_eq!(spend(NoticeType::Normal, later), 5);
        let much_later = start + Duration::from_secs(3600);
        assert_eq!(spend(NoticeType::Normal, much_later), 100);
    }

    #[test]
    fn one_namespace_leaves_events_to_the_others() {
        let mut budget = EventBudget::default();
        let start = Instant::now();
        let normal = NoticeType::Normal;
        let spent = (0..1000).filter(|_| budget.spend("hostile", normal, start));
        assert_eq!(spent.count(), 20);
        assert!(budget.spend("hr", normal, start));
        for second in 1..100 {
            let now = start + Duration::from_secs(second);
            let spent = (0..1000).filter(|_| budget.spend("hostile", normal, now));
            assert_eq!(spent.count(), 1);
            assert!(budget.spend("hr", normal, now), "{second} s");
        }
        budget.spend("hr", normal, start + Duration::from_secs(3600));
        assert_eq!(budget.namespaces.len(), 1, "full ones are not kept");
    }
}
