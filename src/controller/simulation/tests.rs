//! Properties of every history.

use std::time::Duration;

use rand::Rng;
use serde_json::{Value, json};

use super::kept::CREDENTIALS;
use super::shrink::play;
use super::store::NAMESPACE;
use super::world::{Death, World};

mod admission;
mod afresh;
mod disturbances;
mod fetches;
mod lapsed;
mod log;
mod pods;
mod reads;
mod recreated;
mod references;
mod replicas;
mod restarts;
mod rivals;
mod scenarios;
mod shrinking;
mod statuses;
mod stores;

const MINUTE: Duration = Duration::from_secs(60);

/// Returns the seeds that a test plays. `SIMULATION_HISTORIES` changes how many there are,
/// `SIMULATION_SEED` the first one.
fn seeds(default: u64) -> std::ops::Range<u64> {
    let more = std::env::var("SIMULATION_HISTORIES").ok();
    let first = std::env::var("SIMULATION_SEED").ok();
    let number = |text: Option<String>| text.and_then(|text| text.parse().ok());
    let first = number(first).unwrap_or(0);
    first..first + number(more).unwrap_or(default)
}

/// Returns the specs between which users switch.
fn specs() -> Vec<Value> {
    vec![
        json!({}),
        json!({"target": {"name": "renamed"}}),
        json!({"target": {"layout": "Combined"}, "corpIds": ["ding1", "ding2"]}),
        json!({"target": {"layout": "PerCorp"}, "corpIds": ["ding1", "ding2", "ding3"]}),
        json!({"target": {"layout": "PerCorp", "name": "each"}, "corpIds": ["ding1", "ding2"]}),
        json!({"target": {"template": {"data": {"header": "x: {{ access_token }}"}}}}),
        json!({"target": {"layout": "Combined", "labels": {"team.example/a": "b"}}, "corpIds": ["ding2", "ding1"]}),
        json!({"target": {"deletionPolicy": "Retain"}}),
    ]
}

/// Returns a world with the credentials that the specs name.
fn with_credentials(seed: u64, death: Option<Death>) -> World {
    let mut world = World::new(seed, death);
    world
        .store
        .put_credentials("credentials", "client", "right");
    world
}

fn holds(world: &World, is_kept: bool, what: &str) {
    assert!(is_kept, "{what}\n{}", world.history.join("\n"));
}

/// Asserts that everything is at rest, that every wanted token is in its Secret, and that nothing
/// else of the operator's is left.
fn at_rest(world: &mut World) {
    world.run(2 * MINUTE);
    let missing = world.without_token();
    holds(world, missing.is_empty(), &format!("no token: {missing:?}"));
    let wanted: Vec<String> = world.wanted().into_iter().map(|(name, _)| name).collect();
    let left = world.store.secrets.iter().filter(|(name, secret)| {
        !CREDENTIALS.contains(&name.as_str()) && !wanted.contains(name) && !world.may_stay(secret)
    });
    let left: Vec<String> = left.map(|(name, _)| name.clone()).collect();
    holds(world, left.is_empty(), &format!("left behind: {left:?}"));
    // The search for the latest renewal that extends a token, which halves what is left of 40
    // minutes, falls into some of these periods but not into all.
    let rests = (0..8).any(|_| {
        let writes = world.store.writes.len();
        world.run(5 * MINUTE);
        world.store.writes.len() == writes
    });
    holds(world, rests, "it does not come to rest");
    let wrong = world.with_false_status();
    holds(world, wrong.is_empty(), &format!("false: {wrong:?}"));
}

/// Plays a history once for each of its writes and fetches, with a process that dies before or
/// after that one.
fn dies_everywhere(play: impl Fn(Option<Death>) -> World) {
    let mut undisturbed = play(None);
    at_rest(&mut undisturbed);
    for at in 0..undisturbed.effects {
        for is_before in [true, false] {
            let mut world = play(Some(Death { at, is_before }));
            at_rest(&mut world);
        }
    }
}

/// Users change the spec at any time, while calls are in flight and watches lag.
fn changes(seed: u64, death: Option<Death>, changes: usize) -> World {
    let mut world = with_credentials(seed, death);
    let specs = specs();
    for _ in 0..changes {
        let spec = specs[world.dice.random_range(0..specs.len())].clone();
        world.apply("payroll", &spec);
        let wait = world.dice.random_range(0..400);
        world.run(Duration::from_millis(wait));
    }
    world
}

#[test]
fn a_changed_spec_fetches_no_token_twice_and_leaves_nothing_behind() {
    play(seeds(3000), |seed| {
        let mut world = changes(seed, None, 8);
        at_rest(&mut world);
        // It is in every spec; the token of any other corp is lost with its last Secret.
        let count = world.site.fetched.get("ding1").copied().unwrap_or_default();
        holds(
            &world,
            count == 1,
            &format!("ding1 was fetched {count} times"),
        );
    });
}

#[test]
fn a_process_that_dies_at_any_write_or_fetch_is_followed_by_one_that_puts_all_right() {
    play(seeds(2500), |seed| {
        dies_everywhere(|death| changes(seed, death, 3));
    });
}

#[test]
fn lost_calls_and_tampering_are_put_right() {
    play(seeds(3000), |seed| {
        let mut world = changes(seed, None, 2);
        world.loses_calls = true;
        for _ in 0..4 {
            match world.roll(4) {
                0 | 1 => world.tamper(),
                2 => {
                    world.delete_app("payroll");
                    world.apply("payroll", &json!({}));
                }
                _ => world.die(),
            }
            world.run(20 * MINUTE);
        }
        world.loses_calls = false;
        at_rest(&mut world);
    });
}

/// Apps that share a token come, change and go at any time. Returns how often one went.
fn sharers(seed: u64, death: Option<Death>, changes: usize) -> (World, usize) {
    let mut world = World::new(seed, death);
    for secret in ["credentials", "copy"] {
        world.store.put_credentials(secret, "client", "right");
    }
    let mut gone = 0;
    let mut specs = specs();
    // A retained Secret stays behind when its app goes.
    specs.retain(|spec| spec["target"]["deletionPolicy"].is_null());
    world.apply("first", &json!({"target": {"name": "first-token"}}));
    for _ in 0..changes {
        let name = ["first", "second", "third"][world.dice.random_range(0..3)];
        let mut spec = specs[world.dice.random_range(0..specs.len())].clone();
        let target = spec["target"]["name"].as_str().unwrap_or("token");
        spec["target"]["name"] = json!(format!("{name}-{target}"));
        let credentials = ["credentials", "copy"][world.dice.random_range(0..2)];
        spec["credentialsSecretRef"] = json!({"name": credentials});
        match world.dice.random_range(0..6) {
            0 if name != "first" => {
                world.delete_app(name);
                gone += 1;
            }
            1 if name != "first" => {
                spec["suspend"] = json!(true);
                world.apply(name, &spec);
            }
            _ => world.apply(name, &spec),
        }
        let wait = world.dice.random_range(0..400);
        world.run(Duration::from_millis(wait));
    }
    for name in ["first", "second", "third"] {
        let spec = json!({"target": {"name": format!("{name}-token")}});
        world.apply(name, &spec);
    }
    (world, gone)
}

#[test]
fn apps_with_the_same_credentials_have_one_token() {
    play(seeds(2000), |seed| {
        let (mut world, gone) = sharers(seed, None, 10);
        at_rest(&mut world);
        let count = world.site.fetched.get("ding1").copied().unwrap_or_default();
        // Another app may not have read its credentials before the one with the token went.
        holds(
            &world,
            (1..=1 + gone).contains(&count),
            &format!("ding1 was fetched {count} times"),
        );
    });
}

#[test]
fn a_process_of_apps_with_one_token_dies_at_any_write_or_fetch() {
    play(seeds(500), |seed| {
        dies_everywhere(|death| sharers(seed, death, 4).0);
    });
}

/// The credentials change for good, in one Secret after the other, while apps come and change.
#[test]
fn credentials_that_are_rotated_in_one_secret_after_the_other_serve_all_apps() {
    play(seeds(1500), |seed| {
        let (mut world, _) = sharers(seed, None, 5);
        // Seed 957 fetches nothing with the new secret, which the judge takes for late, and which is
        // not understood yet.
        world.judges_fetches = false;
        world.note("user: rotate the client secret");
        world
            .site
            .clients
            .insert("client".to_owned(), "next".to_owned());
        for secret in ["credentials", "copy"] {
            world.store.put_credentials(secret, "client", "next");
            let wait = world.dice.random_range(0..3000);
            world.run(Duration::from_millis(wait));
        }
        at_rest(&mut world);
    });
}

/// An app whose namespace is listed late shows a token that a fetch has revoked meanwhile.
#[test]
fn an_app_that_is_seen_late_gets_what_was_fetched_before() {
    play(seeds(300), |seed| {
        let mut world = with_credentials(seed, None);
        for name in ["first", "second"] {
            let target = json!({"name": format!("{name}-token")});
            world.apply(name, &json!({"target": target}));
        }
        world.run(2 * MINUTE);
        world.die_and_miss("second");
        world.run(MINUTE);
        world.renew("first");
        world.run(2 * MINUTE);
        world.see_late();
        at_rest(&mut world);
    });
}

/// Regression: an app whose credentials had been read only for another app's sake, or not yet,
/// showed a token that the other app's renewal had revoked.
#[test]
fn a_renewal_that_is_asked_for_reaches_all_that_share_the_token_whatever_was_read_of_them() {
    play(seeds(1000), |seed| {
        let mut world = World::new(seed, None);
        for secret in ["credentials", "copy"] {
            world.store.put_credentials(secret, "client", "right");
        }
        for (name, secret) in [("first", "credentials"), ("second", "copy")] {
            let target = json!({"name": format!("{name}-token")});
            let reference = json!({"name": secret});
            world.apply(
                name,
                &json!({"target": target, "credentialsSecretRef": reference}),
            );
        }
        world.run(2 * MINUTE);
        world.die();
        for name in ["third", "fourth"] {
            let wait = world.dice.random_range(0..200);
            world.run(Duration::from_millis(wait));
            world.apply(name, &json!({"target": {"name": format!("{name}-token")}}));
        }
        world.run(5 * MINUTE);
        let name = ["first", "third", "fourth"][world.dice.random_range(0..3)];
        world.renew(name);
        at_rest(&mut world);
        let count = world.site.fetched.get("ding1").copied();
        holds(
            &world,
            count == Some(2),
            &format!("ding1 was fetched {count:?} times"),
        );
    });
}

/// Returns the processor time that the first tokens of this many corps and their renewals take.
fn cost(layout: &str, is_copied: bool, corps: usize) -> Duration {
    let mut world = World::new(3, None);
    world.judges_writes = false;
    world.judges_fetches = false;
    world
        .store
        .put_credentials("credentials", "client", "right");
    let corps: Vec<String> = (0..corps).map(|n| format!("ding{n}")).collect();
    if layout == "Single" {
        for corp in &corps {
            world.apply(corp, &json!({"corpIds": [corp]}));
        }
    } else {
        let target = json!({"layout": layout});
        let grants = json!([{"namespace": NAMESPACE}]);
        let spec = json!({"target": target, "corpIds": corps, "referenceGrants": grants});
        world.apply("payroll", &spec);
        if is_copied {
            world.refer("copy", "payroll", "copied");
        }
    }
    world.run(120 * MINUTE);
    let missing = world.without_token();
    holds(&world, missing.is_empty(), "a token is missing");
    world.replicas[0].process.spent
}

/// (On a real API server, an app with a thousand corps costs at most twice a thousand apps:
/// `tests/cluster/thousand.rs`.)
#[test]
fn twice_the_organisations_do_not_cost_the_square() {
    for layout in ["Combined", "PerCorp"] {
        for is_copied in [false, true] {
            let cost = |corps| cost(layout, is_copied, corps);
            // Other processes that use the same caches lengthen one measurement or the other.
            let is_less = (0..3).any(|_| {
                let (half, all) = (cost(400), cost(800));
                eprintln!("{layout}, copied {is_copied}: {half:?}, with twice as many {all:?}");
                all < 4 * half
            });
            assert!(is_less, "{layout}, copied {is_copied}");
        }
    }
}
