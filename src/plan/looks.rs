//! How often a large app is looked at.

use jiff::{SignedDuration, Timestamp};

/// A look at an app costs as much as it has organisations. An app with a thousand is looked at once a
/// second, whatever happens to it, so that a thousand fetches do not cost a thousand looks at a thousand.
const PACE_FOR_EACH: SignedDuration = SignedDuration::from_millis(1);
/// A smaller app is looked at whenever something happens to it.
const LARGE: usize = 50;

/// The last look at an app.
#[derive(Debug, Default)]
pub struct Looks {
    last: Option<(Timestamp, Option<i64>)>,
}

impl Looks {
    /// Until when a look at a generation of an app with so many organisations waits; `None` if it does
    /// not, and counts as the last one.
    pub fn begin(
        &mut self,
        corps: usize,
        generation: Option<i64>,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let pace = PACE_FOR_EACH * i32::try_from(corps).unwrap_or(i32::MAX);
        // A clock that was set back would hold it up for as long.
        let last = self.last.filter(|(at, of)| *at <= now && *of == generation);
        let later = last
            .filter(|_| corps >= LARGE)
            .map(|(at, _)| at + pace)
            .filter(|at| *at > now);
        if later.is_none() {
            self.last = Some((now, generation));
        }
        later
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
        // A person does not wait, and a clock that is set holds nothing up.
        assert_eq!(looks.begin(1000, Some(2), at(1001)), None);
        assert_eq!(looks.begin(1000, Some(2), at(500)), None);
        for milli in 501..510 {
            assert_eq!(looks.begin(49, Some(2), at(milli)), None);
        }
    }
}
