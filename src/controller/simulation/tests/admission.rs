//! Admission plugins: refusals, quotas, and webhooks that change what is written.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::*;
use crate::api::{CONDITION_READY, LABEL_MANAGED_BY, LABEL_OWNER_UID, Reason};
use crate::controller::simulation::site::Repeat;

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

/// Returns status and reason of `Ready`, of this generation.
fn ready(conditions: &[Condition], generation: Option<i64>) -> Option<(&str, &str)> {
    let mut conditions = conditions.iter();
    let ready = conditions.find(|condition| {
        condition.type_ == CONDITION_READY && condition.observed_generation == generation
    })?;
    Some((ready.status.as_str(), ready.reason.as_str()))
}

fn app_ready(world: &World) -> Option<(&str, &str)> {
    let app = &world.store.apps["payroll"];
    ready(&app.status.as_ref()?.conditions, app.metadata.generation)
}

fn reference_ready(world: &World) -> Option<(&str, &str)> {
    let reference = &world.store.references["one"];
    let conditions = &reference.status.as_ref()?.conditions;
    ready(conditions, reference.metadata.generation)
}

/// Regression: while a former Secret could not be deleted, nothing was reported.
#[test]
fn a_former_secret_that_cannot_be_deleted_holds_up_no_status() {
    let mut world = with_credentials(1, None);
    let grants = json!([{"namespace": NAMESPACE}]);
    world.apply("payroll", &json!({"referenceGrants": grants}));
    world.refer("one", "payroll", "copied");
    world.run(MINUTE);
    world.store.deletion_refusal = Some("denied the deletion");
    let target = json!({"name": "renamed"});
    world.apply(
        "payroll",
        &json!({"referenceGrants": grants, "target": target}),
    );
    world.refer("one", "payroll", "copied-anew");
    world.run(MINUTE);
    assert!(world.store.secrets.contains_key("payroll-token"));
    assert!(world.store.secrets.contains_key("copied"));
    let valid = Some(("True", Reason::TokensValid.as_str()));
    assert_eq!(app_ready(&world), valid);
    assert_eq!(reference_ready(&world), valid);
    world.store.deletion_refusal = None;
    at_rest(&mut world);
    // The same where the copy must go because its grant is withdrawn.
    world.store.deletion_refusal = Some("denied the deletion");
    world.apply("payroll", &json!({"target": target}));
    world.run(MINUTE);
    assert!(world.store.secrets.contains_key("copied-anew"));
    let not_granted = Some(("False", Reason::NotGranted.as_str()));
    assert_eq!(reference_ready(&world), not_granted);
    world.store.deletion_refusal = None;
    at_rest(&mut world);
}

/// Regression: behind an immutable Secret that could not be deleted, no other one was written.
#[test]
fn an_immutable_secret_that_cannot_be_deleted_holds_up_no_other_organisation() {
    let mut world = with_credentials(1, None);
    world.site.repeat = Repeat::Beside;
    let spec = json!({"target": {"layout": "PerCorp"}, "corpIds": ["ding1", "ding2"]});
    world.apply("payroll", &spec);
    world.run(MINUTE);
    let stored = world.store.secrets.get_mut("payroll-token-ding1");
    stored.expect("written").is_immutable = true;
    world.store.deletion_refusal = Some("denied the deletion");
    world.run(300 * MINUTE);
    assert_eq!(world.without_token(), ["ding1 in payroll-token-ding1"]);
    let status = world.store.apps["payroll"].status.as_ref();
    let corps = &status.expect("a status").corps;
    let error = corps[0].error.as_ref().expect("a problem");
    assert_eq!(error.reason, Reason::SecretWriteFailed.as_str());
    let message = error.message.as_deref().unwrap_or_default();
    assert!(message.contains("denied the deletion"), "{message}");
    assert_eq!(corps[1].error, None);
    world.store.deletion_refusal = None;
    at_rest(&mut world);
}
