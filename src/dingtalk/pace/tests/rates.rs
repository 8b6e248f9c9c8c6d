//! Rates and numbers in flight, by themselves.

use super::*;
use crate::dingtalk::pace::rates::{Budget, Gate, SiteRate, Spacing, interval};

/// Returns the time from one request to the next at this rate.
fn spacing(rate: &mut SiteRate, now: Instant) -> Duration {
    let rates = Rates {
        in_flight_per_site: u32::MAX,
        per_site: 100,
        ..Rates::default()
    };
    rate.begin(&rates, now);
    rate.end();
    match rate.gate(&rates, now) {
        Gate::Until(at) => at - now,
        gate => panic!("{gate:?}"),
    }
}

#[test]
fn requests_are_spaced_and_so_many_are_in_flight() {
    let now = Instant::now();
    assert_eq!(interval(10), SECOND / 10);
    assert_eq!(interval(0), SECOND);
    let mut spacing = Spacing::default();
    assert_eq!(spacing.gate(2, now), Gate::Open);
    assert!(spacing.is_idle(now));
    spacing.begin(SECOND, now);
    assert_eq!(spacing.gate(2, now), Gate::Until(now + SECOND));
    assert_eq!(spacing.gate(2, now + SECOND), Gate::Open);
    assert!(!spacing.is_idle(now + SECOND), "one is in flight");
    spacing.begin(SECOND, now + SECOND);
    assert_eq!(spacing.gate(2, now + 2 * SECOND), Gate::Busy);
    spacing.end();
    assert_eq!(spacing.gate(2, now + 2 * SECOND), Gate::Open);
    spacing.end();
    assert!(!spacing.is_idle(now + SECOND), "the next has to wait");
    assert!(spacing.is_idle(now + 2 * SECOND));
}

#[test]
fn a_budget_refills_with_time_and_no_further_than_it_is() {
    let now = Instant::now();
    let mut budget = Budget::default();
    assert!(budget.is_full(now));
    for _ in 0..3 {
        assert_eq!(budget.gate(2 * SECOND, now), Gate::Open);
        budget.spend(SECOND, now);
    }
    assert_eq!(budget.gate(2 * SECOND, now), Gate::Until(now + SECOND));
    assert_eq!(budget.gate(2 * SECOND, now + SECOND), Gate::Open);
    assert!(!budget.is_full(now + 2 * SECOND));
    assert!(budget.is_full(now + 3 * SECOND));
    // What was not spent for a long time is not saved up.
    budget.spend(SECOND, now + MINUTE);
    assert!(!budget.is_full(now + MINUTE));
    assert!(budget.is_full(now + MINUTE + SECOND));
}

#[test]
fn a_site_that_has_answered_gets_more_at_once_until_it_has_been_silent_for_ten_seconds() {
    let now = Instant::now();
    let rates = Rates {
        per_site: u32::MAX,
        in_flight_per_site: 18,
        ..Rates::default()
    };
    // Returns how many may be in flight.
    let fills = |rate: &mut SiteRate, now: Instant| {
        let mut begun = 0;
        while rate.gate(&rates, now + MINUTE) == Gate::Open {
            rate.begin(&rates, now);
            begun += 1;
        }
        (0..begun).for_each(|_| rate.end());
        begun
    };
    let mut rate = SiteRate::default();
    assert_eq!(fills(&mut rate, now), 16);
    rate.succeeded(now);
    assert_eq!(fills(&mut rate, now), 17);
    for _ in 0..5 {
        rate.succeeded(now);
    }
    assert_eq!(fills(&mut rate, now), 18, "no more than configured");
    let almost = now + Duration::from_millis(9999);
    assert_eq!(fills(&mut rate, almost), 18);
    assert_eq!(fills(&mut rate, now + 10 * SECOND), 16);
}

#[test]
fn a_namespace_has_half_of_the_room_that_the_others_leave_and_always_some() {
    let now = Instant::now();
    let rates = Rates {
        in_flight_per_site: 10,
        ..Rates::default()
    };
    let mut rate = SiteRate::default();
    let begin = |rate: &mut SiteRate, count: u32| {
        (0..count).for_each(|_| rate.begin(&rates, now));
    };
    begin(&mut rate, 4);
    assert!(rate.has_room(&rates, 4), "all are its own");
    begin(&mut rate, 1);
    assert!(!rate.has_room(&rates, 5));
    begin(&mut rate, 1);
    assert!(rate.has_room(&rates, 2), "the others' four leave six");
    begin(&mut rate, 1);
    assert!(!rate.has_room(&rates, 3));
    begin(&mut rate, 20);
    assert!(rate.has_room(&rates, 0));
    assert!(!rate.has_room(&rates, 1));
}

#[test]
fn a_busy_site_is_called_half_as_often_each_second_and_twice_as_often_every_ten() {
    let mut now = Instant::now();
    let mut rate = SiteRate::default();
    let usual = interval(100);
    assert_eq!(spacing(&mut rate, now), usual);
    rate.slow_down(now);
    rate.slow_down(now + Duration::from_millis(999));
    assert_eq!(spacing(&mut rate, now), 2 * usual);
    // That second began with the last response that said so.
    now += Duration::from_millis(1999);
    for _ in 0..10 {
        rate.slow_down(now);
        now += SECOND;
    }
    assert_eq!(spacing(&mut rate, now), 64 * usual);
    let almost = now + Duration::from_millis(8999);
    assert_eq!(spacing(&mut rate, almost), 64 * usual);
    now += 9 * SECOND;
    for slowdown in [32, 16, 8, 4, 2, 1, 1] {
        assert_eq!(spacing(&mut rate, now), slowdown * usual);
        assert_eq!(spacing(&mut rate, now + 9 * SECOND), slowdown * usual);
        now += 10 * SECOND;
    }
}
