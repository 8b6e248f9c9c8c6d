//! Named histories, in which the process dies before and after each of its writes and fetches.

mod renewals;

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use super::*;
use crate::api::ANNOTATION_ADOPT_BY;
use crate::controller::simulation::store::StoredSecret;

/// How often each scenario is played: messages take another time, and the endpoint behaves
/// differently.
const TIMES: u64 = 4;

/// Plays a scenario for several seeds, and once for each write and fetch before or after which the
/// process dies.
fn survives(scenario: impl Fn(&mut World)) {
    play(seeds(TIMES), |seed| {
        dies_everywhere(|death| {
            let mut world = with_credentials(seed, death);
            world.store.put_credentials("copy", "other", "right");
            let clients = &mut world.site.clients;
            clients.insert("other".to_owned(), "right".to_owned());
            scenario(&mut world);
            world
        });
    });
}

/// Applies these specs of one app, some time after each other.
fn apply_all(world: &mut World, specs: &[Value]) {
    for spec in specs {
        world.apply("payroll", spec);
        pause(world);
    }
}

/// Waits long enough for the operator to be done, or not.
fn pause(world: &mut World) {
    let millis = match world.roll(2) {
        0 => world.dice.random_range(0..300),
        _ => world.dice.random_range(5_000..90_000),
    };
    world.run(Duration::from_millis(millis));
}

fn granting(mut spec: Value) -> Value {
    spec["referenceGrants"] = json!([{"namespace": NAMESPACE}]);
    spec
}

const TEMPLATE: &str = "x: {{ access_token }}";

#[test]
fn a_target_with_a_template_is_renamed() {
    let template = json!({"data": {"header": TEMPLATE}});
    let renamed = json!({"target": {"name": "renamed", "template": template}});
    survives(|world| {
        apply_all(
            world,
            &[json!({"target": {"template": template}}), renamed.clone()],
        );
    });
}

#[test]
fn a_target_is_renamed_there_and_back() {
    let renamed = json!({"target": {"name": "renamed"}});
    survives(|world| apply_all(world, &[json!({}), renamed.clone(), json!({})]));
}

#[test]
fn a_layout_goes_through_all_three() {
    let both = ["ding1", "ding2"];
    let specs = [
        json!({"target": {"layout": "Combined"}, "corpIds": both}),
        json!({"target": {"layout": "PerCorp"}, "corpIds": both}),
        json!({}),
    ];
    survives(|world| apply_all(world, &specs));
}

#[test]
fn a_layout_comes_back_under_another_name() {
    let both = ["ding1", "ding2"];
    let each = json!({"target": {"layout": "PerCorp"}, "corpIds": both});
    let specs = [
        each.clone(),
        json!({"target": {"layout": "Combined"}, "corpIds": both}),
        json!({"target": {"layout": "Combined", "name": "renamed"}, "corpIds": both}),
        each,
    ];
    survives(|world| apply_all(world, &specs));
}

#[test]
fn an_organisation_is_taken_off_and_put_back() {
    let spec = |corps: &[&str]| json!({"target": {"layout": "Combined"}, "corpIds": corps});
    let specs = [
        spec(&["ding1", "ding2"]),
        spec(&["ding1"]),
        spec(&["ding2", "ding1"]),
    ];
    survives(|world| apply_all(world, &specs));
}

#[test]
fn a_deletion_policy_changes_there_and_back() {
    let retained = json!({"target": {"deletionPolicy": "Retain"}});
    survives(|world| apply_all(world, &[json!({}), retained.clone(), json!({})]));
}

#[test]
fn a_deletion_policy_changes_with_the_name() {
    let specs = [
        json!({"target": {"deletionPolicy": "Retain"}}),
        json!({"target": {"name": "renamed"}}),
        json!({"target": {"name": "renamed", "deletionPolicy": "Retain"}}),
    ];
    survives(|world| apply_all(world, &specs));
}

#[test]
fn marks_of_a_target_change() {
    let a = json!({"team.example/a": "b"});
    let c = json!({"team.example/c": "d"});
    let specs = [
        json!({"target": {"labels": a, "annotations": c}}),
        json!({"target": {"labels": c, "annotations": a}}),
    ];
    survives(|world| apply_all(world, &specs));
}

#[test]
fn credentials_move_to_another_secret() {
    let moved = json!({"credentialsSecretRef": {"name": "copy"}});
    survives(|world| apply_all(world, &[json!({}), moved.clone(), json!({})]));
}

#[test]
fn credentials_move_with_the_target() {
    let moved = json!({"credentialsSecretRef": {"name": "copy"}, "target": {"name": "renamed"}});
    survives(|world| apply_all(world, &[json!({}), moved.clone()]));
}

#[test]
fn an_app_is_suspended_and_resumed() {
    let specs = [
        json!({}),
        json!({"suspend": true}),
        json!({"suspend": true, "target": {"name": "renamed"}}),
        json!({"target": {"name": "renamed"}}),
    ];
    survives(|world| apply_all(world, &specs));
}

#[test]
fn a_suspended_apps_secret_is_edited_and_deleted_by_users() {
    survives(|world| {
        apply_all(world, &[json!({}), json!({"suspend": true})]);
        world.run(MINUTE);
        world.tamper();
        pause(world);
        world.tamper();
        pause(world);
        world.apply("payroll", &json!({}));
    });
}

/// The Secret has an owner of its own, which is deleted after the adoption.
#[test]
fn a_secret_is_adopted() {
    survives(|world| {
        let owner = OwnerReference {
            api_version: "v1".to_owned(),
            kind: "ConfigMap".to_owned(),
            name: "before".to_owned(),
            uid: "other".to_owned(),
            ..OwnerReference::default()
        };
        let adopted = (
            ANNOTATION_ADOPT_BY.to_owned(),
            "DingTalkApp/payroll".to_owned(),
        );
        let foreign = StoredSecret {
            uid: "foreign".to_owned(),
            version: world.store.next_version(),
            data: BTreeMap::from([("old".to_owned(), "value".to_owned())]),
            annotations: BTreeMap::from([adopted]),
            owners: vec![owner],
            ..StoredSecret::default()
        };
        world.store.other_owners.insert("other".to_owned());
        world
            .store
            .secrets
            .insert("payroll-token".to_owned(), foreign);
        world.store.tell("payroll-token");
        apply_all(world, &[json!({})]);
        world.run(MINUTE);
        world.note("user: delete the other owner");
        world.store.other_owners.clear();
        world.store.owner_gone("other");
    });
}

#[test]
fn a_grant_is_withdrawn_and_given() {
    let granted = granting(json!({}));
    survives(|world| {
        world.refer("one", "payroll", "copied");
        apply_all(world, &[granted.clone(), json!({}), granted.clone()]);
    });
}

#[test]
fn a_copy_follows_layout_and_name() {
    let both = ["ding1", "ding2"];
    let specs = [
        granting(json!({"target": {"layout": "Combined"}, "corpIds": both})),
        granting(json!({"target": {"layout": "PerCorp"}, "corpIds": both})),
        granting(json!({"target": {"layout": "PerCorp", "name": "each"}, "corpIds": both})),
    ];
    survives(|world| {
        world.refer("one", "payroll", "copied");
        apply_all(world, &specs);
        world.refer("one", "payroll", "copied-anew");
    });
}

#[test]
fn an_app_is_recreated_with_the_same_name() {
    survives(|world| {
        apply_all(world, &[json!({})]);
        world.delete_app("payroll");
        pause(world);
        apply_all(world, &[json!({})]);
    });
}

#[test]
fn an_app_with_copies_is_recreated_with_another_target() {
    let renamed = granting(json!({"target": {"name": "renamed"}}));
    survives(|world| {
        world.refer("one", "payroll", "copied");
        apply_all(world, &[granting(json!({}))]);
        world.delete_app("payroll");
        pause(world);
        apply_all(world, std::slice::from_ref(&renamed));
    });
}

#[test]
fn a_target_is_deleted_by_a_user_during_a_rename() {
    survives(|world| {
        apply_all(world, &[json!({})]);
        world.apply("payroll", &json!({"target": {"name": "renamed"}}));
        let millis = world.dice.random_range(0..300);
        world.run(Duration::from_millis(millis));
        world.note("user: delete the former target");
        world.store.lose("payroll-token");
    });
}

#[test]
fn a_target_is_immutable() {
    let renamed = json!({"target": {"template": {"data": {"header": TEMPLATE}}}});
    survives(|world| {
        apply_all(world, &[json!({})]);
        world.note("user: make the target immutable");
        let version = world.store.next_version();
        if let Some(target) = world.store.secrets.get_mut("payroll-token") {
            target.is_immutable = true;
            target.version = version;
        }
        world.store.tell("payroll-token");
        apply_all(world, std::slice::from_ref(&renamed));
    });
}

#[test]
fn an_app_inherits_the_target_of_an_older_one() {
    let shared = json!({"target": {"name": "shared"}});
    survives(|world| {
        world.apply("older", &shared);
        pause(world);
        apply_all(world, std::slice::from_ref(&shared));
        world.delete_app("older");
    });
}

#[test]
fn an_older_app_moves_to_the_target_of_a_younger_one_and_goes() {
    let shared = json!({"target": {"name": "shared"}});
    survives(|world| {
        world.apply("older", &json!({}));
        pause(world);
        apply_all(world, std::slice::from_ref(&shared));
        world.apply("older", &shared);
        pause(world);
        world.delete_app("older");
    });
}

#[test]
fn a_quota_has_room_for_no_new_secret() {
    survives(|world| {
        apply_all(world, &[json!({})]);
        world.store.quota = Some(world.store.secrets.len());
        apply_all(world, &[json!({"target": {"name": "renamed"}})]);
        world.store.quota = None;
    });
}

#[test]
fn a_webhook_refuses_writes() {
    survives(|world| {
        world.store.refusal = Some("denied the request");
        apply_all(world, &[json!({}), json!({"target": {"name": "renamed"}})]);
        world.store.refusal = None;
    });
}

#[test]
fn a_webhook_refuses_deletions() {
    survives(|world| {
        apply_all(world, &[json!({})]);
        world.store.deletion_refusal = Some("denied the deletion");
        apply_all(world, &[json!({"target": {"name": "renamed"}}), json!({})]);
        world.store.deletion_refusal = None;
    });
}
