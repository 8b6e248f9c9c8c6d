//! Notices of written Secrets to pods.

use super::*;
use crate::controller::simulation::site::Repeat;

/// Returns a world with an app that wants its pods to be told, in the layout `PerCorp`.
fn telling() -> World {
    let mut world = with_credentials(1, None);
    world.site.repeat = Repeat::Beside;
    let target = json!({"layout": "PerCorp", "propagation": "Immediate"});
    world.apply(
        "payroll",
        &json!({"target": target, "corpIds": ["ding1", "ding2"]}),
    );
    world.run(2 * MINUTE);
    world
}

/// Regression: a failed list of pods was repeated at each look at the app.
#[test]
fn a_list_of_pods_that_fails_is_paced_however_often_the_app_is_looked_at() {
    let mut world = telling();
    world.store.pods_failure = Some(500);
    world.renew("payroll");
    world.run(Duration::from_secs(5));
    let before = world.store.pod_lists;
    for _ in 0..100 {
        world.renew("payroll");
        world.run(Duration::from_millis(300));
    }
    let lists = world.store.pod_lists - before;
    holds(
        &world,
        (5..=7).contains(&lists),
        &format!("{lists} lists in 30 s"),
    );
    world.store.pods_failure = None;
    let before = world.store.pod_lists;
    world.run(Duration::from_secs(10));
    let lists = world.store.pod_lists - before;
    holds(&world, lists == 1, "it is made up for, once");
}

/// Regression: they were reported again at each renewal, because a notice of one Secret forgot the
/// pods that use another one.
#[test]
fn pods_that_never_see_a_new_token_are_reported_once_whichever_secret_they_use() {
    let mut world = telling();
    for corp_id in ["ding1", "ding2"] {
        let secret = format!("payroll-token-{corp_id}");
        let token = json!({"secretKeyRef": {"name": secret, "key": "access_token"}});
        let variable = json!({"name": "TOKEN", "valueFrom": token});
        let pod = json!({"metadata": {"name": corp_id, "uid": corp_id},
            "spec": {"containers": [{"name": "c", "env": [variable]}]}});
        world
            .store
            .pods
            .push(serde_json::from_value(pod).expect("a pod"));
    }
    for _ in 0..4 {
        for corp_id in ["ding1", "ding2"] {
            world.store.tamper(&format!("payroll-token-{corp_id}"));
            world.run(10 * MINUTE);
        }
    }
    let published = world.store.published.iter();
    let reports = published
        .filter(|reason| *reason == "PodsNeverUpdated")
        .count();
    holds(&world, reports == 1, &format!("{reports} reports"));
    let metrics = world.replicas[0].process.metrics();
    let is_failing = metrics.contains("delivery_failing_since_timestamp_seconds{");
    holds(&world, is_failing, "they still use old values");
}
