//! Calls that fail, as slowly and as expensively as DingTalk may answer them.

use dingtalk_stub::{Behaviour, Script};
use dingtalk_token_operator::api::ANNOTATION_RENEW_REQUESTED_AT;
use serde_json::{Value, json};

use super::ground::{Ground, HOSTILE_SECRET, app, credentials};
use super::is_chosen;
use super::victims::{CLIENTS, LIFE, Victim, client_id, client_secret};

/// Of an app that borrows a victim's `client_id`.
const BORROWED_CORPS: usize = 1_000;
/// Of each client that fails.
const CORPS: usize = 50;
/// A client whose secret the hostile namespace knows.
const SHARED_CLIENT: usize = 1;
/// Clients whose calls are never answered.
const TAR_PITS: usize = 100;

fn borrower(client: usize, renewal: u64) -> Value {
    // The victims' own organisations are among them.
    let corp_ids = (0..BORROWED_CORPS).map(|corp| format!("ding{client}x{corp}"));
    let spec = json!({"corpIds": corp_ids.collect::<Vec<_>>(), "target": {"layout": "Combined"}});
    let name = format!("borrower-{client}");
    let mut app = app(&name, &name, &spec);
    app["metadata"]["annotations"] = json!({ANNOTATION_RENEW_REQUESTED_AT: renewal.to_string()});
    app
}

pub async fn borrow_client_ids(ground: &Ground) {
    let name = |client: usize| format!("borrower-{client}");
    let guess = |client: usize| credentials(&name(client), &client_id(client), "a-wrong-guess");
    ground.attempt_all((0..CLIENTS).map(guess)).await;
    ground
        .attempt_all((0..CLIENTS).map(|client| borrower(client, 0)))
        .await;
}

pub async fn ask_for_renewal(ground: &Ground, second: u64) {
    let annotations = json!({ANNOTATION_RENEW_REQUESTED_AT: (second + 1).to_string()});
    let names = (0..CLIENTS).map(|client| format!("borrower-{client}"));
    ground.annotate_apps(names, &annotations).await;
}

/// How the calls of one client fail.
struct Way {
    name: String,
    client_id: String,
    client_secret: String,
    corp_ids: Vec<String>,
    behaviour: Behaviour,
    /// Of its organisations, those that get a token nevertheless.
    spared: usize,
}

impl Way {
    /// For a client and organisations of its own.
    fn new(name: &str, behaviour: Behaviour) -> Self {
        Self {
            name: name.to_owned(),
            client_id: name.to_owned(),
            client_secret: HOSTILE_SECRET.to_owned(),
            corp_ids: (0..CORPS).map(|corp| format!("{name}x{corp}")).collect(),
            behaviour,
            spared: 0,
        }
    }

    /// Of a client of its own, all calls are meant but for those that are spared; the first script
    /// that fits a call has it.
    fn scripts(&self) -> Vec<Script> {
        let script = |corp_id: Option<&String>, behaviour: &Behaviour| Script {
            client_id: Some(self.client_id.clone()),
            corp_id: corp_id.cloned(),
            calls: None,
            behaviour: behaviour.clone(),
        };
        if self.client_id != self.name {
            let corp_ids = self.corp_ids.iter();
            return corp_ids
                .map(|corp_id| script(Some(corp_id), &self.behaviour))
                .collect();
        }
        let short = Behaviour::ExpiresIn(json!(LIFE / 6));
        let spared = self.corp_ids[..self.spared].iter();
        let mut scripts: Vec<Script> = spared
            .map(|corp_id| script(Some(corp_id), &short))
            .collect();
        scripts.push(script(None, &self.behaviour));
        scripts
    }
}

fn ban_page() -> Behaviour {
    Behaviour::Raw {
        status: 403,
        content_type: "application/json".to_owned(),
        headers: Vec::new(),
        body: r#"{"status":1111,"wait":300,"punish":"deny"}"#.to_owned(),
    }
}

fn fail(status: u16, code: &str) -> Behaviour {
    let code = code.to_owned();
    Behaviour::Fail { status, code }
}

fn ways(victims: &[Victim]) -> Vec<Way> {
    let legacy = |errcode| Behaviour::FailLegacy { errcode };
    let victims = victims.iter().flat_map(|victim| &victim.corp_ids);
    let mut ways = vec![
        // Organisations have several apps: theirs may be banned for one of them only.
        Way {
            corp_ids: victims.cloned().collect(),
            ..Way::new("ban-corp", legacy(90005))
        },
        Way::new("ban-client", legacy(90010)),
        Way::new("ban-address", legacy(90017)),
        Way::new("ban-page", ban_page()),
        Way::new("throttle-429", Behaviour::retry_after(429, "600")),
        Way::new("throttle-busy", fail(429, "systemBusy")),
        Way::new(
            "throttle-api",
            fail(403, "Forbidden.AccessDenied.QpsLimitForApi"),
        ),
        Way::new("html-forbidden", Behaviour::html(403)),
        Way::new("html-success", Behaviour::html(200)),
        Way {
            spared: CORPS / 10,
            ..Way::new("error-own", fail(500, "server.error"))
        },
        // Two teams share an app: its client secret is known, and its rate is used by both.
        Way {
            client_id: client_id(SHARED_CLIENT),
            client_secret: client_secret(SHARED_CLIENT),
            ..Way::new("error-shared", fail(500, "server.error"))
        },
        Way::new("reset", Behaviour::Reset),
    ];
    let tar_pit = |number| Way::new(&format!("tarpit-{number}"), Behaviour::NeverAnswer);
    ways.extend((0..TAR_PITS).map(tar_pit));
    ways.retain(|way| is_chosen(&way.name));
    ways
}

pub async fn begin(ground: &Ground) {
    let ways = ways(&ground.victims);
    for way in &ways {
        let ids: Vec<&str> = way.corp_ids.iter().map(String::as_str).collect();
        if way.client_id == way.name {
            ground.stub().register(&way.client_id, HOSTILE_SECRET, &ids);
        }
        for script in way.scripts() {
            ground.stub().script(script);
        }
    }
    let secret = |way: &Way| credentials(&way.name, &way.client_id, &way.client_secret);
    ground.attempt_all(ways.iter().map(secret)).await;
    let app = |way: &Way| {
        let spec = json!({"corpIds": way.corp_ids, "target": {"layout": "Combined"}});
        app(&way.name, &way.name, &spec)
    };
    ground.attempt_all(ways.iter().map(app)).await;
}
