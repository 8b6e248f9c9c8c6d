//! Objects as large as the API server takes them.

use dingtalk_token_operator::api::{
    ANNOTATION_OWNER, ANNOTATION_SITE, ANNOTATION_STATE, LABEL_MANAGED_BY, LABEL_OWNER_UID, MANAGER,
};
use serde_json::{Value, json};

use super::generator::TEMPLATE_MAX;
use super::ground::{Ground, HOSTILE, HOSTILE_SECRET, app, credentials};
use super::is_chosen;
use super::templates::in_all_keys;

/// What a Secret of 1 MiB holds beside the other keys.
const CLIENT_ID: usize = 1_000_000;
const CORPS: usize = 1_000;
/// All annotations of an object have 256 KiB at most.
const ANNOTATIONS: usize = 255_000;
/// The longest that the name of an object can be.
const NAME_MAX: usize = 253;

pub async fn huge_client_id(ground: &Ground) {
    let client_id = "x".repeat(CLIENT_ID);
    let corp_ids: Vec<String> = (0..CORPS).map(|number| format!("huge{number}")).collect();
    let spec = json!({"corpIds": corp_ids, "target": {"layout": "Combined"}});
    ground
        .attempt_all([credentials("huge", &client_id, HOSTILE_SECRET)])
        .await;
    ground.attempt_all([app("huge", "huge", &spec)]).await;
}

pub async fn begin(ground: &Ground, kinds: &[Kind]) {
    let chosen = kinds.iter().filter(|kind| is_chosen(kind.name()));
    // All attacks at once show whether they add up, not each one's own bound; so many objects would
    // keep the API server busy instead of the operator.
    let part = if ground.has_several_attacks { 8 } else { 1 };
    let objects =
        chosen.flat_map(|kind| (0..kind.count() / part).map(move |number| kind.object(number)));
    ground.attempt_all(objects).await;
}

pub const SECRETS: [Kind; 5] = [
    Kind::Crowded,
    Kind::Wide,
    Kind::Full,
    Kind::Labelled,
    Kind::Plain,
];
pub const APPS: [Kind; 1] = [Kind::Wordy];

#[derive(Clone, Copy)]
pub enum Kind {
    /// Secrets with a record of more tokens than an app may have.
    Crowded,
    /// Secrets with a record of tokens whose `client_id` is long.
    Wide,
    /// Secrets with a record that is within all its bounds.
    Full,
    /// Secrets with our label and others' annotations.
    Labelled,
    /// Secrets that have nothing to do with us.
    Plain,
    /// Apps with as much text in their specs as the schema takes.
    Wordy,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Crowded => "crowded",
            Self::Wide => "wide",
            Self::Full => "full",
            Self::Labelled => "labelled",
            Self::Plain => "plain",
            Self::Wordy => "wordy",
        }
    }

    /// So many would fill the memory, if all that one makes the operator read were kept.
    fn count(self) -> usize {
        match self {
            Self::Wide | Self::Crowded => 100,
            Self::Plain => 200,
            Self::Full => 300,
            Self::Labelled => 900,
            Self::Wordy => 1_300,
        }
    }

    fn object(self, number: usize) -> Value {
        let name = format!("{}-{number}", self.name());
        let heavy = || json!({"example.com/heavy": "x".repeat(ANNOTATIONS)});
        let ours = json!({LABEL_MANAGED_BY: MANAGER, LABEL_OWNER_UID: format!("uid-{number}")});
        match self {
            Self::Crowded => secret(&name, &ours, &record(&name, usize::MAX, 1)),
            Self::Wide => secret(&name, &ours, &record(&name, CORPS, ANNOTATIONS - 25_000)),
            Self::Full => secret(&name, &ours, &record(&name, CORPS, NAME_MAX)),
            Self::Labelled => secret(&name, &ours, &heavy()),
            Self::Plain => secret(&name, &json!({}), &heavy()),
            Self::Wordy => {
                // With about as many parts as an app may have: they are kept parsed.
                let parts = "{%if 1 or 1%}a{%endif%}".repeat(12);
                let template = parts.clone() + &"x".repeat(TEMPLATE_MAX - parts.len());
                let data = in_all_keys(&template);
                let spec = json!({"corpIds": ["heavy"], "target": {"template": {"data": data}}});
                app(&name, "there-are-none", &spec)
            }
        }
    }
}

fn secret(name: &str, labels: &Value, annotations: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": name, "namespace": HOSTILE,
            "labels": labels, "annotations": annotations},
        "stringData": {"access_token": "forged"},
    })
}

/// A record of so many tokens, or as many as fit beside a `client_id` of this length. Each token has
/// the names that the record has once.
fn record(app: &str, tokens_max: usize, client_id: usize) -> Value {
    let room = ANNOTATIONS.saturating_sub(client_id + 2_000);
    let mut tokens = serde_json::Map::new();
    let mut length = 0;
    for corp in 0..tokens_max {
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
    let long = "x".repeat(NAME_MAX);
    let state = json!({
        "version": 1, "site": long, "clientId": "x".repeat(client_id),
        "credentials": {"uid": long, "resourceVersion": long},
        "keys": ["*.access_token", "*.expires_at"], "digest": "0".repeat(64), "tokens": tokens,
    });
    json!({
        ANNOTATION_OWNER: format!("DingTalkApp/{app}"), ANNOTATION_SITE: long,
        ANNOTATION_STATE: state.to_string(),
    })
}
