//! How often credentials are read.

use super::*;

/// Returns a world with this many apps, each with its first token, that have one Secret for their
/// credentials.
fn with_apps(seed: u64, count: usize) -> World {
    let mut world = with_credentials(seed, None);
    world.judges_writes = false;
    world.judges_fetches = false;
    for index in 0..count {
        let corp_id = format!("ding{index}");
        world.apply(&corp_id, &json!({"corpIds": [corp_id]}));
    }
    world.run(10 * MINUTE);
    read_times(&world, 1);
    world
}

fn read_times(world: &World, expected: usize) {
    let count = world.store.reads.get("credentials").copied();
    let is_right = count == Some(expected);
    holds(world, is_right, &format!("{count:?} reads of credentials"));
    let missing = world.without_token();
    holds(world, missing.is_empty(), &format!("no token: {missing:?}"));
}

/// There are more apps than are looked at at once: the last find credentials that fetches wait with.
#[test]
fn one_read_of_credentials_serves_every_fetch_that_waits_for_it() {
    for seed in seeds(20) {
        let mut world = with_apps(seed, 100);
        let clients = &mut world.site.clients;
        clients.insert("client".to_owned(), "next".to_owned());
        world.store.put_credentials("credentials", "client", "next");
        world.run(10 * MINUTE);
        read_times(&world, 2);
    }
}

/// Nothing is fetched with a Secret that was only touched.
#[test]
fn apps_that_look_at_changed_credentials_together_read_them_once() {
    for seed in seeds(20) {
        let mut world = with_apps(seed, 30);
        let store = &mut world.store;
        store.put_credentials("credentials", "client", "right");
        world.run(10 * MINUTE);
        read_times(&world, 2);
    }
}

/// Regression: a Secret that the operator may not read was read every five seconds.
#[test]
fn what_may_not_be_read_is_read_less_and_less_often_and_soon_after_a_change() {
    for seed in seeds(20) {
        let mut world = with_credentials(seed, None);
        let mut spec = json!({"referenceGrants": [{"namespace": NAMESPACE}]});
        world.apply("payroll", &spec);
        world.refer("one", "payroll", "copied");
        world.run(2 * MINUTE);
        world.die();
        world.note("admin: nothing may be read");
        world.store.tamper("payroll-token");
        world.store.read_refusal = Some(403);
        world.run(5 * MINUTE);
        let reads = |world: &World| world.store.reads["payroll-token"];
        let before = reads(&world);
        world.run(60 * MINUTE);
        let count = reads(&world) - before;
        // An app and a reference, each half a minute on average.
        let is_right = (120..400).contains(&count);
        holds(&world, is_right, &format!("{count} reads"));
        world.store.read_refusal = None;
        spec["renewBefore"] = json!("30m");
        let before = reads(&world);
        world.apply("payroll", &spec);
        world.run(Duration::from_secs(10));
        holds(&world, reads(&world) > before, "it is not read at once");
        at_rest(&mut world);
    }
}
