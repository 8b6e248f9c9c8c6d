//! Random sequences of what users do, against the real API server and the stub: after each step the
//! cluster comes to rest in the state that the spec implies, with nothing left over.
//!
//! `MODEL_SEED` and `MODEL_ROUNDS` run another or a longer sequence.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use dingtalk_token_operator::api::DingTalkApp;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::api::DeleteParams;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::json;

use crate::support::{CLIENT_ID, CLIENT_SECRET, Sandbox, condition};

const CORPS: [&str; 3] = ["ding1", "ding2", "ding3"];
/// The operator wrote nothing for so long: it is at rest.
const REST: Duration = Duration::from_secs(5);
/// More repairs than three in a minute are put off for a minute, by design.
const EDITS_MAX: u32 = 2;

/// What a user does.
#[derive(Clone, Copy, Debug)]
enum Action {
    Create,
    ChangeCorps,
    ChangeLayout,
    Rename,
    Delete,
    Recreate,
    BreakCredentials,
    MendCredentials,
    DeleteCredentials,
    EditSecret,
    DeleteSecret,
    Stop,
    Kill,
    Start,
}

const ACTIONS: [Action; 14] = [
    Action::Create,
    Action::ChangeCorps,
    Action::ChangeLayout,
    Action::Rename,
    Action::Delete,
    Action::Recreate,
    Action::BreakCredentials,
    Action::MendCredentials,
    Action::DeleteCredentials,
    Action::EditSecret,
    Action::DeleteSecret,
    Action::Stop,
    Action::Kill,
    Action::Start,
];

/// Whether a token is to be there.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Expected {
    Yes,
    No,
    /// Kubernetes collects the Secret of a deleted app, or its successor takes it over before.
    Either,
}

#[derive(Clone, Debug)]
struct App {
    layout: &'static str,
    corps: BTreeSet<&'static str>,
    target: String,
    tokens: BTreeMap<&'static str, Expected>,
}

impl App {
    fn secret_of(&self, corp: &str) -> String {
        match self.layout {
            "PerCorp" => format!("{}-{corp}", self.target),
            _ => self.target.clone(),
        }
    }

    fn spec(&self) -> serde_json::Value {
        json!({
            "corpIds": self.corps,
            "target": {"name": self.target, "layout": self.layout},
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Credentials {
    Right,
    Wrong,
    Absent,
}

struct Model {
    sandbox: Sandbox,
    random: SmallRng,
    apps: BTreeMap<&'static str, App>,
    credentials: BTreeMap<&'static str, Credentials>,
    is_running: bool,
    edits: BTreeMap<String, u32>,
    /// Tokens of deleted apps whose Secrets may not have been collected yet.
    ghosts: BTreeMap<&'static str, BTreeMap<&'static str, Expected>>,
    /// Apps that have had right credentials and a running operator since the last check.
    calm: BTreeSet<&'static str>,
    history: Vec<String>,
}

impl Model {
    async fn step(&mut self) {
        let action = *ACTIONS.choose(&mut self.random).expect("some");
        let name = *["one", "two"].choose(&mut self.random).expect("some");
        self.history.push(format!("{action:?} {name}"));
        match action {
            Action::Stop | Action::Kill => self.calm.clear(),
            _ => {
                self.calm.remove(name);
            }
        }
        match action {
            Action::Create if !self.apps.contains_key(name) => self.create(name, "a").await,
            Action::Stop if self.is_running => {
                self.sandbox.stop_operator();
                self.is_running = false;
            }
            Action::Kill if self.is_running => {
                self.sandbox.kill_operator();
                self.is_running = false;
            }
            Action::Start if !self.is_running => self.start().await,
            Action::BreakCredentials => {
                self.sandbox
                    .credentials(&format!("{name}-credentials"), CLIENT_ID, "wrong")
                    .await;
                self.credentials.insert(name, Credentials::Wrong);
            }
            Action::MendCredentials => self.mend(name).await,
            Action::DeleteCredentials => {
                let secret = format!("{name}-credentials");
                let secrets = self.sandbox.api::<Secret>();
                let _ = secrets.delete(&secret, &DeleteParams::default()).await;
                self.credentials.insert(name, Credentials::Absent);
            }
            _ if self.apps.contains_key(name) => self.change(action, name).await,
            _ => {
                self.history.pop();
            }
        }
    }

    async fn start(&mut self) {
        self.sandbox.start_operator(&[]);
        self.sandbox.until_watching().await;
        self.is_running = true;
    }

    async fn mend(&mut self, name: &'static str) {
        self.sandbox
            .credentials(&format!("{name}-credentials"), CLIENT_ID, CLIENT_SECRET)
            .await;
        self.credentials.insert(name, Credentials::Right);
    }

    async fn create(&mut self, name: &'static str, end: &str) {
        let app = App {
            layout: "Combined",
            corps: BTreeSet::from(["ding1", "ding2"]),
            target: format!("{name}-{end}"),
            tokens: self.ghosts.remove(name).unwrap_or_default(),
        };
        self.sandbox.app_with(name, app.spec()).await;
        self.apps.insert(name, app);
    }

    async fn change(&mut self, action: Action, name: &'static str) {
        let mut app = self.apps[name].clone();
        match action {
            Action::ChangeCorps => {
                let count = match app.layout {
                    "Single" => 1,
                    _ => self.random.random_range(1..=3),
                };
                let chosen = CORPS.choose_multiple(&mut self.random, count);
                app.corps = chosen.copied().collect();
            }
            Action::ChangeLayout => {
                let layouts = ["Single", "Combined", "PerCorp"];
                app.layout = layouts.choose(&mut self.random).expect("some");
                if app.layout == "Single" {
                    app.corps = app.corps.iter().take(1).copied().collect();
                }
            }
            Action::Rename => {
                let end = if app.target.ends_with("-a") { "b" } else { "a" };
                app.target = format!("{name}-{end}");
            }
            Action::Delete => {
                self.delete(name).await;
                self.apps.remove(name);
                let held = app.tokens.into_iter();
                let held = held.filter(|(_, expected)| *expected != Expected::No);
                let ghosts = held.map(|(corp, _)| (corp, Expected::Either)).collect();
                self.ghosts.insert(name, ghosts);
                return;
            }
            Action::Recreate => {
                self.delete(name).await;
                for expected in app.tokens.values_mut() {
                    if *expected == Expected::Yes {
                        *expected = Expected::Either;
                    }
                }
            }
            Action::EditSecret | Action::DeleteSecret => {
                self.touch_secret(action, &app).await;
                return;
            }
            _ => return,
        }
        app.tokens.retain(|corp, _| app.corps.contains(corp));
        self.sandbox.app_with(name, app.spec()).await;
        self.apps.insert(name, app);
    }

    async fn delete(&self, name: &str) {
        self.sandbox
            .api::<DingTalkApp>()
            .delete(name, &DeleteParams::default())
            .await
            .expect("deleted");
    }

    async fn touch_secret(&mut self, action: Action, app: &App) {
        let Some(corp) = app.corps.iter().next() else {
            return;
        };
        let secret = app.secret_of(corp);
        let edits = self.edits.entry(secret.clone()).or_default();
        *edits += 1;
        // While nobody is there to put it right, a token whose value is lost is fetched anew.
        if *edits > EDITS_MAX || self.sandbox.token_count(&secret).await.is_none() {
            return;
        }
        match action {
            Action::EditSecret => {
                let key = match app.layout {
                    "Combined" => format!("{corp}.access_token"),
                    _ => "access_token".to_owned(),
                };
                let edit = json!({
                    "data": {key: "Z2FyYmFnZQ=="},
                    "metadata": {"annotations": {"dingtalk-token-operator.github.io/owner": "x"}},
                });
                self.sandbox.merge::<Secret>(&secret, edit).await;
            }
            _ => {
                let secrets = self.sandbox.api::<Secret>();
                let _ = secrets.delete(&secret, &DeleteParams::default()).await;
            }
        }
        if !self.is_running {
            self.lose_tokens(&secret);
        }
    }

    /// What was in a Secret is gone, and no process remembers it.
    fn lose_tokens(&mut self, secret: &str) {
        for app in self.apps.values_mut() {
            let held: Vec<&'static str> = app.tokens.keys().copied().collect();
            for corp in held {
                if app.secret_of(corp) == secret {
                    app.tokens.insert(corp, Expected::Either);
                }
            }
        }
    }

    /// With the operator running and the credentials right, every token comes.
    fn progress(&mut self) {
        if !self.is_running {
            return;
        }
        for (name, app) in &mut self.apps {
            let credentials = self.credentials.get(name);
            for corp in app.corps.clone() {
                let now = app.tokens.get(corp).copied().unwrap_or(Expected::No);
                let next = match credentials {
                    Some(Credentials::Right) => Expected::Yes,
                    _ => now,
                };
                app.tokens.insert(corp, next);
            }
        }
    }

    async fn check(&mut self) {
        self.progress();
        if !self.is_running {
            return;
        }
        self.rest().await;
        let what = format!("the state after {:#?}\n{:#?}", self.history, self.apps);
        self.sandbox
            .eventually(&what, async || {
                self.difference().await.is_none().then_some(())
            })
            .await;
        self.rest().await;
        if let Some(difference) = self.difference().await {
            panic!(
                "it did not stay so: {difference}\n{what}\n{}",
                self.sandbox.logs()
            );
        }
        let is_right =
            |name: &&&'static str| self.credentials.get(**name) == Some(&Credentials::Right);
        self.calm = self.apps.keys().filter(is_right).copied().collect();
        self.ghosts.clear();
        // What was uncertain is settled now.
        for app in self.apps.values_mut() {
            let secrets: Vec<String> = app.corps.iter().map(|corp| app.secret_of(corp)).collect();
            for (corp, secret) in app.corps.clone().into_iter().zip(secrets) {
                if app.tokens.get(corp) == Some(&Expected::Either) {
                    let is_there = self.sandbox.has_token(&secret, app.layout, corp).await;
                    let settled = if is_there {
                        Expected::Yes
                    } else {
                        Expected::No
                    };
                    app.tokens.insert(corp, settled);
                }
            }
        }
    }

    async fn rest(&self) {
        let started = Instant::now();
        let (mut seen, mut since) = (self.sandbox.requests().len(), Instant::now());
        while since.elapsed() < REST {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let now = self.sandbox.requests();
            if now.len() != seen {
                (seen, since) = (now.len(), Instant::now());
            }
            self.no_expired_token().await;
            assert!(
                started.elapsed() < Duration::from_secs(120),
                "it does not come to rest: {:?} after {:#?}",
                &now[now.len().saturating_sub(20)..],
                self.history
            );
        }
    }

    /// While nothing stands in the way, what is in the Secrets is renewed before it expires.
    async fn no_expired_token(&self) {
        for name in &self.calm {
            let Some(app) = self.apps.get(name) else {
                continue;
            };
            for corp in &app.corps {
                let secret = app.secret_of(corp);
                let expires_at = self.sandbox.expires_at(&secret, app.layout, corp).await;
                assert!(
                    expires_at.is_none_or(|at| at > Timestamp::now()),
                    "the token of {corp} in {secret} expired at {expires_at:?}: {:#?}\n{}",
                    self.history,
                    self.sandbox.logs()
                );
            }
        }
    }

    /// How the cluster differs from what the model implies, if it does.
    async fn difference(&self) -> Option<String> {
        let managed: BTreeSet<String> = self.sandbox.managed_secrets().await.into_iter().collect();
        let mut wanted = BTreeSet::new();
        for (name, app) in &self.apps {
            let status = self.sandbox.api::<DingTalkApp>().get(name).await.ok()?;
            let mut all = true;
            for corp in &app.corps {
                let secret = app.secret_of(corp);
                let is_there = self.sandbox.has_token(&secret, app.layout, corp).await;
                match app.tokens.get(corp) {
                    // Nobody can renew it without credentials.
                    Some(Expected::Yes)
                        if !is_there
                            && self.credentials.get(name) != Some(&Credentials::Right)
                            && self
                                .sandbox
                                .expires_at(&secret, app.layout, corp)
                                .await
                                .is_some_and(|at| at <= Timestamp::now()) => {}
                    Some(Expected::Yes) if !is_there => {
                        return Some(format!("{name}: no working token of {corp} in {secret}"));
                    }
                    None | Some(Expected::No) if is_there => {
                        return Some(format!("{name}: a token of {corp} in {secret}"));
                    }
                    _ => {}
                }
                all &= is_there;
                wanted.insert(secret);
            }
            let ready = if all { "True" } else { "False" };
            if condition(&status, "Ready", ready).is_none() {
                return Some(format!("{name} is not Ready={ready}: {:?}", status.status));
            }
        }
        if let Some(left_over) = managed.difference(&wanted).next() {
            return Some(format!("{left_over} is left over"));
        }
        let bystander = self.sandbox.data("bystander").await;
        (bystander.and_then(|mut data| data.remove("mine")) != Some("x".to_owned()))
            .then(|| "the bystander was touched".to_owned())
    }
}

impl Sandbox {
    async fn token_count(&self, secret: &str) -> Option<usize> {
        let data = self.data(secret).await?;
        let tokens = data.keys().filter(|key| key.ends_with("access_token"));
        Some(tokens.count()).filter(|count| *count > 0)
    }

    /// Whether a Secret holds a token that works and has not expired.
    async fn has_token(&self, secret: &str, layout: &str, corp: &str) -> bool {
        let prefix = match layout {
            "Combined" => format!("{corp}."),
            _ => String::new(),
        };
        let Some(data) = self.data(secret).await else {
            return false;
        };
        let token = data.get(&format!("{prefix}access_token"));
        let expires_at = self.expires_at(secret, layout, corp).await;
        token.is_some_and(|token| self.stub.accepts(token))
            && expires_at.is_some_and(|at| at > Timestamp::now())
    }

    async fn expires_at(&self, secret: &str, layout: &str, corp: &str) -> Option<Timestamp> {
        let key = match layout {
            "Combined" => format!("{corp}.expires_at"),
            _ => "expires_at".to_owned(),
        };
        self.data(secret).await?.get(&key)?.parse().ok()
    }
}

async fn run(name: &str, seed: u64) {
    let number = |name: &str, default: u64| match std::env::var(name) {
        Ok(text) => text.parse().expect("a number"),
        Err(_) => default,
    };
    let (seed, rounds) = (number("MODEL_SEED", seed), number("MODEL_ROUNDS", 10));
    println!("MODEL_SEED={seed} MODEL_ROUNDS={rounds}");
    let sandbox = Sandbox::new(name).await;
    sandbox.stub.register(CLIENT_ID, CLIENT_SECRET, &CORPS);
    // Short enough that there are renewals in between, and long enough to come to rest.
    sandbox.stub.configure(|settings| settings.expires_in = 120);
    let bystander = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "bystander"},
        "stringData": {"mine": "x"},
    });
    sandbox.apply::<Secret>("bystander", bystander).await;
    sandbox.until_watching().await;
    let mut model = Model {
        sandbox,
        random: SmallRng::seed_from_u64(seed),
        apps: BTreeMap::new(),
        credentials: BTreeMap::new(),
        is_running: true,
        edits: BTreeMap::new(),
        ghosts: BTreeMap::new(),
        calm: BTreeSet::new(),
        history: vec![format!("seed {seed}")],
    };
    model.mend("one").await;
    model.create("one", "a").await;
    model.check().await;
    for _ in 0..rounds {
        for _ in 0..model.random.random_range(1..=3) {
            model.step().await;
        }
        model.check().await;
    }
    if !model.is_running {
        model.start().await;
    }
    for name in ["one", "two"] {
        model.mend(name).await;
    }
    model.check().await;
}

#[tokio::test]
async fn what_users_do_ends_in_the_state_that_the_spec_implies() {
    run("model-one", 1).await;
}

#[tokio::test]
async fn what_other_users_do_ends_there_too() {
    run("model-two", 2).await;
}

#[tokio::test]
async fn and_what_yet_others_do() {
    run("model-three", 3).await;
}
