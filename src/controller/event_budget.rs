//! How many normal events the operator publishes.

use std::time::{Duration, Instant};

use crate::core::NoticeType;

/// Normal events that may be published at once.
const BURST: u32 = 100;
/// Interval after which one more may be: 10,000 apps renew twice a second.
const INTERVAL: Duration = Duration::from_millis(200);

/// The whole operator's budget for normal events, which refills with time. The API server stores
/// each event for an hour, and what is left out is in the status as well.
#[derive(Debug, Default)]
pub(super) struct EventBudget {
    /// When it is full again.
    full_at: Option<Instant>,
}

impl EventBudget {
    /// Whether an event of this type may be published now. Warnings cost nothing: there is one for
    /// each change.
    pub(super) fn spend(&mut self, type_: NoticeType, now: Instant) -> bool {
        if type_ == NoticeType::Warning {
            return true;
        }
        let full_at = self.full_at.map_or(now, |at| at.max(now)) + INTERVAL;
        let is_enough = full_at.duration_since(now) <= INTERVAL * BURST;
        if is_enough {
            self.full_at = Some(full_at);
        }
        is_enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_events_have_a_budget_that_refills_and_warnings_need_none() {
        let mut budget = EventBudget::default();
        let start = Instant::now();
        let mut spend = |type_, now| (0..1000).filter(|_| budget.spend(type_, now)).count();
        assert_eq!(spend(NoticeType::Normal, start), 100);
        assert_eq!(spend(NoticeType::Warning, start), 1000);
        let later = start + Duration::from_secs(1);
        assert_eq!(spend(NoticeType::Normal, later), 5);
        let much_later = start + Duration::from_secs(3600);
        assert_eq!(spend(NoticeType::Normal, much_later), 100);
    }
}
