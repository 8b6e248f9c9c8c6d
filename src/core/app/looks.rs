//! How often a large app, or a reference with many copies, is looked at.

use jiff::{SignedDuration, Timestamp};

/// A look costs as much as the app has corps. An app with a thousand is looked at once a second, so
/// that a thousand fetches do not cost a thousand looks at a thousand corps.
const PACE_FOR_EACH: SignedDuration = SignedDuration::from_millis(1);
/// Apps with fewer corps are looked at after every event.
const LARGE: i32 = 50;

/// How many times in a row a changed spec skips the wait; an app that changes all the time waits.
const HURRIED_MAX: u8 = 3;

/// The last look at an app.
#[derive(Debug, Default)]
pub(crate) struct Looks {
    last: Option<(Timestamp, Option<i64>)>,
    hurried: u8,
}

/// Returns the least time between two looks at `count` corps or copies.
pub(super) fn pace(count: usize) -> SignedDuration {
    match i32::try_from(count) {
        Ok(count) if count < LARGE => SignedDuration::ZERO,
        Ok(count) => PACE_FOR_EACH * count,
        Err(_) => PACE_FOR_EACH * i32::MAX,
    }
}

impl Looks {
    /// Returns until when a look must wait; `None` if it may begin, in which case it is recorded as
    /// the last one. `count` is the number of corps or copies.
    pub(crate) fn begin(
        &mut self,
        count: usize,
        generation: Option<i64>,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let pace = pace(count);
        // A last look in the future, before the clock was set back, would hold this one up.
        let last = self.last.filter(|(at, _)| *at <= now);
        let early = last.filter(|(at, _)| *at + pace > now);
        match early {
            None => self.hurried = 0,
            Some((_, of)) if of != generation && self.hurried < HURRIED_MAX => self.hurried += 1,
            Some((at, _)) => return Some(at + pace),
        }
        self.last = Some((now, generation));
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_app_is_looked_at_once_for_what_happens_in_a_burst_and_a_small_one_at_once() {
        let at = |milli| Timestamp::from_millisecond(milli).expect("a time");
        let mut looks = Looks::default();
        assert_eq!(looks.begin(1000, Some(1), at(0)), None);
        assert_eq!(looks.begin(1000, Some(1), at(10)), Some(at(1000)));
        assert_eq!(looks.begin(1000, Some(1), at(999)), Some(at(1000)));
        assert_eq!(looks.begin(1000, Some(1), at(1000)), None);
        // A changed spec does not wait, and a clock that is set back holds nothing up.
        assert_eq!(looks.begin(1000, Some(2), at(1001)), None);
        assert_eq!(looks.begin(1000, Some(2), at(500)), None);
        for milli in 501..510 {
            assert_eq!(looks.begin(49, Some(2), at(milli)), None);
        }
    }

    #[test]
    fn whoever_changes_a_large_app_all_the_time_waits() {
        let at = |milli| Timestamp::from_millisecond(milli).expect("a time");
        let mut looks = Looks::default();
        let looked =
            (0..10_000).filter(|milli| looks.begin(1000, Some(*milli), at(*milli)).is_none());
        assert_eq!(looked.count(), 40);
    }
}
