//! Target Secrets of the hostile namespace's own apps, forged by a team that knows a victim's client
//! secret, since both use the same app of DingTalk.

use std::fmt::Write as _;

use dingtalk_token_operator::api::{
    ANNOTATION_CORP_ID, ANNOTATION_EXPIRES_AT, ANNOTATION_OWNER, ANNOTATION_SITE, ANNOTATION_STATE,
    LABEL_MANAGED_BY, LABEL_OWNER_UID, MANAGER,
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::ground::{Ground, HOSTILE, app, credentials, version};
use super::victims::{Victim, client_id, client_secret};

/// The client whose secret is known.
pub const CLIENT: usize = 0;
const CREDENTIALS: &str = "known-credentials";
const FAR: [&str; 2] = ["2099-01-01T00:00:00Z", "2099-12-31T00:00:00Z"];
const TOKEN: &str = "forged0123456789abcdef0123456789";

fn robbed(ground: &Ground) -> impl Iterator<Item = &Victim> {
    let of_client = |victim: &&Victim| victim.client == CLIENT && victim.corp_ids.len() == 1;
    ground.victims.iter().filter(of_client)
}

fn name(victim: &Victim) -> String {
    format!("forger-of-{}", victim.name)
}

/// How a Secret is forged.
#[derive(Clone, Copy)]
struct Way {
    /// Whether its times can be true; else they are those of 2099.
    is_plausible: bool,
    /// Whether its app stays suspended, so that the operator puts nothing right.
    is_suspended: bool,
}

fn ways() -> impl Iterator<Item = Way> {
    let way = |number: u8| Way {
        is_plausible: number & 1 == 0,
        is_suspended: number & 2 == 0,
    };
    (0..4).map(way).cycle()
}

/// The apps are suspended until the forged Secrets are there, so that no genuine token is.
pub async fn begin(ground: &Ground) {
    let known = credentials(CREDENTIALS, &client_id(CLIENT), &client_secret(CLIENT));
    let Some(known) = ground.attempt(known, "test").await else {
        return;
    };
    for (victim, way) in robbed(ground).zip(ways()) {
        let spec = json!({"corpIds": victim.corp_ids, "suspend": true});
        let suspended = app(&name(victim), CREDENTIALS, &spec);
        let Some(made) = ground.attempt(suspended, "test").await else {
            continue;
        };
        let known = version(&known).unwrap_or_default();
        if let Some(forged) = forged(victim, way, &made, &known) {
            ground.attempt(forged, MANAGER).await;
        }
        let spec = json!({"corpIds": victim.corp_ids, "suspend": way.is_suspended});
        ground
            .attempt(app(&name(victim), CREDENTIALS, &spec), "test")
            .await;
    }
}

/// What the operator puts right is forged again.
pub async fn round(ground: &Ground) {
    let secrets = ground.api::<Secret>(HOSTILE);
    let Ok(Some(known)) = secrets.get_opt(CREDENTIALS).await else {
        return;
    };
    let known = (
        known.metadata.uid.unwrap_or_default(),
        known.metadata.resource_version.unwrap_or_default(),
    );
    for (victim, way) in robbed(ground).zip(ways()) {
        let target = format!("{}-token", name(victim));
        let Ok(Some(secret)) = secrets.get_opt(&target).await else {
            continue;
        };
        let data = secret.data.unwrap_or_default();
        let is_forged = data
            .get("access_token")
            .is_some_and(|value| value.0 == TOKEN.as_bytes());
        if !is_forged {
            let mut patch = json!({"kind": "Secret", "metadata": {"name": target}});
            forge(&mut patch, victim, way, &known);
            ground.attempt(patch, MANAGER).await;
        }
    }
}

fn forged(victim: &Victim, way: Way, app: &Value, known: &(String, String)) -> Option<Value> {
    let (app_uid, _) = version(app)?;
    let mut secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": {
            "name": format!("{}-token", name(victim)), "namespace": HOSTILE,
            "labels": {LABEL_MANAGED_BY: MANAGER, LABEL_OWNER_UID: app_uid},
            "annotations": {
                ANNOTATION_OWNER: format!("DingTalkApp/{}", name(victim)),
                ANNOTATION_SITE: "global", ANNOTATION_CORP_ID: victim.corp_ids[0],
            },
            "ownerReferences": [{
                "apiVersion": "dingtalk-token-operator.github.io/v1alpha1",
                "kind": "DingTalkApp", "name": name(victim), "uid": app_uid, "controller": true,
            }],
        },
    });
    forge(&mut secret, victim, way, known);
    Some(secret)
}

/// Token, times and state.
fn forge(
    secret: &mut Value,
    victim: &Victim,
    way: Way,
    (uid, resource_version): &(String, String),
) {
    let now = Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default();
    let [requested_at, expires_at] = match way.is_plausible {
        true => [now, now + SignedDuration::from_hours(2)],
        false => FAR.map(|time| time.parse().unwrap_or_default()),
    };
    let lifetime = expires_at.duration_since(requested_at).as_secs();
    let expires_at = expires_at.to_string();
    let corp_id = victim.corp_ids[0].as_str();
    let data = [
        ("access_token", TOKEN),
        ("corp_id", corp_id),
        ("expires_at", expires_at.as_str()),
    ];
    let mut hash = Sha256::new();
    for (key, value) in data {
        for part in [key, value] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        secret["stringData"][key] = value.into();
    }
    let mut digest = String::new();
    for byte in hash.finalize() {
        let _ = write!(digest, "{byte:02x}");
    }
    let state = json!({
        "version": 1, "site": "global", "clientId": victim.client_id,
        "credentials": {"uid": uid, "resourceVersion": resource_version},
        "keys": data.map(|(key, _)| key), "digest": digest,
        "tokens": {corp_id: {"at": requested_at.as_second(), "for": lifetime}},
    });
    let annotations = &mut secret["metadata"]["annotations"];
    annotations[ANNOTATION_STATE] = state.to_string().into();
    annotations[ANNOTATION_EXPIRES_AT] = expires_at.clone().into();
}
