//! Bans and throttles pause exactly the requests that they apply to.

use super::*;

#[test]
fn a_paused_corp_holds_back_neither_its_client_nor_its_namesake() {
    let mut world = World::new(|call| match (&*call.client_id, &*call.corp_id) {
        ("one", "0") => Err(failure("90005", 200)),
        _ => Ok(()),
    });
    world.prove(&[call("x", "one", "1"), call("y", "two", "1")]);
    world.push(call("x", "one", "0"), Rank::First);
    world.run(SECOND / 10);
    for call in numbered("x", "one", 3) {
        world.push(call, Rank::First);
    }
    world.push(call("y", "two", "0"), Rank::First);
    world.run(SECOND);
    assert_eq!(
        world.begun(|call| *call.client_id == *"one" && *call.corp_id != *"0"),
        2
    );
    assert_eq!(world.begun(|call| *call.client_id == *"two"), 1);
    assert_eq!(
        world.begun(|call| *call.client_id == *"one" && *call.corp_id == *"0"),
        1
    );
    world.run(5 * MINUTE);
    assert_eq!(
        world.begun(|call| *call.client_id == *"one" && *call.corp_id == *"0"),
        2
    );
}

#[test]
fn a_banned_site_holds_back_no_other_site() {
    let elsewhere = |mut call: Call| {
        call.site = "china".into();
        call
    };
    let mut world = World::new(|call| match &*call.site {
        "global" => Err(failure("90001", 200)),
        _ => Ok(()),
    });
    for (namespace, client_id) in [("x", "a"), ("y", "b"), ("y", "c")] {
        world.prove(&[call(namespace, client_id, "1")]);
    }
    world.run(5 * SECOND);
    for (namespace, client_id) in [("x", "a"), ("y", "b")] {
        world.push(call(namespace, client_id, "1"), expiry(0));
    }
    world.run(SECOND);
    assert_eq!(world.calls.len(), 2, "two namespaces have heard of it");
    world.push(call("y", "c", "1"), expiry(0));
    for number in 0..20 {
        world.push(elsewhere(call("x", &format!("e{number}"), "1")), expiry(9));
    }
    world.run(SECOND);
    assert_eq!(world.begun(|call| *call.site == *"global"), 2);
    assert_eq!(world.begun(|call| *call.site == *"china"), 20);
    world.run(5 * MINUTE);
    assert_eq!(
        world.begun(|call| *call.site == *"global"),
        3,
        "the ban has ended"
    );
}

#[test]
fn one_namespace_cannot_have_a_site_counted_as_banned() {
    for code in ["90001", "html"] {
        let mut world = World::new(|call| match &*call.namespace {
            "hostile" if code == "html" => Err(html()),
            "hostile" => Err(failure(code, 200)),
            _ => Ok(()),
        });
        for number in 0..20 {
            let hostile = call("hostile", &format!("h{number}"), "1");
            world.prove(std::slice::from_ref(&hostile));
            world.push(hostile, Rank::First);
        }
        world.run(SECOND);
        for number in 0..20 {
            world.push(call("calm", &format!("c{number}"), "1"), expiry(0));
        }
        world.run(SECOND);
        assert_eq!(world.begun(|call| *call.namespace == *"calm"), 20, "{code}");
        let tried = world.begun(|call| *call.namespace == *"hostile");
        assert!(tried <= 4, "{code}: {tried} calls while banned");
    }
}

#[test]
fn three_html_answers_in_a_row_are_a_ban_of_those_who_got_them() {
    let mut world = World::new(|_| Err(html()));
    world.prove(&[call("x", "one", "0")]);
    for _ in 0..3 {
        world.push(call("x", "one", "0"), Rank::Retry);
        world.run(SECOND);
    }
    let classes: Vec<Class> = world.heard.iter().map(|(heard, _)| heard.class).collect();
    assert_eq!(classes, [Class::User, Class::User, Class::Banned]);
    world.answer = Box::new(|_| Ok(()));
    world.push(call("x", "one", "1"), Rank::Retry);
    world.run(SECOND);
    assert_eq!(world.calls.len(), 4, "another corp goes on");
}

#[test]
fn a_corp_that_is_always_throttled_slows_nobody() {
    let mut world = World::new(|call| match &*call.corp_id {
        "bad" => Err(failure("systemBusy", 429)),
        _ => Ok(()),
    });
    world.prove(&[call("x", "one", "bad"), call("y", "two", "bad")]);
    for round in 0..20 {
        world.push(call("x", "one", "bad"), Rank::Retry);
        world.push(call("y", "two", "bad"), Rank::Retry);
        for number in 0..50 {
            world.push(call("x", &format!("r{round}n{number}"), "1"), expiry(0));
        }
        world.run(SECOND);
    }
    assert_eq!(
        world.begun(|call| *call.corp_id != *"bad"),
        1000,
        "none waits for a second"
    );
}

#[test]
fn a_site_that_is_busy_for_several_namespaces_is_called_less_and_then_more_again() {
    let is_busy = std::cell::Cell::new(true);
    let mut world = World::new(|_| match is_busy.get() {
        true => Err(failure("systemBusy", 429)),
        false => Ok(()),
    });
    let mut next = 0;
    let mut second = |world: &mut World<'_>| {
        let before = world.calls.len();
        for _ in 0..300 {
            next += 1;
            let namespace = ["x", "y"][next % 2];
            let call = call(namespace, &format!("c{next}"), "1");
            world.push(call, Rank::Retry);
        }
        world.run(SECOND);
        world.calls.len() - before
    };
    is_busy.set(false);
    second(&mut world);
    assert!(second(&mut world) > 100);
    let all: Vec<Call> = world.calls.iter().map(|(_, call)| call.clone()).collect();
    // Only proven credentials slow the site down.
    is_busy.set(true);
    for call in all {
        world.push(call, expiry(0));
    }
    for _ in 0..8 {
        world.run(SECOND);
    }
    let slow = second(&mut world);
    assert!(slow <= 10, "{slow}");
    is_busy.set(false);
    for _ in 0..120 {
        second(&mut world);
    }
    assert!(second(&mut world) >= 200);
}

#[test]
fn a_throttled_client_waits_and_the_wait_is_its_own() {
    let code = "Forbidden.AccessDenied.QpsLimitForAppkeyAndApi";
    let mut world = World::new(|call| match &*call.corp_id {
        "bad" => Err(failure(code, 403)),
        _ => Ok(()),
    });
    world.prove(&[call("x", "one", "0")]);
    for round in 0..30 {
        world.push(call("x", "one", "bad"), Rank::Retry);
        world.run(SECOND / 4);
        world.push(call("x", "one", &format!("good{round}")), expiry(0));
        world.run(SECOND * 7 / 4);
        let served = world.begun(|call| call.corp_id.starts_with("good"));
        assert_eq!(
            served,
            round + 1,
            "the pause does not grow while others succeed"
        );
    }
}
