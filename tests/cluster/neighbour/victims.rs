//! Two hundred apps, and what is promised to them.

use std::collections::{BTreeMap, HashMap};

use dingtalk_token_operator::api::DingTalkApp;
use futures::StreamExt as _;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use kube::api::{ListParams, PostParams};
use serde_json::json;

use super::ground::Ground;
use super::report::Breach;
use super::{failing, forgery};

/// The life of every token, in seconds.
pub const LIFE: i64 = 60;
pub const NAMESPACES: [&str; 3] = ["hr", "sales", "warehouse"];
pub const CLIENTS: usize = 25;
const APPS_OF_A_CLIENT: usize = 8;
/// The corps of the app that each client has with several.
const CORPS_OF_SEVERAL: usize = 3;
/// A renewal is due after two thirds of a life, at the earliest 5 % of it sooner by jitter, 2 % to
/// go with another corp of the same app, and a second by rounding: 34.8 s. The rest is for a call
/// that was long on its way to the stub.
const BETWEEN_FETCHES: SignedDuration = SignedDuration::from_secs(30);

/// So often, in the two minutes of a test, a token may be fetched early for another team that knows
/// the client secret.
const EARLY_FETCHES: usize = 3;

/// What is left of each token when an attack begins: a renewal is due by then.
const LEFT: SignedDuration = SignedDuration::from_secs(15);

pub struct Victim {
    pub namespace: &'static str,
    pub name: String,
    pub client: usize,
    pub client_id: String,
    pub corp_ids: Vec<String>,
}

impl Victim {
    pub fn all() -> Vec<Self> {
        let victim = |number: usize| {
            let (client, app) = (number / APPS_OF_A_CLIENT, number % APPS_OF_A_CLIENT);
            let corp_id = |corp: usize| format!("ding{client}x{corp}");
            let corp_ids = match app {
                0 => (0..CORPS_OF_SEVERAL).map(corp_id).collect(),
                _ => vec![corp_id(CORPS_OF_SEVERAL + app)],
            };
            Self {
                namespace: NAMESPACES[client % NAMESPACES.len()],
                name: format!("app-{client}-{app}"),
                client,
                client_id: client_id(client),
                corp_ids,
            }
        };
        (0..CLIENTS * APPS_OF_A_CLIENT).map(victim).collect()
    }

    fn app(&self) -> DingTalkApp {
        let layout = match self.corp_ids.len() {
            1 => "Single",
            _ => "Combined",
        };
        serde_json::from_value(json!({
            "apiVersion": "dingtalk-token-operator.github.io/v1alpha1", "kind": "DingTalkApp",
            "metadata": {"name": self.name, "namespace": self.namespace},
            "spec": {
                "credentialsSecretRef": {"name": format!("credentials-{}", self.client)}, "site": "global",
                "corpIds": self.corp_ids, "target": {"layout": layout},
            },
        }))
        .expect("an app")
    }

    /// Makes them known to the stub and to the cluster.
    pub async fn register(ground: &Ground) {
        for client in 0..CLIENTS {
            let of_client = ground
                .victims
                .iter()
                .filter(|victim| victim.client == client);
            let corp_ids: Vec<&str> = of_client
                .flat_map(|victim| victim.corp_ids.iter().map(String::as_str))
                .collect();
            ground
                .stub()
                .register(&client_id(client), &client_secret(client), &corp_ids);
            let credentials: Secret = serde_json::from_value(json!({
                "metadata": {"name": format!("credentials-{client}")},
                "stringData": {"client_id": client_id(client),
                    "client_secret": client_secret(client)},
            }))
            .expect("a Secret");
            let namespace = NAMESPACES[client % NAMESPACES.len()];
            let created = ground
                .api::<Secret>(namespace)
                .create(&PostParams::default(), &credentials)
                .await;
            created.expect("credentials");
        }
        let create = |victim: &Self| {
            let apps = ground.api::<DingTalkApp>(victim.namespace);
            let app = victim.app();
            async move {
                let created = apps.create(&PostParams::default(), &app).await;
                created.expect("an app");
            }
        };
        let creations: Vec<_> = ground.victims.iter().map(create).collect();
        let creations = futures::stream::iter(creations).buffer_unordered(16);
        creations.collect::<Vec<()>>().await;
    }
}

pub fn client_id(client: usize) -> String {
    format!("dingvictim{client}")
}

pub fn client_secret(client: usize) -> String {
    format!("secret-of-victim-{client}")
}

/// A token as it is in a Secret.
struct Found {
    token: String,
    expires_at: Timestamp,
}

/// Looks at the victims' Secrets.
pub struct Lookout {
    /// What was seen last, by `client_id` and organisation.
    expiries: HashMap<(String, String), Timestamp>,
    since: Timestamp,
    /// The least life that was left of a token.
    least: Option<SignedDuration>,
}

impl Lookout {
    /// Waits until every victim is served.
    pub async fn new(ground: &Ground) -> Self {
        ground
            .eventually("the victims' tokens", async || {
                ground.is_alive().expect("the operator runs");
                let secrets = secrets(ground).await.ok()?;
                let all = ground.victims.iter().all(|victim| {
                    let mut corp_ids = victim.corp_ids.iter();
                    corp_ids.all(|corp_id| {
                        found(&secrets, victim, corp_id)
                            .is_some_and(|found| found.expires_at > Timestamp::now() + LEFT)
                    })
                });
                all.then_some(())
            })
            .await;
        Self {
            expiries: HashMap::new(),
            since: Timestamp::now(),
            least: None,
        }
    }

    /// No token in a Secret is expired, or other than what the endpoint gave for it.
    pub async fn look(&mut self, ground: &Ground) -> Result<(), Breach> {
        let asked_at = Timestamp::now();
        // An API server that is busy for a moment tells nothing; the next look shows as much.
        let Ok(secrets) = secrets(ground).await else {
            return Ok(());
        };
        for victim in &ground.victims {
            for corp_id in &victim.corp_ids {
                self.judge(ground, victim, corp_id, &secrets, asked_at)
                    .map_err(|(promise, how)| Breach {
                        promise,
                        whom: format!("{}/{}, {corp_id}", victim.namespace, victim.name),
                        how,
                    })?;
            }
        }
        Ok(())
    }

    fn judge(
        &mut self,
        ground: &Ground,
        victim: &Victim,
        corp_id: &str,
        secrets: &Secrets,
        asked_at: Timestamp,
    ) -> Result<(), (&'static str, String)> {
        const VALID: &str = "a token in a Secret is valid at all times";
        const GENUINE: &str = "a token in a Secret is the one that the endpoint gave for it";
        let Some(Found { token, expires_at }) = found(secrets, victim, corp_id) else {
            return Err((VALID, "its Secret has no token any more".to_owned()));
        };
        let life = SignedDuration::from_secs(LIFE);
        let key = (victim.client_id.clone(), corp_id.to_owned());
        if expires_at > Timestamp::now() + life {
            let how = format!("it is said to expire at {expires_at} only");
            return Err((GENUINE, how));
        }
        let before = self.expiries.insert(key.clone(), expires_at);
        if before.is_some_and(|before| expires_at - life > before) {
            let how = format!("it expired at {before:?} and was renewed later only");
            return Err((VALID, how));
        }
        let left = expires_at.duration_since(asked_at);
        self.least = Some(self.least.map_or(left, |least| least.min(left)));
        if expires_at <= asked_at {
            let how = format!("it expired at {expires_at}, and is there at {asked_at}");
            return Err((VALID, how));
        }
        match ground.stub().holder(&token, asked_at) {
            Some(holder) if holder == key => Ok(()),
            Some(other) => Err((GENUINE, format!("it is the token of {other:?}"))),
            // It has expired since it was asked for, and the stub has forgotten it.
            None if expires_at <= Timestamp::now() => Ok(()),
            None => Err((GENUINE, "the API does not accept it".to_owned())),
        }
    }

    pub fn summary(&self) -> String {
        let seconds = Timestamp::now().duration_since(self.since).as_secs();
        let tokens = self.expiries.len();
        let least = self.least.map_or("not seen".to_owned(), |least| {
            format!("{} s", least.as_secs())
        });
        format!("{tokens} tokens watched for {seconds} s, the least life left in a Secret {least}")
    }
}

/// No token was fetched more often than its schedule allows. A team that knows a victim's client
/// secret may ask for a renewal once a minute; and after a restart the operator believes no Secret of
/// another namespace, so the token is fetched once more for that team.
pub fn pace(ground: &Ground) -> Result<(), Breach> {
    let known = [forgery::CLIENT, failing::ASKING_CLIENT].map(client_id);
    let mut fetched: HashMap<(String, String), Timestamp> = HashMap::new();
    let mut fetched_for_the_other_team: HashMap<(String, String), usize> = HashMap::new();
    for call in ground.stub().journal() {
        let Some(client_id) = call.client_id.filter(|_| call.status == Some(200)) else {
            continue;
        };
        let is_victims = ground
            .victims
            .iter()
            .any(|victim| victim.client_id == client_id && victim.corp_ids.contains(&call.corp_id));
        let key = (client_id, call.corp_id);
        let before = fetched.insert(key.clone(), call.at);
        let gap = before.map(|before| call.at.duration_since(before));
        let Some(gap) = gap.filter(|gap| is_victims && *gap < BETWEEN_FETCHES) else {
            continue;
        };
        let early = fetched_for_the_other_team.entry(key.clone()).or_default();
        *early += 1;
        if !known.contains(&key.0) || *early > EARLY_FETCHES {
            return Err(Breach {
                promise: "no token is fetched more often than its schedule says",
                whom: format!("{}, {}", key.0, key.1),
                how: format!(
                    "{} ms after the fetch before, at {}",
                    gap.as_millis(),
                    call.at
                ),
            });
        }
    }
    Ok(())
}

type Secrets = BTreeMap<(String, String), Secret>;

/// All Secrets that the operator wrote for victims, by namespace and name.
async fn secrets(ground: &Ground) -> kube::Result<Secrets> {
    let mut all = BTreeMap::new();
    let ours = ListParams::default().labels("app.kubernetes.io/managed-by=dingtalk-token-operator");
    for namespace in NAMESPACES {
        for secret in ground.api::<Secret>(namespace).list(&ours).await? {
            all.insert((namespace.to_owned(), secret.name_any()), secret);
        }
    }
    Ok(all)
}

fn found(secrets: &Secrets, victim: &Victim, corp_id: &str) -> Option<Found> {
    let name = (
        victim.namespace.to_owned(),
        format!("{}-token", victim.name),
    );
    let data = secrets.get(&name)?.data.as_ref()?;
    let prefix = match victim.corp_ids.len() {
        1 => String::new(),
        _ => format!("{corp_id}."),
    };
    let text = |key: &str| {
        let value = data.get(&format!("{prefix}{key}"))?;
        String::from_utf8(value.0.clone()).ok()
    };
    Some(Found {
        token: text("access_token")?,
        expires_at: text("expires_at")?.parse().ok()?,
    })
}
