//! Credentials that have not fetched a token yet.

use super::*;

#[test]
fn wrong_secrets_use_up_no_rate_of_the_client_that_they_name() {
    let mut world = World::new(|call| match call.credentials.fingerprint {
        right if right == fingerprint(&call.client_id, "right") => Ok(()),
        _ => Err(failure("invalid.client", 400)),
    });
    for client in 0..25 {
        let victim = call("calm", &format!("client{client}"), "v");
        world.prove(std::slice::from_ref(&victim));
        for corp in 0..1000 {
            let client_id = format!("client{client}");
            let corp_id = corp.to_string();
            world.push(
                with_secret("hostile", &client_id, &corp_id, "wrong"),
                Rank::First,
            );
        }
        for corp in 0..10 {
            world.push(
                call("calm", &format!("client{client}"), &corp.to_string()),
                expiry(0),
            );
        }
    }
    world.run(2 * SECOND);
    assert_eq!(
        world.begun(|call| *call.namespace == *"calm"),
        250,
        "at the site's own pace"
    );
    let tried = world.begun(|call| *call.namespace == *"hostile");
    assert!(tried <= 25, "{tried}");
    assert_eq!(
        tried + world.rejected_too,
        25 * 1000,
        "told at once what is wrong"
    );
    assert!(world.scheduler.is_empty());
}

#[test]
fn unproven_credentials_that_fail_have_a_small_budget() {
    let mut world = World::new(|call| match &*call.namespace {
        "hostile" => Err(failure("invalidCorpId", 400)),
        _ => Ok(()),
    });
    for number in 0..2000 {
        let client_id = format!("client{number}");
        world.push(
            with_secret("hostile", &client_id, "1", "wrong"),
            Rank::First,
        );
    }
    world.run(10 * SECOND);
    let tried = world.calls.len();
    assert!(
        (40..=61).contains(&tried),
        "{tried}: 40 at once, then two a second"
    );
    // Each namespace has its own budget.
    let before = world.now - world.start;
    world.push(call("calm", "new", "1"), Rank::First);
    world.run(SECOND);
    let served = world.at(|call| *call.namespace == *"calm");
    let waited = served.expect("served").saturating_sub(before);
    assert!(waited <= SECOND / 10, "{waited:?}");
}

#[test]
fn what_unproven_credentials_are_told_holds_back_unproven_ones_only() {
    let mut world = World::new(|call| match &*call.namespace {
        "hostile" => Err(failure("90010", 200)),
        _ => Ok(()),
    });
    world.prove(&[call("calm", "one", "0")]);
    world.push(with_secret("hostile", "one", "0", "wrong"), Rank::First);
    world.run(SECOND);
    for call in numbered("calm", "one", 3) {
        world.push(call, expiry(0));
    }
    world.push(with_secret("hostile", "one", "1", "wrong"), Rank::First);
    world.run(SECOND);
    assert_eq!(world.begun(|call| *call.namespace == *"calm"), 3);
    assert_eq!(world.begun(|call| *call.namespace == *"hostile"), 1);
}

/// After a start, no credentials are proven.
#[test]
fn what_unproven_credentials_are_told_holds_back_no_other_namespace() {
    for code in ["90010", "90005", "90017"] {
        let mut world = World::new(|call| match &*call.namespace {
            "hostile" => Err(failure(code, 200)),
            _ => Ok(()),
        });
        world.push(with_secret("hostile", "one", "0", "wrong"), Rank::First);
        world.run(SECOND);
        for call in numbered("calm", "one", 3) {
            world.push(call, expiry(0));
        }
        world.run(5 * SECOND);
        assert_eq!(world.begun(|call| *call.namespace == *"calm"), 3, "{code}");
    }
}

/// Regression: it counted as unproven until its line was empty.
#[test]
fn a_request_that_waits_for_a_pause_is_proven_with_its_credentials() {
    let mut world = World::new(
        |call| match (&*call.corp_id, call.credentials.fingerprint) {
            (_, wrong) if wrong == fingerprint("one", "wrong") => Err(failure("90010", 200)),
            ("0", _) => Err(failure("90005", 200)),
            _ => Ok(()),
        },
    );
    let banned = |call: &Call| *call.corp_id == *"0";
    for _ in 0..2 {
        world.push(call("x", "one", "0"), Rank::First);
        world.run(SECOND);
    }
    assert_eq!(
        world.begun(banned),
        1,
        "the other waits for the end of the ban"
    );
    world.push(call("x", "one", "1"), Rank::First);
    world.run(MINUTE);
    // This holds back what is unproven, for longer than the ban.
    world.push(with_secret("x", "one", "2", "wrong"), Rank::First);
    world.run(4 * MINUTE + SECOND);
    assert_eq!(world.begun(banned), 2);
}

/// Regression: the next pause of all others was as long as the last one of these.
#[test]
fn throttles_of_unproven_credentials_lengthen_no_pause_of_others() {
    for is_proven in [true, false] {
        let is_throttled = std::cell::Cell::new(true);
        let mut world = World::new(|call| match &*call.namespace {
            "calm" if !is_throttled.replace(false) => Ok(()),
            _ => Err(failure("QpsLimitForAppkeyAndApi", 403)),
        });
        if is_proven {
            world.prove(&[call("calm", "one", "0")]);
        }
        for corp in ["1", "2", "3", "4", "5", "6"] {
            world.push(with_secret("hostile", "one", corp, "wrong"), Rank::First);
            world.run(MINUTE);
        }
        for corp in ["1", "2"] {
            world.push(call("calm", "one", corp), expiry(0));
            world.run(2 * SECOND);
        }
        let served = world.begun(|call| *call.namespace == *"calm");
        assert_eq!(served, 2, "proven {is_proven}");
    }
}

#[test]
fn a_rotated_secret_is_proven_by_its_former_contents() {
    let mut scheduler: Scheduler<()> = Scheduler::new(Rates::default());
    let old = call("x", "one", "0");
    let new = Call {
        credentials: CredentialsId {
            fingerprint: fingerprint("one", "rotated"),
            ..old.credentials.clone()
        },
        ..old.clone()
    };
    assert!(!scheduler.is_proven(&old));
    scheduler.succeeded(&old, Instant::now());
    assert!(scheduler.is_proven(&old) && scheduler.is_proven(&new));
    let elsewhere = Call {
        site: "china".into(),
        ..old
    };
    assert!(!scheduler.is_proven(&elsewhere));
    assert!(!scheduler.is_proven(&with_secret("y", "one", "0", "guessed")));
}
