//! Whatever specs came before, the last one has the same result as in a new world.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::*;
use crate::api::{ANNOTATION_EXPIRES_AT, ANNOTATION_STATE};
use crate::controller::simulation::kept::CREDENTIALS;

/// The fields of a status that depend on what happened before, each for its reason.
const OF_THE_PAST: [&str; 6] = [
    // How often the spec changed.
    "observedGeneration",
    // How it came to this: a token may have been fetched for another spec.
    "lastRenewalCause",
    // Since when it is so.
    "lastTransitionTime",
    // May name any of the above.
    "message",
    // Depends on the token's lifetime, and so on when it was fetched.
    "nextAttemptTime",
    // Names a granted namespace once a reference in it has been seen, even if that is gone.
    "grantedNamespaces",
];

/// Changes one field of a spec, any of them.
fn change(world: &mut World, spec: &mut Value) {
    let corps = [
        json!(["ding1"]),
        json!(["ding1", "ding2"]),
        json!(["ding3", "ding1"]),
        json!(["ding2"]),
    ];
    let names = [json!("payroll-token"), json!("renamed"), json!("each")];
    let marks = [
        json!({}),
        json!({"team.example/a": "b"}),
        json!({"team.example/c": "d"}),
    ];
    let any = |world: &mut World, choices: &[Value]| choices[world.roll(choices.len())].clone();
    let layouts = ["Single", "Combined", "PerCorp"].map(|layout| json!(layout));
    match world.roll(12) {
        0 => spec["target"]["layout"] = any(world, &layouts),
        1 => spec["target"]["name"] = any(world, &names),
        2 => spec["corpIds"] = any(world, &corps),
        3 => {
            let name = any(world, &CREDENTIALS.map(|name| json!(name)));
            spec["credentialsSecretRef"] = json!({"name": name});
        }
        4 => {
            let header = json!({"header": "x: {{ access_token }}"});
            let constant = json!({"constant": "y"});
            spec["target"]["template"]["data"] = any(world, &[json!({}), header, constant]);
        }
        5 => spec["target"]["labels"] = any(world, &marks),
        6 => spec["target"]["annotations"] = any(world, &marks),
        7 => spec["target"]["deletionPolicy"] = any(world, &[json!("Delete"), json!("Retain")]),
        8 => spec["renewBefore"] = any(world, &[json!("10m"), json!("20m")]),
        9 => spec["referenceGrants"] = any(world, &[json!([]), json!([{"namespace": NAMESPACE}])]),
        10 => spec["suspend"] = any(world, &[json!(true), json!(false)]),
        _ => {
            let workloads = json!([{"kind": "Deployment", "name": "web"}]);
            spec["target"]["propagation"] = any(world, &[json!("Periodic"), json!("Immediate")]);
            spec["rolloutRestartTargets"] = any(world, &[json!([]), workloads]);
        }
    }
}

/// Returns the spec as the API server would take it.
fn valid(spec: &Value) -> Value {
    let mut spec = spec.clone();
    let header = match spec["target"]["layout"].as_str() {
        Some("Combined") => "{% for corp in corps %}{{ corp.access_token }}{% endfor %}",
        _ => "x: {{ access_token }}",
    };
    if spec["target"]["template"]["data"]["header"].is_string() {
        spec["target"]["template"]["data"]["header"] = json!(header);
    }
    if spec["target"]["layout"] == "Single" {
        spec["corpIds"].as_array_mut().expect("corps").truncate(1);
    }
    spec
}

fn with_two_clients(seed: u64) -> World {
    let mut world = World::new(seed, None);
    let clients = &mut world.site.clients;
    clients.insert("other".to_owned(), "right".to_owned());
    for (secret, client) in CREDENTIALS.into_iter().zip(["client", "other"]) {
        world.store.put_credentials(secret, client, "right");
    }
    world
}

/// Returns a new world with the same apps and references.
fn afresh(old: &World, seed: u64) -> World {
    let mut world = with_two_clients(seed);
    for app in old.store.apps.values() {
        world.store.put_app(app.clone());
    }
    for reference in old.store.references.values() {
        world.store.put_reference(reference.clone());
    }
    world.desired_state_changed();
    world
}

/// Returns the text with names instead of UIDs and tokens.
fn named(world: &World, text: &str) -> String {
    let apps = world.store.apps.values().map(|app| &app.metadata);
    let references = world.store.references.values();
    let owners = apps.chain(references.map(|reference| &reference.metadata));
    let owners = owners.filter_map(|meta| Some((meta.uid.as_deref()?, meta.name.clone()?)));
    let names = owners.map(|(uid, name)| (uid, format!("UID of {name}")));
    let names = names.chain(world.site.tokens(world.now()));
    names.fold(text.to_owned(), |text, (value, name)| {
        text.replace(value, &name)
    })
}

/// Replaces times, and removes what depends on the past.
fn timeless(value: &mut Value) {
    match value {
        Value::String(text) if text.parse::<Timestamp>().is_ok() => *text = "a time".to_owned(),
        Value::Array(values) => values.iter_mut().for_each(timeless),
        Value::Object(fields) => {
            fields.retain(|field, _| !OF_THE_PAST.contains(&field.as_str()));
            fields.values_mut().for_each(timeless);
        }
        _ => {}
    }
}

/// Returns what users see: Secrets and statuses, by name.
///
/// What belongs to no living app has been retained when its app was deleted, and is left out.
fn seen(world: &World) -> BTreeMap<String, Value> {
    let mut seen = BTreeMap::new();
    for (name, secret) in &world.store.secrets {
        let mut annotations = secret.annotations.clone();
        // The operator's own record, and a time.
        annotations
            .retain(|key, _| ![ANNOTATION_STATE, ANNOTATION_EXPIRES_AT].contains(&key.as_str()));
        let owners = secret
            .owners
            .iter()
            .map(|owner| (&owner.kind, &owner.name, &owner.uid));
        let owners: Vec<_> = owners.collect();
        let secret_seen = json!({
            "data": secret.data, "labels": secret.labels, "annotations": annotations, "owners": owners,
        });
        let mut uids = world
            .store
            .apps
            .values()
            .map(|app| app.metadata.uid.as_deref());
        let is_orphan = secret.owners.is_empty() && !uids.any(|uid| uid == secret.owner_uid());
        if !is_orphan {
            seen.insert(format!("Secret {name}"), secret_seen);
        }
    }
    for (name, app) in &world.store.apps {
        seen.insert(format!("app {name}"), json!(app.status));
    }
    for (name, reference) in &world.store.references {
        seen.insert(format!("reference {name}"), json!(reference.status));
    }
    for value in seen.values_mut() {
        *value = serde_json::from_str(&named(world, &value.to_string())).expect("JSON");
        timeless(value);
    }
    seen
}

/// Specs change in every field; the app is recreated, and references come and go.
fn changed(seed: u64, changes: usize) -> World {
    let mut world = with_two_clients(seed);
    let mut spec = json!({"corpIds": ["ding1"], "target": {"layout": "Single"}});
    world.apply("payroll", &valid(&spec));
    for _ in 0..changes {
        for _ in 0..=world.roll(3) {
            change(&mut world, &mut spec);
        }
        match world.roll(12) {
            0 => world.refer("one", "payroll", "copied"),
            1 => world.refer("one", "payroll", "copied-anew"),
            2 => world.delete_reference("one"),
            3 => world.delete_app("payroll"),
            _ => {}
        }
        world.apply("payroll", &valid(&spec));
        let millis = match world.roll(3) {
            0 => world.dice.random_range(0..60_000),
            _ => world.dice.random_range(0..600),
        };
        world.run(Duration::from_millis(millis));
    }
    // A suspended app keeps what it has, which a new one does not have.
    spec["suspend"] = json!(false);
    world.apply("payroll", &valid(&spec));
    world
}

#[test]
fn the_last_spec_has_the_same_result_whatever_came_before_it() {
    play(seeds(400), |seed| {
        let mut world = changed(seed, 8);
        world.run(10 * MINUTE);
        let mut fresh = afresh(&world, seed);
        fresh.run(10 * MINUTE);
        let (found, expected) = (seen(&world), seen(&fresh));
        for name in found.keys().chain(expected.keys()) {
            let (found, expected) = (found.get(name), expected.get(name));
            let what = format!("{name} differs\nfound    {found:?}\nexpected {expected:?}");
            holds(&world, found == expected, &what);
        }
    });
}
