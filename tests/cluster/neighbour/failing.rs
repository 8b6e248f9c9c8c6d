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
/// Clients whose secrets the hostile namespace knows: of one it asks for renewals, of the other its
/// own organisations fail.
pub const ASKING_CLIENT: usize = 2;
const SHARED_CLIENT: usize = 1;
/// A client of which it knows the id alone, and the site says that it is banned.
const ACCUSED_CLIENT: usize = 3;
/// Clients of its own, for organisations that have not authorised them.
const STRANGERS: usize = 10;
/// An address is banned for so many failures within a minute. The budget of unproven credentials
/// allows a namespace 160 in the first minute, and an outage is probed a hundred times.
const FAILURES_BEFORE_BAN: usize = 400;
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

/// An app with a client's true secret, for the organisations of the victims.
fn asker(ground: &Ground) -> Value {
    let victims = ground.victims.iter();
    let of_client = victims.filter(|victim| victim.client == ASKING_CLIENT);
    let corp_ids: Vec<&String> = of_client.flat_map(|victim| &victim.corp_ids).collect();
    let spec = json!({"corpIds": corp_ids, "target": {"layout": "Combined"}});
    app("asker", "asker", &spec)
}

fn stranger(ground: &Ground, number: usize) -> Value {
    let corp_ids = ground.victims.iter().flat_map(|victim| &victim.corp_ids);
    let corp_ids: Vec<&String> = corp_ids.collect();
    let spec = json!({"corpIds": corp_ids, "target": {"layout": "Combined"}});
    let name = format!("stranger-{number}");
    app(&name, &name, &spec)
}

pub async fn borrow_client_ids(ground: &Ground) {
    let stub = ground.stub();
    stub.configure(|settings| settings.failures_before_ban = Some(FAILURES_BEFORE_BAN));
    let name = |client: usize| format!("borrower-{client}");
    let guess = |client: usize| credentials(&name(client), &client_id(client), "a-wrong-guess");
    let (id, secret) = (client_id(ASKING_CLIENT), client_secret(ASKING_CLIENT));
    let known = credentials("asker", &id, &secret);
    let strange = |number: usize| {
        let name = format!("stranger-{number}");
        stub.register(&name, HOSTILE_SECRET, &[]);
        credentials(&name, &name, HOSTILE_SECRET)
    };
    let credentials = (0..STRANGERS).map(strange).chain([known]);
    ground
        .attempt_all(credentials.chain((0..CLIENTS).map(guess)))
        .await;
    let strangers = (0..STRANGERS).map(|number| stranger(ground, number));
    let borrowers = (0..CLIENTS).map(|client| borrower(client, 0));
    let apps = strangers.chain([asker(ground)]).chain(borrowers);
    let is_chosen = |app: &Value| app["metadata"]["name"].as_str().is_some_and(is_chosen);
    ground.attempt_all(apps.filter(is_chosen)).await;
}

pub async fn ask_for_renewal(ground: &Ground, second: u64) {
    let annotations = json!({ANNOTATION_RENEW_REQUESTED_AT: (second + 1).to_string()});
    let borrowers = (0..CLIENTS).map(|client| format!("borrower-{client}"));
    let names = borrowers.chain(["asker".to_owned()]);
    let patch = json!({"metadata": {"annotations": annotations}});
    ground.patch_apps(names, &patch).await;
}

/// What fails together. Kinds that are mixed hide each other: the first of them that the site is
/// judged by holds the others up.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Family {
    Errors,
    Bans,
    TarPits,
}

impl Family {
    /// When its organisations begin to fail, in seconds: the clients have proven themselves with one
    /// before. By then the last success of anybody is past, so that nothing but the rule tells that
    /// the site is well; that the victims' renewals come next shows whether it was kept.
    fn begins_at(self) -> u64 {
        match self {
            Self::Errors | Self::Bans => 6,
            Self::TarPits => 20,
        }
    }
}

/// How the calls of one client fail.
struct Way {
    name: String,
    client_id: String,
    client_secret: String,
    corp_ids: Vec<String>,
    behaviour: Behaviour,
    /// Of a client of its own, the organisations that get tokens nevertheless. One of them has it for
    /// proven; more renew theirs all the time.
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
            spared: 1,
        }
    }

    fn app(&self, corp_ids: &[String]) -> Value {
        let spec = json!({"corpIds": corp_ids, "target": {"layout": "Combined"}});
        app(&self.name, &self.name, &spec)
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
        let spared = match self.spared {
            1 => Behaviour::Normal,
            _ => Behaviour::ExpiresIn(json!(LIFE / 6)),
        };
        let corp_ids = self.corp_ids[..self.spared].iter();
        let mut scripts: Vec<Script> = corp_ids
            .map(|corp_id| script(Some(corp_id), &spared))
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

fn bans(victims: &[Victim]) -> Vec<Way> {
    let legacy = |errcode| Behaviour::FailLegacy { errcode };
    let victims = victims.iter().flat_map(|victim| &victim.corp_ids);
    vec![
        // Organisations have several apps: theirs may be banned for one of them only.
        Way {
            corp_ids: victims.cloned().collect(),
            ..Way::new("ban-corp", legacy(90005))
        },
        Way::new("ban-client", legacy(90010)),
        // Whoever names a client_id may hear that it is banned; only who has its secret is believed.
        Way {
            client_id: client_id(ACCUSED_CLIENT),
            ..Way::new("ban-accused", legacy(90010))
        },
        Way::new("ban-address", legacy(90017)),
        Way::new("ban-page", ban_page()),
        Way::new("ban-html", Behaviour::html(403)),
        Way::new("ban-html-success", Behaviour::html(200)),
    ]
}

fn errors() -> Vec<Way> {
    vec![
        Way::new("throttle-429", Behaviour::retry_after(429, "600")),
        Way::new("throttle-busy", fail(429, "systemBusy")),
        Way::new(
            "throttle-api",
            fail(403, "Forbidden.AccessDenied.QpsLimitForApi"),
        ),
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
    ]
}

fn ways(family: Family, victims: &[Victim]) -> Vec<Way> {
    let tar_pit = |number| Way::new(&format!("tarpit-{number}"), Behaviour::NeverAnswer);
    let mut ways = match family {
        Family::Errors => errors(),
        Family::Bans => bans(victims),
        Family::TarPits => (0..TAR_PITS).map(tar_pit).collect(),
    };
    ways.retain(|way| is_chosen(&way.name));
    ways
}

pub async fn begin(ground: &Ground, family: Family) {
    let ways = ways(family, &ground.victims);
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
    let proving = |way: &Way| way.app(&way.corp_ids[..1]);
    ground.attempt_all(ways.iter().map(proving)).await;
}

pub async fn round(ground: &Ground, family: Family, second: u64) {
    if second == family.begins_at() {
        let ways = ways(family, &ground.victims);
        let failing = ways.iter().map(|way| way.app(&way.corp_ids));
        ground.attempt_all(failing.collect::<Vec<_>>()).await;
    }
}
