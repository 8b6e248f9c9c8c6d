//! Admission plugins: refusals, quotas, and webhooks that change what is written.

use super::*;
use crate::api::{LABEL_MANAGED_BY, LABEL_OWNER_UID, Reason};

#[test]
fn a_token_is_never_fetched_again_for_a_write_that_is_refused() {
    let refusals = ["exceeded quota", "denied the request"];
    play(seeds(500), |seed| {
        let mut world = with_credentials(seed, None);
        world.store.refusal = Some(refusals[world.roll(2)]);
        let specs = specs();
        for _ in 0..4 {
            let spec = specs[world.roll(specs.len())].clone();
            world.apply("payroll", &spec);
            let seconds = world.dice.random_range(0..300);
            world.run(Duration::from_secs(seconds));
        }
        world.store.refusal = None;
        at_rest(&mut world);
        let count = world.site.fetched.get("ding1").copied();
        holds(
            &world,
            count == Some(1),
            &format!("ding1 was fetched {count:?} times"),
        );
    });
}

/// The namespace has no room for a new Secret until somebody makes some.
#[test]
fn a_full_namespace_loses_no_token_and_all_is_right_once_there_is_room() {
    play(seeds(500), |seed| {
        let mut world = with_credentials(seed, None);
        world.apply("payroll", &json!({}));
        world.run(MINUTE);
        let room = world.store.secrets.len() + world.roll(3);
        world.note(&format!("admin: room for {room} Secrets"));
        world.store.quota = Some(room);
        let specs = specs();
        for _ in 0..6 {
            let spec = specs[world.roll(specs.len())].clone();
            world.apply("payroll", &spec);
            let millis = world.dice.random_range(0..90_000);
            world.run(Duration::from_millis(millis));
            let works = world.store.secrets.values().any(|secret| {
                let mut values = secret.data.values();
                values.any(|value| world.site.is_valid("ding1", value, world.now()))
            });
            holds(&world, works, "no Secret has the token of ding1");
        }
        world.note("admin: room for all");
        world.store.quota = None;
        at_rest(&mut world);
        let count = world.site.fetched.get("ding1").copied();
        holds(
            &world,
            count == Some(1),
            &format!("ding1 was fetched {count:?} times"),
        );
    });
}

/// A webhook removes a label that the spec sets or the operator needs.
#[test]
fn a_webhook_that_changes_what_is_written_makes_no_loop_and_is_named() {
    play(seeds(200), |seed| {
        let mut world = with_credentials(seed, None);
        let labels = ["team.example/a", LABEL_MANAGED_BY, LABEL_OWNER_UID];
        let label = labels[world.roll(3)];
        world.note(&format!("webhook: takes {label} off each Secret"));
        world.store.label_taken_off = Some(label);
        let spec = json!({"target": {"labels": {"team.example/a": "b"}}});
        world.apply("payroll", &spec);
        world.run(10 * MINUTE);
        let writes = world.store.writes.iter();
        let writes = writes.filter(|write| write.starts_with("write ")).count();
        // The first write, three repairs, and one a minute.
        holds(
            &world,
            (4..=14).contains(&writes),
            &format!("{writes} writes in 10 minutes"),
        );
        let status = world.store.apps["payroll"].status.as_ref();
        let mut conditions = status.iter().flat_map(|status| &status.conditions);
        let is_named =
            conditions.any(|condition| condition.reason == Reason::SecretContested.as_str());
        holds(&world, is_named, "SecretContested is not in the status");
        let missing = world.without_token();
        holds(
            &world,
            missing.is_empty(),
            &format!("no token: {missing:?}"),
        );
        world.note("webhook: gone");
        world.store.label_taken_off = None;
        at_rest(&mut world);
        let count = world.site.fetched.get("ding1").copied();
        holds(
            &world,
            count == Some(1),
            &format!("ding1 was fetched {count:?} times"),
        );
    });
}
