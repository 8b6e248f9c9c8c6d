//! Sites that are down.

use super::*;

#[test]
fn an_outage_is_probed_twice_a_second_at_most_and_its_end_wakes_all() {
    for namespaces in [1, 3] {
        let is_down = std::cell::Cell::new(true);
        let mut world = World::new(|_| match is_down.get() {
            true => Err(failure("server.error", 500)),
            false => Ok(()),
        });
        let apps: Vec<Call> = (0..1000)
            .map(|number| {
                call(
                    &format!("n{}", number % namespaces),
                    &format!("c{number}"),
                    "1",
                )
            })
            .collect();
        world.prove(&apps);
        world.run(3 * SECOND);
        for app in &apps {
            world.push(app.clone(), expiry(0));
        }
        world.run(MINUTE);
        let probes = world.calls.len();
        assert!(
            probes <= 120,
            "{probes} calls in a minute, for {namespaces} namespaces"
        );
        is_down.set(false);
        world.run(5 * SECOND);
        let served = world.calls.len() - probes;
        assert_eq!(served + probes, 1000, "{namespaces} namespaces");
        let Some(recovery) = world.recovered.first() else {
            panic!("it is told");
        };
        assert_eq!(recovery.reach == Reach::Site, namespaces > 1);
    }
}

#[test]
fn few_that_wait_for_a_site_that_is_down_are_tried_as_often_as_it_is_probed() {
    let unreachable = || Failure::of(&UNREACHABLE);
    let mut world = World::new(|_| Err(unreachable()));
    for number in 0..5 {
        world.push(call("x", &format!("c{number}"), "1"), Rank::First);
    }
    world.run(5 * SECOND);
    let told: Vec<bool> = world
        .heard
        .iter()
        .map(|(_, is_site_down)| *is_site_down)
        .collect();
    assert_eq!(told, [false, false, true, true, true]);
    // If the site responds and only one namespace fails, the cause may be its corps.
    let mut world = World::new(|_| Err(failure("server.error", 500)));
    for number in 0..5 {
        world.push(call("x", &format!("c{number}"), "1"), Rank::First);
    }
    world.run(5 * SECOND);
    assert!(world.heard.iter().all(|(_, is_site_down)| !is_site_down));
}

/// Regression: it waited until another request arrived.
#[test]
fn the_first_that_an_outage_holds_back_probes_it_at_once() {
    let mut world = World::new(|_| Err(Failure::of(&UNREACHABLE)));
    world.latency = Duration::from_millis(1);
    for number in 0..4 {
        world.push(call("x", &format!("c{number}"), "1"), Rank::First);
    }
    world.run(SECOND);
    assert_eq!(world.calls.len(), 4);
}

/// Regression: the scheduler asked all the time to be called again, though it could start nothing.
#[test]
fn a_probe_without_room_waits_for_those_that_hang() {
    let mut world = World::new(|_| Err(Failure::of(&UNREACHABLE)));
    for number in 0..30 {
        world.push(call("x", &format!("c{number}"), "1"), Rank::First);
    }
    world.run(SECOND);
    world.latency = 10 * SECOND;
    let before = world.calls.len();
    world.run(9 * SECOND);
    assert_eq!(
        world.calls.len() - before,
        8,
        "half of what a site is called at first"
    );
    world.run(SECOND * 3);
    assert!(world.calls.len() - before > 8);
}

#[test]
fn corps_that_fail_while_others_do_not_are_no_outage() {
    let mut world = World::new(|call| match call.corp_id.starts_with("bad") {
        true => Err(failure("server.error", 500)),
        false => Ok(()),
    });
    world.prove(&[call("x", "one", "good0")]);
    let bad = |number: usize| call("x", "one", &format!("bad{number}"));
    for number in 0..10 {
        world.push(bad(number), Rank::First);
        world.push(call("x", "one", &format!("good{number}")), Rank::First);
    }
    world.run(3 * SECOND);
    assert!(world.recovered.is_empty());
    // They were already failing at the last success, so their failures say nothing about the site.
    for number in 0..10 {
        world.push(bad(number), Rank::Retry);
    }
    world.run(SECOND);
    world.push(call("x", "one", "good10"), expiry(0));
    world.run(SECOND);
    assert!(world.recovered.is_empty(), "{:?}", world.recovered);
    assert_eq!(world.calls.len(), 31, "none was held back");
}

/// Regression: a success elsewhere ended the outage silently, so that the corps which had failed
/// waited for their own backoff.
#[test]
fn whoever_reaches_a_site_ends_the_outage_of_those_who_did_not() {
    let mut world = World::new(|_| Ok(()));
    for corp_id in ["1", "2", "3"] {
        let unreachable = Failure::of(&UNREACHABLE);
        let call = call("x", "one", corp_id);
        world.scheduler.failed(&call, unreachable, None, world.now);
    }
    let other = call("y", "two", "1");
    let recovered = world.scheduler.succeeded(&other, world.now + SECOND);
    let recovery = Recovery {
        reach: Reach::Client("one".into()),
        since: world.now,
    };
    assert_eq!(recovered, [recovery]);
    let recovered = world.scheduler.succeeded(&other, world.now + SECOND);
    assert!(recovered.is_empty(), "once");
}
