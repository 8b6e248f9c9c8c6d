//! Objects as large as the API server takes them.

use dingtalk_token_operator::api::{
    ANNOTATION_OWNER, ANNOTATION_SITE, ANNOTATION_STATE, LABEL_MANAGED_BY, LABEL_OWNER_UID, MANAGER,
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
    let spec = json!({"corpIds": corp_ids, "target": {"layout": "Combined"}});
    ground
        .attempt_all([credentials("huge", &client_id, HOSTILE_SECRET)])
        .await;
    ground.attempt_all([app("huge", "huge", &spec)]).await;
}

pub async fn heavy(ground: &Ground) {
    let chosen: Vec<_> = Kind::ALL
        .into_iter()
        .filter(|kind| is_chosen(kind.name()))
        .collect();
    let of_each = SECRETS.checked_div(chosen.len()).unwrap_or_default();
    let heavy = (0..of_each).flat_map(|number| chosen.iter().map(move |kind| kind.secret(number)));
    ground.attempt_all(heavy).await;
}

#[derive(Clone, Copy)]
enum Kind {
    /// With a record of many tokens.
    Forged,
    /// With a record of tokens whose `client_id` is long.
    Wide,
    /// With our label and others' annotations.
    Labelled,
    Plain,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Forged, Self::Wide, Self::Labelled, Self::Plain];

    fn name(self) -> &'static str {
        match self {
            Self::Forged => "forged",
            Self::Wide => "wide",
            Self::Labelled => "labelled",
            Self::Plain => "plain",
        }
    }

    fn secret(self, number: usize) -> Value {
        let name = format!("{}-{number}", self.name());
        let labels = match self {
            Self::Plain => json!({}),
            _ => json!({LABEL_MANAGED_BY: MANAGER, LABEL_OWNER_UID: format!("uid-{number}")}),
        };
        let annotations = match self {
            Self::Forged => record(&name, 1_000),
            Self::Wide => record(&name, ANNOTATIONS / 2),
            Self::Labelled | Self::Plain => json!({"example.com/heavy": "x".repeat(ANNOTATIONS)}),
        };
        json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": name, "namespace": HOSTILE,
                "labels": labels, "annotations": annotations},
            "stringData": {"access_token": "forged"},
        })
    }
}

/// A record of as many tokens as fit beside a `client_id` of this length, which each token has.
fn record(app: &str, client_id: usize) -> Value {
    let room = ANNOTATIONS.saturating_sub(client_id + 1_000);
    let mut tokens = serde_json::Map::new();
    let mut length = 0;
    for corp in 0.. {
        let (corp_id, token) = (
            format!("c{corp:x}"),
            json!({"at": 1_800_000_000, "for": 7200}),
        );
        length += corp_id.len() + token.to_string().len() + 4;
        if length > room {
            break;
        }
        tokens.insert(corp_id, token);
    }
    let state = json!({
        "version": 1, "site": "global", "clientId": "x".repeat(client_id),
        "credentials": {"uid": "uid", "resourceVersion": "1"},
        "keys": ["*.access_token", "*.expires_at"], "digest": "0".repeat(64), "tokens": tokens,
    });
    json!({
        ANNOTATION_OWNER: format!("DingTalkApp/{app}"), ANNOTATION_SITE: "global",
        ANNOTATION_STATE: state.to_string(),
    })
}
