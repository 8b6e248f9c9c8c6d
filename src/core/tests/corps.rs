//! An app with many corps, over the pure plan.

mod former;
mod requests;
mod restarts;
mod stops;
mod suspended;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use zeroize::Zeroizing;

use crate::api::DingTalkApp;
use crate::core::*;
use crate::dingtalk::{AccessToken, Credentials, Fingerprint, TokenResponse};

fn app(layout: &str, corps: &[String]) -> DingTalkApp {
    serde_json::from_value(serde_json::json!({
        "apiVersion": "dingtalk-token-operator.github.io/v1alpha1", "kind": "DingTalkApp",
        "metadata": {"name": "payroll", "namespace": "hr", "uid": "u1", "generation": 1},
        "spec": {"credentialsSecretRef": {"name": "credentials"}, "site": "global", "corpIds": corps,
            "target": {"layout": layout, "name": "token"}},
    }))
    .expect("an app")
}

pub(super) fn corps(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("ding{n:04}")).collect()
}

fn fingerprint() -> Fingerprint {
    let value = |_: &str| Some(Zeroizing::new(b"x".to_vec()));
    Credentials::read("id", "secret", value)
        .expect("credentials")
        .fingerprint(&[0; 32])
}

/// A cluster with one app of many corps.
pub(super) struct World {
    pub(super) app: DingTalkApp,
    pub(super) memory: Memory,
    pub(super) secrets: BTreeMap<String, TargetMeta>,
    pub(super) now: Timestamp,
    pub(super) tokens: Tokens,
    pub(super) queued: Vec<(String, PendingFetch)>,
    pub(super) writes: Vec<(Timestamp, String)>,
    deletions: Vec<String>,
    /// Whether each deletion is refused, and those that were.
    refuses_deletions: bool,
    refused: Vec<String>,
    /// The target whose data must not change.
    immutable: Option<&'static str>,
    reads: usize,
    versions: u64,
    /// Whether an older app has the targets that do not exist yet.
    is_contended: bool,
    /// Whether the process is shutting down.
    is_ending: bool,
    /// Number of times that templates were parsed, and contents assembled.
    pub(super) parsed: usize,
    pub(super) assembled: usize,
}

impl World {
    pub(super) fn new(layout: &str, corps: &[String]) -> Self {
        let app = app(layout, corps);
        let now = Timestamp::from_second(1_800_000_000).expect("a time");
        Self {
            memory: Memory::new(&app, now),
            app,
            secrets: BTreeMap::new(),
            now,
            tokens: Tokens::default(),
            queued: Vec::new(),
            writes: Vec::new(),
            deletions: Vec::new(),
            refuses_deletions: false,
            refused: Vec::new(),
            immutable: None,
            reads: 0,
            versions: 10,
            is_contended: false,
            is_ending: false,
            parsed: 0,
            assembled: 0,
        }
    }

    fn version() -> ObjectVersion {
        ObjectVersion {
            uid: "c1".into(),
            resource_version: "1".into(),
        }
    }

    fn change(&mut self, layout: &str, corps: &[String], name: &str) {
        let generation = self.app.metadata.generation;
        self.app = app(layout, corps);
        self.app.spec.target.name = Some(name.to_owned());
        self.app.metadata.generation = generation.map(|it| it + 1);
    }

    /// Takes steps until the app is at rest, and queues what is due.
    pub(super) fn settle(&mut self) -> Settled {
        for _ in 0..5000 {
            let app = self.app.clone();
            match self.decide(next_step) {
                Step::ReadCredentials => {
                    self.reads += 1;
                    let known = KnownCredentials {
                        reference: app.spec.credentials_secret_ref.clone(),
                        client_id: "a".into(),
                        version: Self::version(),
                        fingerprint: fingerprint(),
                    };
                    self.memory.credentials_read(known, &[]);
                    for due in self.decide(due) {
                        let corp_id = due.corp_id.clone();
                        let pending = self.begin(due);
                        self.queued.push((corp_id, pending));
                    }
                }
                Step::ParseTemplates => {
                    self.parsed += 1;
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
                self.assembled += 1;
                self.memory.assembled(&name, assembly.assemble());
            }
            TargetStep::Write { write, .. } => self.write(&write),
            TargetStep::Delete { name, why, .. } if self.refuses_deletions => {
                let failed = FailedChange {
                    problem: WriteProblem::Refused,
                    message: "denied".to_owned(),
                    random: 0.5,
                };
                let generation = self.app.metadata.generation;
                let writing = self.memory.writing_mut(&name);
                writing.not_deleted(why, failed, generation, self.now);
                self.refused.push(name);
            }
            TargetStep::Delete { name, .. } => {
                self.secrets.remove(&name);
                self.deletions.push(name);
            }
            TargetStep::Read { .. } => panic!("every value is known"),
            TargetStep::Look { .. } => panic!("there is room for every target"),
        }
    }

    pub(super) fn decide<T>(
        &mut self,
        decide: impl FnOnce(&View<'_>, &mut Memory, Timestamp) -> T,
    ) -> T {
        self.memory.subscribe(&self.app, &mut self.tokens, self.now);
        let names: BTreeSet<String> = wanted(&self.app).into_iter().map(|it| it.name).collect();
        let seen = |name: &String| TargetSeen {
            present: self
                .secrets
                .get(name)
                .map(|target| (target, Ownership::Ours)),
            claim: match self.is_contended && !self.secrets.contains_key(name) {
                true => Claim::Lost { to: "older".into() },
                false => Claim::Ours,
            },
        };
        let former = self
            .secrets
            .iter()
            .filter(|(name, _)| !names.contains(*name));
        let view = View {
            app: &self.app,
            credentials: CredentialsSeen::Present(Self::version()),
            targets: wanted(&self.app)
                .iter()
                .map(|target| seen(&target.name))
                .collect(),
            former: former
                .map(|(name, target)| (name.as_str(), target))
                .collect(),
            site: AppSite::Available("api.dingtalk.io"),
            tokens: &self.tokens,
            metadata_prefixes: &[],
            is_ending: self.is_ending,
        };
        decide(&view, &mut self.memory, self.now)
    }

    fn begin(&mut self, due: Due) -> PendingFetch {
        let pending = |id| PendingFetch {
            id,
            token: due.token,
            app: "hr/payroll".into(),
            uid: self.memory.uid.clone(),
            credentials: Self::version(),
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

    /// Answers the first queued fetch.
    pub(super) fn answer(&mut self, life: u64) {
        let (corp_id, pending) = self.queued.remove(0);
        let response = TokenResponse {
            token: AccessToken::new(format!("{corp_id}-{}", self.now.as_second())).expect("it"),
            expires_in: Duration::from_secs(life),
        };
        self.tokens
            .succeeded(&pending, response, self.now, self.now);
    }

    fn write(&mut self, write: &Write) {
        if self.immutable == Some(write.name.as_str()) && write.replaces.is_some() {
            let outcome = WriteOutcome::Immutable;
            return self.memory.write_ended(write, outcome, &self.app, self.now);
        }
        self.versions += 1;
        let version = ObjectVersion {
            uid: write.name.clone(),
            resource_version: self.versions.to_string(),
        };
        let set = |map: &BTreeMap<String, Option<String>>| -> BTreeMap<String, String> {
            let set = map.iter();
            set.filter_map(|(key, value)| Some((key.clone(), value.clone()?)))
                .collect()
        };
        let target = TargetMeta {
            version: version.clone(),
            labels: crate::core::secret::marks::Marks::of(&set(&write.labels)),
            annotations: crate::core::secret::marks::Marks::of(&set(&write.annotations)),
            managed_for: Some(self.memory.uid.as_str().into()),
            owner_references: write.owner_references.clone(),
            recorded: Some(write.recorded.clone()),
            data_is_ours: true,
            ..TargetMeta::default()
        };
        self.secrets.insert(write.name.clone(), target);
        self.writes.push((self.now, write.name.clone()));
        let outcome = WriteOutcome::Done(version);
        self.memory.write_ended(write, outcome, &self.app, self.now);
    }

    pub(super) fn tokens_in(&self, secret: &str) -> usize {
        let target = self.secrets.get(secret);
        let recorded = target.and_then(|target| target.recorded.as_ref());
        recorded.map_or(0, |recorded| recorded.tokens.len())
    }
}

#[test]
fn a_fetched_token_is_written_within_five_seconds_and_the_first_at_once() {
    let mut world = World::new("Combined", &corps(200));
    world.settle();
    assert_eq!(world.queued.len(), 200);
    assert_eq!(world.reads, 1);
    let mut unwritten: Vec<Timestamp> = Vec::new();
    while !world.queued.is_empty() {
        world.now += SignedDuration::from_millis(100);
        world.answer(7200);
        unwritten.push(world.now);
        let writes = world.writes.len();
        world.settle();
        if world.writes.len() > writes {
            let waited = world.now.duration_since(unwritten[0]);
            assert!(waited <= SignedDuration::from_millis(4900), "{waited}");
            unwritten.clear();
        }
    }
    assert_eq!(world.tokens_in("token"), 200, "the last is not waited for");
    // 20 s: the first at once, then every 4.8 s, and the last.
    assert!(world.writes.len() <= 6, "{:?}", world.writes);
}

/// Regression: a large app is looked at once a second, which was not part of the five.
#[test]
fn a_token_of_a_large_app_is_written_within_five_seconds_too() {
    let count = 1000;
    let mut world = World::new("Combined", &corps(count));
    world.settle();
    let mut unwritten: Vec<Timestamp> = Vec::new();
    for _ in 0..300 {
        world.now += SignedDuration::from_millis(90);
        world.answer(7200);
        unwritten.push(world.now);
        if world.memory.looks.begin(count, None, world.now).is_some() {
            continue;
        }
        let writes = world.writes.len();
        world.settle();
        if world.writes.len() > writes {
            let waited = world.now.duration_since(unwritten[0]);
            assert!(waited <= SignedDuration::from_secs(5), "{waited}");
            unwritten.clear();
        }
    }
    assert!((6..=9).contains(&world.writes.len()), "{:?}", world.writes);
}

#[test]
fn what_is_due_close_together_is_renewed_together() {
    let mut world = World::new("Combined", &corps(30));
    world.settle();
    while !world.queued.is_empty() {
        world.now += SignedDuration::from_secs(3);
        world.answer(7200);
        world.settle();
    }
    let settled = world.settle();
    let next = settled.corps.iter().filter_map(|corp| corp.next_attempt);
    let mut times: Vec<Timestamp> = next.collect();
    times.sort();
    world.now = times[0] + SignedDuration::from_secs(1);
    let reads = world.reads;
    world.settle();
    let horizon = world.now + SignedDuration::from_secs(144);
    let within = times.iter().filter(|at| **at <= horizon).count();
    assert!(within > 1, "{times:?}");
    assert_eq!(world.queued.len(), within, "two hundredths of two hours");
    assert_eq!(
        world.reads,
        reads + 1,
        "with one reading of the credentials"
    );
}

#[test]
fn each_organisation_has_its_secret_written_at_once() {
    let mut world = World::new("PerCorp", &corps(5));
    world.settle();
    while !world.queued.is_empty() {
        world.now += SignedDuration::from_millis(100);
        let corp_id = world.queued[0].0.clone();
        world.answer(7200);
        world.settle();
        let written = (world.now, format!("token-{corp_id}"));
        assert_eq!(world.writes.last(), Some(&written));
    }
    assert_eq!(world.writes.len(), 5);
}
