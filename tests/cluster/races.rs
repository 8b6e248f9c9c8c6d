//! Specs, credentials and layouts change while calls are under way, each of which takes a time of its own:
//! no token is taken away before it is elsewhere, none is fetched twice, and nothing is left behind.
//!
//! `RACES_SEED` plays other sequences.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dingtalk_token_operator::api::{DingTalkApp, LABEL_MANAGED_BY};
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::{Resource as _, ResourceExt as _};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use crate::proxy::Network;
use crate::support::{CLIENT_ID, CLIENT_SECRET, Sandbox, condition, shared_plane};

const SEQUENCES: usize = 200;
/// So many are played at once.
const AT_ONCE: usize = 20;
const CHANGES: usize = 6;
/// A call of the operator to the API server takes up to so long, and a user changes something as often.
const DELAY_MAX: Duration = Duration::from_millis(250);

/// An app, whose first organisation is in each of its specs.
fn name(sequence: usize) -> String {
    format!("app{sequence}")
}

fn corp(sequence: usize, number: usize) -> String {
    format!("ding{sequence}x{number}")
}

/// A spec of an app; the last one of each sequence is the first of these.
fn spec(sequence: usize, dice: &mut SmallRng, is_last: bool) -> Value {
    let corps = |count| {
        (0..count)
            .map(|number| corp(sequence, number))
            .collect::<Vec<_>>()
    };
    let kind = if is_last { 0 } else { dice.random_range(0..5) };
    let (layout, corps) = match kind {
        0 => ("Single", corps(1)),
        1 => ("Combined", corps(2)),
        2 => ("Combined", corps(3)),
        3 => ("PerCorp", corps(2)),
        _ => ("PerCorp", corps(3)),
    };
    let target = match dice.random_range(0..3) {
        _ if is_last => format!("{}-token", name(sequence)),
        0 => format!("{}-renamed", name(sequence)),
        _ => format!("{}-token", name(sequence)),
    };
    let credentials = ["credentials", "same"][dice.random_range(0..2)];
    json!({
        "credentialsSecretRef": {"name": credentials},
        "corpIds": corps,
        "target": {"name": target, "layout": layout},
    })
}

/// Plays a sequence of changes.
async fn play(sandbox: &Sandbox, sequence: usize, seed: u64) {
    let mut dice = SmallRng::seed_from_u64(seed + u64::try_from(sequence).expect("few"));
    for change in 0..=CHANGES {
        let spec = spec(sequence, &mut dice, change == CHANGES);
        sandbox.app_with(&name(sequence), spec).await;
        tokio::time::sleep(DELAY_MAX.mul_f64(dice.random())).await;
    }
}

/// What the Secrets have shown, one state after the other.
struct Shown {
    /// The Secrets that show the first organisation's token of an app, by app.
    showing: BTreeMap<String, BTreeSet<String>>,
    taken: Vec<String>,
}

impl Shown {
    fn see(&mut self, event: &WatchEvent<Secret>) {
        let (secret, is_gone) = match event {
            WatchEvent::Added(secret) | WatchEvent::Modified(secret) => (secret, false),
            WatchEvent::Deleted(secret) => (secret, true),
            WatchEvent::Bookmark(_) | WatchEvent::Error(_) => return,
        };
        let name = secret.name_any();
        let Some((app, _)) = name.split_once('-') else {
            return;
        };
        let first = format!("ding{}x0", app.trim_start_matches("app"));
        let data = secret.data.clone().unwrap_or_default();
        let is_single = data
            .get("corp_id")
            .is_some_and(|corp_id| corp_id.0 == first.as_bytes());
        let shows = is_single || data.contains_key(&format!("{first}.access_token"));
        let showing = self.showing.entry(app.to_owned()).or_default();
        let was_shown = !showing.is_empty();
        if shows && !is_gone {
            showing.insert(name.clone());
        } else {
            showing.remove(&name);
        }
        if was_shown && showing.is_empty() {
            let version = secret.meta().resource_version.clone().unwrap_or_default();
            self.taken.push(format!("{name} at {version}"));
        }
    }
}

#[tokio::test]
async fn whatever_changes_while_calls_are_under_way_no_token_is_taken_away_or_fetched_twice() {
    let seed = std::env::var("RACES_SEED").ok();
    let seed = seed.and_then(|seed| seed.parse().ok()).unwrap_or(1);
    eprintln!("RACES_SEED={seed}");
    let mut sandbox = Sandbox::without_operator("races", shared_plane().await).await;
    let corps: Vec<String> = (0..SEQUENCES)
        .flat_map(|sequence| (0..3).map(move |number| corp(sequence, number)))
        .collect();
    let ids: Vec<&str> = corps.iter().map(String::as_str).collect();
    sandbox.stub.register(CLIENT_ID, CLIENT_SECRET, &ids);
    for secret in ["credentials", "same"] {
        sandbox.credentials(secret, CLIENT_ID, CLIENT_SECRET).await;
    }
    let secrets = sandbox.api::<Secret>();
    let since = secrets.list(&ListParams::default()).await.expect("listed");
    let since = since.metadata.resource_version.expect("a version");
    let network = Network::slow(sandbox.api_server(), DELAY_MAX, seed).await;
    sandbox.reach_api_server_through(network.port);
    sandbox.start_operator(&["--client-requests-per-second=20"]);
    let sequences = (0..SEQUENCES).map(|sequence| play(&sandbox, sequence, seed));
    futures::stream::iter(sequences)
        .buffer_unordered(AT_ONCE)
        .collect::<Vec<()>>()
        .await;
    let apps = sandbox.api::<DingTalkApp>();
    let at_rest = async || {
        let apps = apps.list(&ListParams::default()).await.ok()?;
        let are_ready = apps.iter().all(|app| {
            let status = app.status.as_ref();
            let observed = status.and_then(|status| status.observed_generation);
            observed == app.metadata.generation && condition(app, "Ready", "True").is_some()
        });
        let ours = ListParams::default().labels(LABEL_MANAGED_BY);
        let left = secrets.list(&ours).await.ok()?;
        (are_ready && left.items.len() == SEQUENCES).then_some(())
    };
    let what = "each app has its one Secret, and no other";
    sandbox.patiently(300, what, at_rest).await;
    for sequence in 0..SEQUENCES {
        let calls = sandbox.stub.calls(&corp(sequence, 0));
        // On a slow machine, the stub may count two seconds' calls in one and refuse some of them.
        let tokens = calls.iter().filter(|call| call.status == Some(200));
        assert_eq!(tokens.count(), 1, "app{sequence}, RACES_SEED={seed}");
    }
    let mut shown = Shown {
        showing: BTreeMap::new(),
        taken: Vec::new(),
    };
    let last = format!("{}-last", sandbox.namespace);
    sandbox.credentials(&last, "none", "none").await;
    let parameters = WatchParams::default().timeout(60);
    let events = secrets.watch(&parameters, &since).await;
    let mut events = events.expect("a watch").boxed();
    while let Some(event) = events.try_next().await.expect("events") {
        if let WatchEvent::Added(secret) = &event
            && secret.name_any() == last
        {
            break;
        }
        shown.see(&event);
    }
    assert_eq!(shown.showing.len(), SEQUENCES);
    assert!(
        shown.taken.is_empty(),
        "{:?}, RACES_SEED={seed}",
        shown.taken
    );
}
