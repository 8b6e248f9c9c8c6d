//! Tokens over many lifetimes, for each way in which DingTalk may answer a repeated fetch.

mod resumed;
mod world;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use crate::api::{AppRef, Cause};
use crate::core::token::attempt::Former;
use crate::core::token::renewals::Renewals;
use crate::core::*;
use crate::dingtalk::{AccessToken, Failure, Fingerprint, TokenResponse, UNREACHABLE};

use world::World;

const MINUTE: i64 = 60;
const TWO_HOURS: i64 = 7200;
/// How long every response takes.
const LATENCY: SignedDuration = SignedDuration::from_millis(150);

/// How a fetch within a token's lifetime is answered.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    SameExtended,
    SameRemaining,
    NewOverlap,
    NewRevoked,
    /// Returns the same token until this many seconds of its lifetime are left, then a new one.
    SameThenOverlap(i64),
}

const WAYS: [Way; 4] = [
    Way::SameExtended,
    Way::SameRemaining,
    Way::NewOverlap,
    Way::NewRevoked,
];

/// Returns how many calls a hundred lifetimes take.
fn calls(way: Way) -> usize {
    let mut world = World::new(way, TWO_HOURS);
    let calls = world.run(100);
    assert!(world.is_never_hasty(), "{way:?}");
    match way {
        Way::SameRemaining => assert!(world.gaps.iter().all(|gap| gap.as_secs() <= 2)),
        _ => assert_eq!(world.gaps, [], "{way:?}"),
    }
    calls
}

#[test]
fn each_way_is_served_without_a_gap_that_it_does_not_force_and_with_few_calls() {
    let usual = |way| {
        let calls = calls(way);
        // From 1.50 for each lifetime, without jitter, to 1.62.
        assert!((150..=163).contains(&calls), "{way:?}: {calls}");
    };
    usual(Way::SameExtended);
    usual(Way::NewOverlap);
    usual(Way::NewRevoked);
    usual(Way::SameThenOverlap(60 * MINUTE));
    // Six that extend nothing in the first lifetime, and a probe in every 32 of the others.
    let remaining = calls(Way::SameRemaining);
    assert!((106..=110).contains(&remaining), "{remaining}");
}

#[test]
fn a_new_token_in_the_last_minutes_only_is_found_for_any_number_of_minutes() {
    for last in 2..=30 {
        let way = Way::SameThenOverlap(last * MINUTE);
        let mut world = World::new(way, TWO_HOURS);
        let first = world.run(1);
        assert!(first <= 7, "{last}: {first}");
        // What is learned is kept: one for each lifetime, which the early renewal shortens.
        let later = world.run(64);
        let renewals = 64 * 120 / (120 - last) + 1;
        assert!(
            i64::try_from(later).expect("few") <= renewals + 5 + 2,
            "{last}: {later}"
        );
        assert_eq!(world.gaps, [], "{last}");
        assert!(world.is_never_hasty(), "{last}");
        assert!(matches!(world.renewals(), Renewals::Late { .. }));
    }
}

#[test]
fn a_search_halves_what_is_left_until_two_minutes_and_then_waits_for_expiry() {
    let mut world = World::new(Way::SameRemaining, TWO_HOURS);
    world.step();
    let lefts: Vec<i64> = (0..7).map(|_| world.step()).collect();
    assert!((40 * MINUTE..=46 * MINUTE).contains(&lefts[0]), "{lefts:?}");
    for pair in lefts[..5].windows(2) {
        assert!((pair[1] * 2 - pair[0]).abs() <= 2, "{lefts:?}");
    }
    assert_eq!(lefts[5], 110, "{lefts:?}");
    assert_eq!(lefts[6], -1, "{lefts:?}");
    assert_eq!(world.step(), -1, "no search in the second lifetime");
}

#[test]
fn a_search_that_begins_in_the_last_minutes_tries_the_latest_useful_time() {
    let at = |second| Timestamp::from_second(second).expect("a time");
    let lifetime = Lifetime {
        requested_at: at(0),
        expires_at: at(1000),
    };
    let next = |left: i64| {
        let renew_before = Some(Duration::from_secs(left.unsigned_abs()));
        let usual = Renewals::Usual;
        usual.repeated(lifetime, renew_before, 0.0, at(1000 - left), false)
    };
    for (left, expected) in [
        (300, 150),
        (242, 121),
        (239, 110),
        (150, 110),
        (121, 110),
        (120, 60),
        (60, 30),
    ] {
        let left_then = SignedDuration::from_secs(expected);
        let late = Renewals::Late {
            left: left_then,
            lifetimes: 0,
        };
        assert_eq!(next(left), late, "{left}");
    }
}

#[test]
fn a_short_life_is_halved_once() {
    let mut world = World::new(Way::SameRemaining, 120);
    world.step();
    let lefts: Vec<i64> = (0..4).map(|_| world.step()).collect();
    assert!((40..=46).contains(&lefts[0]), "{lefts:?}");
    assert!((19..=23).contains(&lefts[1]), "{lefts:?}");
    assert_eq!(lefts[2..], [-1, -1]);
}

#[test]
fn a_learnt_time_that_does_not_help_any_more_is_halved_from_there() {
    let mut world = World::new(Way::SameThenOverlap(15 * MINUTE), TWO_HOURS);
    world.run(5);
    world.way = Way::SameThenOverlap(6 * MINUTE);
    let calls = world.run(1);
    assert!(calls <= 3, "{calls}");
    world.way = Way::SameRemaining;
    let calls = world.run(5);
    assert!(calls <= 5 + 3, "{calls}");
    assert!(matches!(world.renewals(), Renewals::AfterExpiry { .. }));
    // The opposite is found out as well, by a probe in at most 33 lifetimes.
    world.way = Way::SameThenOverlap(6 * MINUTE);
    world.run(35);
    world.gaps.clear();
    world.run(35);
    assert_eq!(world.gaps, []);
    world.way = Way::NewOverlap;
    world.run(35);
    assert_eq!(world.renewals(), Renewals::Usual);
}

#[test]
fn a_renewal_that_brings_nothing_at_the_learnt_time_halves_what_is_left() {
    let at = |second| Timestamp::from_second(second).expect("a time");
    let lifetime = Lifetime {
        requested_at: at(0),
        expires_at: at(TWO_HOURS),
    };
    let late = |left: i64| Renewals::Late {
        left: SignedDuration::from_secs(left),
        lifetimes: 0,
    };
    let next = |left: i64| late(600).repeated(lifetime, None, 0.0, at(TWO_HOURS - left), false);
    assert_eq!(next(601), late(600), "it came before that time");
    assert_eq!(next(600), late(300));
    assert_eq!(next(598), late(299));
}

#[test]
fn a_fetch_on_request_teaches_nothing_by_bringing_nothing() {
    let mut world = World::new(Way::SameThenOverlap(45 * MINUTE), TWO_HOURS);
    world.run(1);
    world.now += SignedDuration::from_mins(20);
    for _ in 0..3 {
        world.fetch();
        world.now += SignedDuration::from_secs(30);
    }
    assert_eq!(world.renewals(), Renewals::Usual);

    let mut world = World::new(Way::SameThenOverlap(6 * MINUTE), TWO_HOURS);
    world.run(3);
    let learnt = world.renewals();
    let next = world.next();
    world.now += SignedDuration::from_mins(20);
    world.fetch();
    assert!(matches!((learnt, world.renewals()),
        (Renewals::Late { left: one, .. }, Renewals::Late { left: other, .. }) if one == other));
    assert_eq!(world.next(), next);
}

#[test]
fn an_outage_during_the_learnt_minutes_does_not_start_another_search() {
    let mut world = World::new(Way::SameThenOverlap(6 * MINUTE), TWO_HOURS);
    world.run(3);
    let learnt = world.renewals();
    let next = world.next();
    world.now = next;
    let pending = world.queue();
    let failure = Failure::of(&UNREACHABLE);
    let attempt = FailedAttempt {
        failure,
        life_left: None,
        is_site_down: false,
        random: 0.5,
    };
    world.tokens.failed(&pending, attempt, next);
    world.now = world.expires_at().expect("held") + SignedDuration::from_mins(1);
    world.fetch();
    let left = |renewals| match renewals {
        Renewals::Late { left, .. } => Some(left),
        _ => None,
    };
    assert_eq!(left(world.renewals()), left(learnt));
    let calls = world.run(10);
    assert!(calls <= 11, "{calls}");
}

#[test]
fn a_later_renew_before_is_obeyed_and_an_earlier_one_is_not_tried_before_the_probe() {
    let mut world = World::new(Way::SameThenOverlap(15 * MINUTE), TWO_HOURS);
    world.run(3);
    world.renew_before = Some(Duration::from_secs(60 * 60));
    let calls = world.run(10);
    assert!(calls <= 11, "{calls}");
    world.renew_before = Some(Duration::from_secs(5 * 60));
    world.step();
    world.step();
    assert_eq!(world.renewals(), Renewals::Usual);
    assert_eq!(world.gaps, []);
}

/// The search arrives one second too early for the two minutes in which this site returns a new
/// token.
#[test]
fn a_renewal_at_the_very_edge_is_tried_again_a_little_later() {
    let mut world = World::new(Way::SameThenOverlap(2 * MINUTE), 12_992);
    world.renew_before = Some(Duration::from_secs(7168));
    world.run(60);
    assert_eq!(world.gaps, []);
}

proptest! {
    #[test]
    fn whatever_the_life_and_the_way_calls_are_few_and_gaps_short(
        way in prop_oneof![
            proptest::sample::select(WAYS.to_vec()),
            (2..=30_i64).prop_map(|last| Way::SameThenOverlap(last * MINUTE)),
        ],
        life in 60..20_000_i64,
        renew_before in proptest::option::of(1..8000_u64),
    ) {
        let mut world = World::new(way, life);
        world.renew_before = renew_before.map(Duration::from_secs);
        let calls = world.run(60);
        prop_assert!(world.is_never_hasty());
        let forced = match way {
            Way::SameRemaining => SignedDuration::from_secs(6),
            _ => SignedDuration::ZERO,
        };
        // With lifetimes of a few minutes, a new token within the last two minutes is only found by
        // luck.
        let is_found = match way {
            Way::SameThenOverlap(_) => life >= 10 * MINUTE && world.renew_before.is_none_or(|it| it.as_secs() >= 120),
            _ => world.renew_before.is_none_or(|it| it.as_secs() >= 6),
        };
        if is_found {
            prop_assert!(world.gaps.iter().all(|gap| *gap <= forced), "{:?}", world.gaps);
        }
        // The shortest interval between renewals, a search, and the probes.
        let before = world.renew_before.map_or(life / 3, |it| i64::try_from(it.as_secs()).unwrap_or(life));
        let interval = life - before.min(life * 9 / 10) - life / 20 - 1;
        let most = 60 * life / interval.max(5) + 10 + 6;
        prop_assert!(i64::try_from(calls).unwrap_or(i64::MAX) <= most, "{calls} of {most}");
    }
}

/// The table of docs/operating.md: calls in a month of 360 lifetimes, after learning.
#[test]
fn calls_a_month_are_what_the_documentation_says() {
    let last = |minutes| Way::SameThenOverlap(minutes * MINUTE);
    for (way, renew_before, documented) in [
        (Way::SameExtended, None, 560),
        (Way::NewOverlap, None, 560),
        (Way::NewRevoked, None, 560),
        (Way::SameRemaining, None, 370),
        (last(30), None, 450),
        (last(5), None, 380),
        (last(2), None, 380),
        (Way::SameExtended, Some(10), 400),
        (Way::SameExtended, Some(60), 760),
        (Way::SameExtended, Some(108), 4800),
        (Way::SameRemaining, Some(10), 370),
        (Way::SameRemaining, Some(60), 370),
        (last(5), Some(10), 380),
        (last(5), Some(60), 380),
    ] {
        let mut world = World::new(way, TWO_HOURS);
        world.renew_before = renew_before.map(|minutes: u64| Duration::from_secs(minutes * 60));
        let first = world.run(360);
        let calls = world.run(360);
        assert!(
            calls.abs_diff(documented) * 50 <= documented,
            "{way:?}, {renew_before:?}: {calls}"
        );
        assert!(first <= calls + 10, "{way:?}, {renew_before:?}: {first}");
    }
}
