//! How often a large app, or a reference with many copies, is looked at.

use jiff::{SignedDuration, Timestamp};

/// A look costs as much as the app has corps. An app with a thousand is looked at once a second, so
/// that a thousand fetches do not cost a thousand looks at a thousand corps.
const PACE_FOR_EACH: SignedDuration = SignedDuration::from_millis(1);
/// Apps with fewer corps are looked at after every event.
const LARGE: usize = 50;

/// How many times in a row a changed spec skips the wait; an app that changes all the time waits.
const HURRIED_MAX: u8 = 3;

/// The last look at an app.
#[derive(Debug, Default)]
pub(crate) struct Looks {
    last: Option<(Timestamp, Option<i64>)>,
    hurried: u8,
    due: Option<Timestamp>,
}

impl Looks {
    /// Lets a look begin at this time, however recent the last one is.
    pub(super) fn begin_at(&mut self, at: Timestamp) {
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    /// Returns until when a look must wait; `None` if it may begin, in which case it is recorded as
    /// the last one. `count` is the number of corps or copies.
    pub(crate) fn begin(
        &mut self,
        count: usize,
        generation: Option<i64>,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let pace = PACE_FOR_EACH * i32::try_from(count).unwrap_or(i32::MAX);
        let is_due = self.due.take_if(|due| *due <= now).is_some();
        // A last look in the future, before the clock was set back, would hold this one up.
        let last = self
            .last
            .filter(|(at, _)| count >= LARGE && *at <= now && !is_due);
        let early = last.filter(|(at, _)| *at + pace > now);
        match early {
            None => self.hurried = 0,
            Some((_, of)) if of != generation && self.hurried < HURRIED_MAX => self.hurried += 1,
            Some((at, _)) => return self.due.into_iter().chain([at + pace]).min(),
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
    fn what_is_due_at_a_time_of_its_own_does_not_wait() {
        let at = |milli| Timestamp::from_millisecond(milli).expect("a time");
        let mut looks = Looks::default();
        assert_eq!(looks.begin(1000, None, at(0)), None);
        looks.begin_at(at(700));
        assert_eq!(looks.begin(1000, None, at(10)), Some(at(700)));
        assert_eq!(looks.begin(1000, None, at(700)), None);
        assert_eq!(looks.begin(1000, None, at(701)), Some(at(1700)), "once");
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
