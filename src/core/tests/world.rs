//! A cluster and a site for one app, as far as the plan sees them.

use super::*;
use crate::api::DingTalkAppStatus;
use crate::dingtalk::TokenResponse;

pub const HOUR: Duration = Duration::from_secs(3600);

pub fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("a time")
}

pub fn app(generation: i64) -> DingTalkApp {
    serde_json::from_value(serde_json::json!({
        "apiVersion": "dingtalk-token-operator.github.io/v1alpha1", "kind": "DingTalkApp",
        "metadata": {"name": "payroll", "namespace": "hr", "uid": "u1", "generation": generation},
        "spec": {"credentialsSecretRef": {"name": "credentials"}, "site": "global", "corpIds": ["ding1"]},
    }))
    .expect("an app")
}

pub fn fingerprint(secret: &str) -> Fingerprint {
    let value = |key: &str| {
        Some(Zeroizing::new(
            if key == "id" { "a" } else { secret }.into(),
        ))
    };
    Credentials::read("id", "secret", value)
        .expect("credentials")
        .fingerprint(&[0; 32])
}

/// A cluster and a site for one app, as far as the plan sees them.
pub struct World {
    pub app: DingTalkApp,
    pub memory: Memory,
    pub tokens: Tokens,
    pub credentials: u64,
    pub client_id: String,
    /// What the index knows about the credentials, if it differs from what exists.
    pub seen: Option<CredentialsSeen>,
    pub ownership: Ownership,
    pub site: AppSite<'static>,
    pub metadata_prefixes: Vec<String>,
    pub reads: usize,
    pub target: Option<TargetMeta>,
    /// The target's data.
    pub contents: BTreeMap<String, Zeroizing<String>>,
    pub last_write: Option<Write>,
    pub now: Timestamp,
    pub versions: u64,
    pub attempts: Vec<Timestamp>,
    /// Cause of each attempt.
    pub causes: Vec<Cause>,
    /// Cause of each write.
    pub write_causes: Vec<Cause>,
    pub writes: Vec<Timestamp>,
    /// An annotation that a webhook removes from every write.
    pub taken_off: Option<&'static str>,
    /// Whether the process is shutting down.
    pub is_ending: bool,
}

impl World {
    pub fn new() -> Self {
        let (app, now) = (app(1), at(1_800_000_000));
        Self {
            memory: Memory::new(&app, now),
            tokens: Tokens::default(),
            app,
            credentials: 1,
            client_id: "a".into(),
            seen: None,
            ownership: Ownership::Ours,
            site: AppSite::Available("api.dingtalk.io"),
            metadata_prefixes: Vec::new(),
            reads: 0,
            target: None,
            contents: BTreeMap::new(),
            last_write: None,
            now,
            versions: 10,
            attempts: Vec::new(),
            causes: Vec::new(),
            write_causes: Vec::new(),
            writes: Vec::new(),
            taken_off: None,
            is_ending: false,
        }
    }

    pub fn version(&self) -> ObjectVersion {
        ObjectVersion {
            uid: self.app.spec.credentials_secret_ref.name.clone(),
            resource_version: self.credentials.to_string(),
        }
    }

    /// Makes a decision with the present view.
    pub fn decide<T>(&mut self, decide: impl FnOnce(&View<'_>, &mut Memory, Timestamp) -> T) -> T {
        self.memory.subscribe(&self.app, &mut self.tokens, self.now);
        let credentials = self.seen.clone();
        let view = View {
            app: &self.app,
            credentials: credentials.unwrap_or_else(|| CredentialsSeen::Present(self.version())),
            targets: vec![TargetSeen {
                present: self.target.as_ref().map(|target| (target, self.ownership)),
                claim: Claim::Ours,
            }],
            former: BTreeMap::new(),
            site: self.site.clone(),
            tokens: &self.tokens,
            metadata_prefixes: &self.metadata_prefixes,
            is_ending: self.is_ending,
        };
        decide(&view, &mut self.memory, self.now)
    }

    /// Records the credentials as read.
    pub fn read_credentials(&mut self) {
        self.memory.credentials_read(
            KnownCredentials {
                reference: self.app.spec.credentials_secret_ref.clone(),
                client_id: self.client_id.clone(),
                version: self.version(),
                fingerprint: fingerprint(&self.credentials.to_string()),
            },
            &[],
        );
    }

    /// Takes steps until the app is at rest. Each attempt gets `outcome`.
    pub fn settle(&mut self, outcome: &Outcome) -> Settled {
        for _ in 0..12 {
            let app = self.app.clone();
            match self.decide(next_step) {
                Step::ReadCredentials if self.seen == Some(CredentialsSeen::Absent) => {
                    self.memory.credentials_failed(self.absent());
                }
                Step::ReadCredentials => {
                    self.reads += 1;
                    self.seen = None;
                    self.read_credentials();
                    if let Some(due) = self.decide(due).pop() {
                        self.causes.push(due.why.cause);
                        self.attempt(due, outcome);
                    }
                }
                Step::ParseTemplates => {
                    let generation = app.metadata.generation;
                    self.memory
                        .templates_parsed(generation, Templates::of(&app));
                }
                Step::Targets(steps) => {
                    for step in steps {
                        self.act(step);
                    }
                }
                Step::Settle(settled) => return settled,
            }
        }
        panic!("it goes in circles");
    }

    fn act(&mut self, step: TargetStep) {
        match step {
            TargetStep::Assemble { name, assembly } => {
                self.memory.assembled(&name, assembly.assemble());
            }
            TargetStep::Write { write, why } => {
                self.write_causes.push(why.cause);
                self.write(&write);
            }
            TargetStep::Read { name, corp_ids } => self.read_target(&name, &corp_ids),
            TargetStep::Look { .. } => unreachable!("there is room for it"),
            TargetStep::Delete { .. } => unreachable!("the target is ours"),
        }
    }

    pub fn read_target(&mut self, name: &str, corp_ids: &[String]) {
        let target = self.target.clone().expect("a target");
        let keys = target.recorded.iter().flat_map(Recorded::keys);
        let found = |key: &str| {
            let value = self.contents.get(key)?;
            Some(Zeroizing::new(value.as_bytes().to_vec()))
        };
        let data = Data::found(keys.collect::<Vec<_>>(), found);
        let recorded = target.recorded.as_ref();
        let tokens = recorded.and_then(|recorded| data.tokens_recorded(recorded));
        let tokens = (tokens.is_some(), tokens.unwrap_or_default());
        self.memory.target_read(name, &target, tokens, corp_ids);
    }

    pub fn absent(&self) -> CredentialsProblem {
        CredentialsProblem {
            reason: Reason::CredentialsNotFound,
            message: "there is none".into(),
            since: self.now,
            version: None,
            generation: self.app.metadata.generation,
            retry: None,
        }
    }

    /// Queues a fetch of the wanted token, whether it is due or not.
    pub fn queue(&mut self) -> PendingFetch {
        self.memory.subscribe(&self.app, &mut self.tokens, self.now);
        let token = self.memory.corp("ding1").token().expect("read");
        self.begin(Due {
            corp_id: "ding1".into(),
            why: Cause::RenewalDue.into(),
            token,
            ended: self.tokens.get(token).expect("wanted").attempts.ended(),
            former: self.held().map(|held| held.record),
            newer_than: None,
        })
    }

    fn begin(&mut self, due: Due) -> PendingFetch {
        let pending = |id| PendingFetch {
            id,
            token: due.token,
            app: "hr/payroll".into(),
            uid: self.memory.uid.clone(),
            credentials: ObjectVersion {
                uid: self.app.spec.credentials_secret_ref.name.clone(),
                resource_version: self.credentials.to_string(),
            },
            reference: self.app.spec.credentials_secret_ref.clone(),
            why: due.why,
            generation: self.app.metadata.generation,
            renew_before: None,
            former: due.former,
            since: self.now,
        };
        let pending = self.tokens.begin(due.token, due.ended, "hr", pending);
        pending.expect("none is under way")
    }

    pub fn attempt(&mut self, due: Due, outcome: &Outcome) {
        self.attempts.push(self.now);
        let pending = self.begin(due);
        match outcome {
            Outcome::Token { life, fresh } => {
                let value = if *fresh {
                    format!("token{}", self.attempts.len())
                } else {
                    "token".into()
                };
                let response = TokenResponse {
                    token: AccessToken::new(value).expect("a token"),
                    expires_in: Duration::from_secs(*life),
                };
                self.tokens
                    .succeeded(&pending, response, self.now, self.now);
            }
            Outcome::Failure { row, wait, random } => {
                let failure = Failure {
                    wait: *wait,
                    ..Failure::of(&TABLE[*row % TABLE.len()])
                };
                let held = self.held().map(|held| held.record.lifetime.expires_at);
                let left = held
                    .and_then(|expires| Duration::try_from(expires.duration_since(self.now)).ok());
                let attempt = FailedAttempt {
                    failure,
                    life_left: left.filter(|left| !left.is_zero()),
                    is_site_down: false,
                    random: *random,
                };
                self.tokens.failed(&pending, attempt, self.now);
            }
        }
    }

    pub fn write(&mut self, write: &Write) {
        self.versions += 1;
        let version = ObjectVersion {
            uid: "t1".into(),
            resource_version: self.versions.to_string(),
        };
        self.writes.push(self.now);
        let set = |map: &BTreeMap<String, Option<String>>| -> BTreeMap<String, String> {
            let set = map.iter();
            let set = set.filter(|(key, _)| self.taken_off != Some(key.as_str()));
            set.filter_map(|(key, value)| Some((key.clone(), value.clone()?)))
                .collect()
        };
        for (key, value) in &write.data {
            match value {
                Some(value) => self.contents.insert(key.clone(), value.clone()),
                None => self.contents.remove(key),
            };
        }
        self.last_write = Some(write.clone());
        self.target = Some(TargetMeta {
            version: version.clone(),
            labels: crate::core::secret::marks::Marks::of(&set(&write.labels)),
            annotations: crate::core::secret::marks::Marks::of(&set(&write.annotations)),
            managed_for: Some(self.memory.uid.as_str().into()),
            owner_references: write.owner_references.clone(),
            recorded: write.recorded.read_back(),
            data_is_ours: true,
            ..TargetMeta::default()
        });
        let outcome = WriteOutcome::Done(version);
        self.memory.write_ended(write, outcome, &self.app, self.now);
    }

    /// Replaces the process.
    pub fn restart(&mut self) {
        self.memory = Memory::new(&self.app, self.now);
        self.tokens = Tokens::default();
    }

    pub fn status(&self, settled: &Settled) -> DingTalkAppStatus {
        self.status_after(settled, &DingTalkAppStatus::default())
    }

    pub fn status_after(
        &self,
        settled: &Settled,
        previous: &DingTalkAppStatus,
    ) -> DingTalkAppStatus {
        let at_rest = AtRest {
            app: &self.app,
            settled,
            memory: &self.memory,
            tokens: &self.tokens,
            previous,
            now: self.now,
        };
        at_rest.status()
    }

    pub fn held(&self) -> Option<Held> {
        self.memory.corps.get("ding1")?.held.clone()
    }

    pub fn failing(&self) -> Option<&crate::core::token::attempt::Failing> {
        let corp = self.memory.corps.get("ding1")?;
        corp.attempts(&self.tokens).failing()
    }

    pub fn token(&self) -> Option<Held> {
        self.held()
            .filter(|held| held.record.lifetime.expires_at > self.now)
    }
}
