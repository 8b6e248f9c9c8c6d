//! When tokens are renewed, and when failed fetches are retried.

use super::*;

#[test]
fn the_pace_is_the_documented_one() {
    let minutes = |class: Class, streak| class.pace(streak).floor.as_secs() / 60;
    assert_eq!(
        [1, 2, 3, 4, 5, 50].map(|n| minutes(Class::User, n)),
        [5, 10, 20, 40, 60, 60]
    );
    assert_eq!(minutes(Class::Configuration, 1), 60);
    assert_eq!(minutes(Class::Quota, 1), 60);
    assert_eq!(minutes(Class::Banned, 9), 5);
    let most = |class: Class, streak| class.pace(streak).ceiling.as_secs();
    assert_eq!(
        [1, 2, 3, 7, 8].map(|n| most(Class::Transient, n)),
        [1, 2, 4, 60, 300]
    );
    assert_eq!([1, 5, 6].map(|n| most(Class::Unknown, n)), [1, 16, 900]);
    assert_eq!(
        [1, 2, 6, 9].map(|n| most(Class::Garbled, n)),
        [30, 60, 600, 600]
    );
    assert_eq!(
        [1, 2, 9].map(|n| most(Class::Throttled { per_minute: false }, n)),
        [3, 6, 60]
    );
    assert_eq!(delay(Class::Banned, 1, 0.0, Some(HOUR), None), HOUR);
}

#[test]
fn what_may_pass_is_tried_again_in_an_eighth_of_the_life_that_is_left() {
    for class in [
        Class::User,
        Class::Configuration,
        Class::Quota,
        Class::Throttled { per_minute: false },
        Class::Throttled { per_minute: true },
        Class::Banned,
        Class::Transient,
        Class::Unknown,
        Class::Garbled,
    ] {
        let is_hurried = matches!(class, Class::Transient | Class::Unknown | Class::Garbled);
        let wait = |left| delay(class, 9, 1.0, None, Some(Duration::from_secs(left)));
        let eighth = Duration::from_secs(10);
        assert_eq!(wait(80) == eighth, is_hurried, "{class:?}");
        assert_eq!(wait(1) == Duration::from_secs(1), is_hurried, "{class:?}");
        assert_eq!(wait(1_000_000), delay(class, 9, 1.0, None, None));
    }
}

#[test]
fn a_token_of_two_hours_is_renewed_after_eighty_minutes_and_a_little_earlier_by_jitter() {
    let lifetime = Lifetime {
        requested_at: at(0),
        expires_at: at(7200),
    };
    assert_eq!(renewal_at(lifetime, None, 0.0), at(4800));
    assert_eq!(renewal_at(lifetime, None, 1.0), at(4440));
    assert_eq!(
        renewal_at(lifetime, Some(Duration::from_secs(600)), 0.0),
        at(6600)
    );
    assert_eq!(
        renewal_at(lifetime, Some(HOUR * 5), 0.0),
        at(720),
        "nine tenths at most"
    );
    let clamped = |seconds| is_clamped(lifetime, Some(Duration::from_secs(seconds)));
    assert!(!clamped(3600) && !clamped(6480) && clamped(6481) && clamped(18_000));
    let bits = |uid: &str| jitter(uid, at(7200)).to_bits();
    assert_eq!(bits("u1"), bits("u1"), "the same after a restart");
    assert_ne!(bits("u1"), bits("u2"));
}

#[test]
fn a_clock_that_is_set_back_does_not_put_a_renewal_off_by_as_much() {
    let mut world = World::new();
    let outcome = Outcome::Token {
        life: 7200,
        fresh: true,
    };
    let settled = world.settle(&outcome);
    let before = only(&settled)
        .next_attempt
        .expect("planned")
        .duration_since(world.now);
    world.now -= SignedDuration::from_hours(24);
    let settled = world.settle(&outcome);
    let after = only(&settled)
        .next_attempt
        .expect("planned")
        .duration_since(world.now);
    assert_eq!(before, after);
    world.now += after + SignedDuration::from_secs(1);
    world.settle(&outcome);
    assert_eq!(world.attempts.len(), 2);
}

/// Regression: a clock that was set back by less than the token's age put the renewal off, possibly
/// past the token's end.
#[test]
fn a_clock_that_is_set_back_moves_a_renewal_planned_long_ago_with_it() {
    let mut world = World::new();
    let outcome = Outcome::Token {
        life: 7200,
        fresh: true,
    };
    let planned = only(&world.settle(&outcome)).next_attempt.expect("planned");
    world.now += SignedDuration::from_mins(60);
    let back = SignedDuration::from_mins(50);
    world.now -= back;
    world.memory.set_back(back);
    world.tokens.set_back(back);
    let settled = world.settle(&outcome);
    assert_eq!(only(&settled).next_attempt, Some(planned - back));
    assert_eq!(world.attempts.len(), 1);
}

/// Regression: a changed `renewBefore` was counted from the expiry by the former clock, possibly past
/// the token's end.
#[test]
fn a_changed_renew_before_counts_from_the_expiry_by_a_clock_that_was_set_back() {
    let back = SignedDuration::from_mins(50);
    for (is_suspended, is_noticed) in [(false, true), (true, true), (false, false)] {
        let mut world = World::new();
        world.app.spec.renew_before = Some("20m".into());
        let settled = world.settle(&FRESH);
        let jitter = jitter("u1", world.now + SignedDuration::from_secs(7200));
        let early = SignedDuration::from_secs_f64(jitter * 360.0);
        let expires_at = only(&settled).in_secret.expect("written").expires_at;
        world.app.spec.suspend = is_suspended;
        world.app.metadata.generation = Some(2);
        world.settle(&FRESH);
        if is_noticed {
            world.now += SignedDuration::from_mins(60);
            world.memory.set_back(back);
            world.tokens.set_back(back);
        }
        world.now -= back;
        world.settle(&FRESH);
        world.app.spec.suspend = false;
        world.app.spec.renew_before = Some("10m".into());
        world.app.metadata.generation = Some(3);
        let settled = world.settle(&FRESH);
        let planned = expires_at - back - SignedDuration::from_mins(10) - early;
        assert_eq!(
            only(&settled).next_attempt,
            Some(planned),
            "{is_suspended} {is_noticed}"
        );
        assert_eq!(world.attempts.len(), 1);
    }
}

#[test]
fn a_retry_planned_long_ago_moves_with_a_clock_that_is_set_back() {
    let mut world = World::new();
    let rejected = Outcome::Failure {
        row: 0,
        wait: None,
        random: 0.5,
    };
    let planned = only(&world.settle(&rejected))
        .next_attempt
        .expect("planned");
    let back = SignedDuration::from_mins(2);
    world.now += back * 2;
    world.now -= back;
    world.memory.set_back(back);
    world.tokens.set_back(back);
    let settled = world.settle(&rejected);
    assert_eq!(only(&settled).next_attempt, Some(planned - back));
}

#[test]
fn a_renewal_after_the_clock_was_set_back_records_the_life_that_it_brought() {
    let mut world = World::new();
    let token = |life| Outcome::Token { life, fresh: false };
    world.settle(&token(1563));
    world.now -= SignedDuration::from_secs(260_000);
    world.settle(&token(1));
    world.now += SignedDuration::from_secs(8067);
    // The same token and, by chance, the same expiry by the new clock.
    world.settle(&token(253_500));
    assert_eq!(world.attempts.len(), 2);
    let lifetime = world.held().expect("held").record.lifetime;
    assert_eq!(lifetime.requested_at, world.now);
    assert_eq!(lifetime.length(), SignedDuration::from_secs(253_500));
}

#[test]
fn a_token_that_lives_for_a_second_is_fetched_every_five_seconds() {
    let mut world = World::new();
    let short = Outcome::Token {
        life: 1,
        fresh: true,
    };
    world.settle(&short);
    for (seconds, fetches) in [(1, 1), (3, 1), (1, 2)] {
        world.now += SignedDuration::from_secs(seconds);
        world.settle(&short);
        assert_eq!(world.attempts.len(), fetches, "at {}", world.now);
    }
}
