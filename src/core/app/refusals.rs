//! Calls that the API server refuses over and over.

use jiff::{SignedDuration, Timestamp};

use crate::core::token::backoff::delay;
use crate::core::token::schedule::Schedule;
use crate::dingtalk::Class;

/// Caps the backoff at a minute: nothing reports that a call would be accepted now.
const STREAK_MAX: u32 = 7;

/// The refusals of one kind of call about an object since the last one that was accepted.
#[derive(Debug, Default)]
pub(crate) struct Refusals(Option<Refused>);

#[derive(Debug)]
struct Refused {
    retry: Schedule,
    streak: u32,
    generation: Option<i64>,
}

impl Refusals {
    /// Records a refusal of a call for this generation of the spec, and returns when to retry.
    /// `random` is from 0 to 1, for the jitter.
    pub(crate) fn add(
        &mut self,
        generation: Option<i64>,
        random: f64,
        now: Timestamp,
    ) -> Timestamp {
        let streak = self.0.as_ref().map_or(1, |last| last.streak + 1);
        let streak = streak.min(STREAK_MAX);
        let wait = delay(Class::Transient, streak, random, None, None);
        let retry = Schedule::after(now, wait);
        self.0 = Some(Refused {
            retry,
            streak,
            generation,
        });
        retry.at
    }

    /// Records that a call was accepted, or that none is needed.
    pub(crate) fn end(&mut self) {
        self.0 = None;
    }

    /// Returns until when a call must wait; `None` if it need not, as after a change of the spec.
    pub(super) fn waits_until(&self, generation: Option<i64>, now: Timestamp) -> Option<Timestamp> {
        let last = self.0.as_ref();
        let last = last.filter(|it| it.generation == generation)?;
        Some(last.retry.at).filter(|at| *at > now)
    }

    /// Moves the times along with a clock that was set back by this much.
    pub(super) fn set_back(&mut self, by: SignedDuration) {
        if let Some(last) = &mut self.0 {
            last.retry.set_back(by);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    #[test]
    fn a_refused_call_waits_until_its_retry_or_a_change_of_the_spec() {
        let mut refusals = Refusals::default();
        assert_eq!(refusals.waits_until(Some(1), at(0)), None);
        let retry = refusals.add(Some(1), 0.5, at(0));
        assert!(retry > at(0));
        assert_eq!(refusals.waits_until(Some(1), at(0)), Some(retry));
        assert_eq!(refusals.waits_until(Some(1), retry), None);
        assert_eq!(refusals.waits_until(Some(2), at(0)), None);
        refusals.end();
        assert_eq!(refusals.waits_until(Some(1), at(0)), None);
    }

    #[test]
    fn a_clock_that_is_set_back_puts_off_no_retry() {
        let mut refusals = Refusals::default();
        let retry = refusals.add(None, 0.5, at(1000));
        let by = SignedDuration::from_secs(900);
        refusals.set_back(by);
        assert_eq!(refusals.waits_until(None, at(100)), Some(retry - by));
    }
}
