//! A control plane of its own, with an operator for all its namespaces.

use std::collections::BTreeMap;
use std::fs;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use dingtalk_stub::Stub;
use dingtalk_token_operator::api::DingTalkApp;
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::limit::MemoryLimit;
use super::report::{Breach, say, shortened};
use super::victims::{LIFE, Lookout, NAMESPACES, Victim};
use crate::support::waiting::{PATIENCE, within};
use crate::support::{Object, Operator, Plane, Sandbox};

pub const HOSTILE: &str = "hostile";
/// The client secret of the hostile namespace's own apps.
pub const HOSTILE_SECRET: &str = "its-own-secret";
/// A pod's `terminationGracePeriodSeconds`.
const GRACE: Duration = Duration::from_secs(45);

struct Process {
    operator: Operator,
    limit: MemoryLimit,
}

pub struct Ground {
    process: Mutex<Option<Process>>,
    pub victims: Vec<Victim>,
    pub seed: u64,
    pub has_several_attacks: bool,
    /// What the API server took of the hostile namespace's writes, and what it did not.
    writes: Mutex<BTreeMap<String, u32>>,
    sandbox: Sandbox,
    /// Last: it ends after all that needs it.
    _plane: Plane,
}

impl Ground {
    pub async fn new(name: &str, has_several_attacks: bool) -> Self {
        let plane = Plane::start().await;
        let sandbox = Sandbox::without_operator("operator", &plane).await;
        sandbox
            .stub
            .configure(|settings| settings.expires_in = LIFE);
        let seed = std::env::var("NEIGHBOUR_SEED").ok();
        let seed = seed.map_or_else(rand::random, |seed| seed.parse().expect("a number"));
        say(&format!("{name}: NEIGHBOUR_SEED={seed}"));
        let ground = Self {
            process: Mutex::new(None),
            has_several_attacks,
            victims: Victim::all(),
            seed,
            writes: Mutex::default(),
            sandbox,
            _plane: plane,
        };
        for namespace in NAMESPACES.iter().chain([&HOSTILE]) {
            let namespace = json!({"metadata": {"name": namespace}});
            let namespace: Namespace = serde_json::from_value(namespace).expect("a namespace");
            let namespaces: Api<Namespace> = Api::all(ground.sandbox.client.clone());
            let created = namespaces.create(&PostParams::default(), &namespace).await;
            created.expect("a namespace");
        }
        ground.grant().await;
        ground.start_operator();
        Victim::register(&ground).await;
        ground
    }

    /// The rights of `deploy/cluster-wide`.
    async fn grant(&self) {
        let binding: ClusterRoleBinding = serde_json::from_value(json!({
            "metadata": {"name": "dingtalk-token-operator"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
                "name": "dingtalk-token-operator"},
            "subjects": [{"kind": "ServiceAccount", "name": "operator",
                "namespace": self.sandbox.namespace}],
        }))
        .expect("a binding");
        let bindings: Api<ClusterRoleBinding> = Api::all(self.sandbox.client.clone());
        let created = bindings.create(&PostParams::default(), &binding).await;
        created.expect("the rights");
    }

    pub fn stub(&self) -> &Stub {
        &self.sandbox.stub
    }

    pub fn client(&self) -> kube::Client {
        self.sandbox.client.clone()
    }

    pub fn api<K: Object>(&self, namespace: &str) -> Api<K> {
        Api::namespaced(self.sandbox.client.clone(), namespace)
    }

    fn start_operator(&self) {
        let limit = MemoryLimit::set();
        let launcher = limit.launcher();
        let launcher: Vec<&str> = launcher.iter().map(String::as_str).collect();
        let site = format!("global={}", self.stub().url());
        let arguments = ["--leader-elect=false", "--allow-plain-http"];
        let operator = self.sandbox.launch(&launcher, &site, &arguments, &[]);
        *self.process() = Some(Process { operator, limit });
    }

    fn process(&self) -> std::sync::MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the operator as a cluster does, and starts another, under the same limit.
    pub async fn restart_operator(&self) -> Result<(), Breach> {
        self.is_alive()?;
        say(&format!("restart: {}", self.memory()));
        let mut process = self.process().take();
        let Some(old) = &mut process else {
            return Ok(());
        };
        old.operator.signal("TERM");
        let every = Duration::from_millis(50);
        within(GRACE, every, async || old.operator.ended()).await;
        drop(process);
        self.start_operator();
        Ok(())
    }

    pub fn is_alive(&self) -> Result<(), Breach> {
        let ended = match &mut *self.process() {
            Some(process) => process.operator.ended(),
            None => None,
        };
        match ended {
            None => Ok(()),
            Some(status) => {
                let memory = self.memory();
                Err(Breach::of_process(format!("it ended: {status} ({memory})")))
            }
        }
    }

    /// The process and the address of its probes.
    pub fn probe_address(&self) -> Option<(u32, String)> {
        let process = self.process();
        let operator = &process.as_ref()?.operator;
        Some((operator.id(), operator.address("/healthz")?))
    }

    /// The addresses of all that it serves.
    pub fn addresses(&self) -> Vec<String> {
        let process = self.process();
        let Some(Process { operator, .. }) = process.as_ref() else {
            return Vec::new();
        };
        let served = ["/healthz", "/metrics"];
        let served = served.into_iter().filter_map(|path| operator.address(path));
        served.collect()
    }

    fn memory(&self) -> String {
        let process = self.process();
        let Some(Process { operator, limit }) = process.as_ref() else {
            return "no process".to_owned();
        };
        let status = fs::read_to_string(format!("/proc/{}/status", operator.id()));
        let status = status.unwrap_or_default();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = peak.map_or("not known", str::trim);
        format!("process {}, VmHWM {peak}, {}", operator.id(), limit.peak())
    }

    pub fn log(&self) -> String {
        match self.process().as_ref() {
            Some(process) => process.operator.log(),
            None => String::new(),
        }
    }

    /// Writes that the hostile namespace tries; the API server may refuse them.
    pub async fn attempt_all(&self, objects: impl IntoIterator<Item = Value>) {
        let attempts = objects
            .into_iter()
            .map(|object| self.attempt(object, "test"));
        let attempts = futures::stream::iter(attempts).buffer_unordered(4);
        attempts.for_each(|_| async {}).await;
    }

    /// Changes the hostile namespace's apps, where they are there.
    pub async fn patch_apps(&self, names: impl Iterator<Item = String>, patch: &Value) {
        let apps = self.api::<DingTalkApp>(HOSTILE);
        let change = |name: String| {
            let (apps, patch) = (apps.clone(), Patch::Merge(patch.clone()));
            async move {
                apps.patch_metadata(&name, &Default::default(), &patch)
                    .await
            }
        };
        // A few at a time: it is the operator that is to be kept busy, not the API server.
        let changing = futures::stream::iter(names.map(change)).buffer_unordered(4);
        let changed = changing.filter(|result| std::future::ready(result.is_ok()));
        self.note("apps changed in a round", changed.count().await);
    }

    /// Keeps the largest number of what an attack brought about, for the summary.
    pub fn note(&self, what: &str, number: usize) {
        let mut writes = self.writes.lock().unwrap_or_else(PoisonError::into_inner);
        let most = writes.entry(what.to_owned()).or_default();
        *most = (*most).max(u32::try_from(number).unwrap_or(u32::MAX));
    }

    /// Creates an object of the hostile namespace, or changes it.
    pub async fn attempt(&self, object: Value, manager: &str) -> Option<Value> {
        if object["kind"] == "Secret" {
            self.try_write::<Secret>(object, manager).await
        } else {
            self.try_write::<DingTalkApp>(object, manager).await
        }
    }

    async fn try_write<K: Object>(&self, object: Value, manager: &str) -> Option<Value> {
        let api = self.api::<K>(HOSTILE);
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let manager = Some(manager.to_owned());
        let create = PostParams {
            field_manager: manager.clone(),
            ..Default::default()
        };
        let created = match serde_json::from_value(object.clone()) {
            Ok(typed) => api.create(&create, &typed).await,
            Err(error) => Err(kube::Error::SerdeError(error)),
        };
        let written = match created {
            Err(kube::Error::Api(status)) if status.is_already_exists() => {
                let parameters = PatchParams {
                    field_manager: manager,
                    ..Default::default()
                };
                api.patch(name, &parameters, &Patch::Merge(&object)).await
            }
            other => other,
        };
        let kind = object["kind"].as_str().unwrap_or_default();
        let outcome = match &written {
            Ok(_) => format!("{kind} taken"),
            Err(error) => format!("{kind} refused ({})", reason(error)),
        };
        let mut writes = self.writes.lock().unwrap_or_else(PoisonError::into_inner);
        *writes.entry(outcome).or_default() += 1;
        written
            .ok()
            .and_then(|object| serde_json::to_value(object).ok())
    }

    /// Memory, calls and writes of a run.
    pub fn summary(&self, lookout: &Lookout) -> String {
        let writes = self.writes.lock().unwrap_or_else(PoisonError::into_inner);
        format!(
            "{}; {}; calls: {}; the hostile namespace: {writes:?}",
            self.memory(),
            lookout.summary(),
            self.calls(),
        )
    }

    /// The calls of the victims' and of the others, by what they got.
    pub fn calls(&self) -> String {
        let mut counts: BTreeMap<(bool, String), u32> = BTreeMap::new();
        for call in self.stub().journal() {
            let is_victims = self.victims.iter().any(|victim| {
                call.client_id.as_deref() == Some(victim.client_id.as_str())
                    && victim.corp_ids.contains(&call.corp_id)
            });
            let status = call
                .status
                .map_or("none".to_owned(), |status| status.to_string());
            *counts.entry((is_victims, status)).or_default() += 1;
        }
        let shown = counts.into_iter().map(|((is_victims, status), count)| {
            let whose = if is_victims { "victims'" } else { "hostile" };
            format!("{count} {whose} → {status}")
        });
        shown.collect::<Vec<_>>().join(", ")
    }

    /// Looks until there is something, for as long as anything takes on a slow machine.
    pub async fn eventually<T>(&self, what: &str, look: impl AsyncFnMut() -> Option<T>) -> T {
        let seen = within(PATIENCE, Duration::from_secs(1), look).await;
        seen.unwrap_or_else(|| panic!("not seen: {what}\n{}", self.log()))
    }
}

/// Why a write was refused, without the object in it.
fn reason(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => format!("{} {}", status.code, status.reason),
        other => shortened(&other.to_string()),
    }
}

/// The metadata's UID and resourceVersion of an object.
pub fn version(object: &Value) -> Option<(String, String)> {
    let text = |field: &str| object["metadata"][field].as_str().map(str::to_owned);
    Some((text("uid")?, text("resourceVersion")?))
}

/// An app of the hostile namespace.
pub fn app(name: &str, credentials: &str, spec: &Value) -> Value {
    let mut app = json!({
        "apiVersion": "dingtalk-token-operator.github.io/v1alpha1", "kind": "DingTalkApp",
        "metadata": {"name": name, "namespace": HOSTILE},
        "spec": {"credentialsSecretRef": {"name": credentials}, "site": "global"},
    });
    for (field, value) in spec.as_object().expect("an object") {
        app["spec"][field] = value.clone();
    }
    app
}

/// A credentials Secret of the hostile namespace.
pub fn credentials(name: &str, client_id: &str, client_secret: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": name, "namespace": HOSTILE},
        "stringData": {"client_id": client_id, "client_secret": client_secret},
    })
}
