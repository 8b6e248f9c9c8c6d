//! Objects as large as the API server takes them.

use dingtalk_token_operator::api::{
    ANNOTATION_APP, ANNOTATION_CLIENT_ID, ANNOTATION_CREDENTIALS_UID,
    ANNOTATION_CREDENTIALS_VERSION, ANNOTATION_DATA_DIGEST, ANNOTATION_SITE, ANNOTATION_TOKENS,
    LABEL_APP_UID, LABEL_MANAGED_BY, MANAGER,
};
use serde_json::{Value, json};

use super::ground::{Ground, HOSTILE, HOSTILE_SECRET, app, credentials};
use super::is_chosen;

/// What a Secret of 1 MiB holds beside the other keys.
const CLIENT_ID: usize = 1_000_000;
const CORPS: usize = 1_000;
const SECRETS: usize = 600;
/// All annotations of an object have 256 KiB at most.
const ANNOTATIONS: usize = 255_000;

pub async fn huge_client_id(ground: &Ground) {
    let client_id = "x".repeat(CLIENT_ID);
    let corp_ids: Vec<String> = (0..CORPS).map(|number| format!("huge{number}")).collect();
    let spec = json!({"corpIds": corp_ids, "target": {"layout": "Shared"}});
    ground
        .attempt_all([credentials("huge", &client_id, HOSTILE_SECRET)])
        .await;
    ground.attempt_all([app("huge", "huge", &spec)]).await;
}

pub async fn heavy(ground: &Ground) {
    let kinds: [(&str, fn(&str, usize) -> Value); 4] = [
        ("forged", |kind, number| with_record(kind, number, 1_000)),
        ("wide", |kind, number| {
            with_record(kind, number, ANNOTATIONS / 2)
        }),
        ("labelled", with_label),
        ("plain", without_label),
    ];
    let chosen: Vec<_> = kinds
        .into_iter()
        .filter(|(kind, _)| is_chosen(kind))
        .collect();
    let of_each = SECRETS.checked_div(chosen.len()).unwrap_or_default();
    let heavy = chosen
        .into_iter()
        .flat_map(|(kind, make)| (0..of_each).map(move |number| make(kind, number)));
    ground.attempt_all(heavy).await;
}

fn secret(kind: &str, number: usize, labels: &Value, annotations: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": format!("{kind}-{number}"), "namespace": HOSTILE,
            "labels": labels, "annotations": annotations},
        "stringData": {"access_token": "forged"},
    })
}

fn our_labels(number: usize) -> Value {
    json!({LABEL_MANAGED_BY: MANAGER, LABEL_APP_UID: format!("uid-{number}")})
}

/// A record of as many tokens as fit beside a `client_id` of this length, which each token has.
fn with_record(kind: &str, number: usize, client_id: usize) -> Value {
    let entry = |corp: usize| format!("c{corp:x}=1800000000+7200,");
    let room = ANNOTATIONS.saturating_sub(client_id + 1_000);
    let mut tokens = String::new();
    for corp in 0.. {
        let entry = entry(corp);
        if tokens.len() + entry.len() > room {
            break;
        }
        tokens.push_str(&entry);
    }
    let annotations = json!({
        ANNOTATION_APP: format!("{kind}-{number}"), ANNOTATION_SITE: "global",
        ANNOTATION_CLIENT_ID: "x".repeat(client_id), ANNOTATION_TOKENS: tokens,
        ANNOTATION_CREDENTIALS_UID: "uid", ANNOTATION_CREDENTIALS_VERSION: "1",
        ANNOTATION_DATA_DIGEST: "0".repeat(64),
    });
    secret(kind, number, &our_labels(number), &annotations)
}

fn with_label(kind: &str, number: usize) -> Value {
    let annotations = json!({"example.com/heavy": "x".repeat(ANNOTATIONS)});
    secret(kind, number, &our_labels(number), &annotations)
}

fn without_label(kind: &str, number: usize) -> Value {
    let annotations = json!({"example.com/heavy": "x".repeat(ANNOTATIONS)});
    secret(kind, number, &json!({}), &annotations)
}
