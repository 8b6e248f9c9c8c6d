//! A namespace, a stub and an operator for each test; one control plane for all.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use dingtalk_stub::Stub;
use dingtalk_token_operator::api::{
    ANNOTATION_STATE, DingTalkApp, DingTalkTokenReference, definitions,
};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, Secret, ServiceAccount};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{
    ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams, TypeMeta,
};
use kube::runtime::{conditions, wait::await_condition};
use kube::{Api, Client, Config, ResourceExt};
use local_control_plane::{Assets, ControlPlane, bound};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Longer than anything takes on a slow machine; no test depends on how fast it is.
pub const PATIENCE: Duration = Duration::from_secs(90);
pub const CLIENT_ID: &str = "dingtestapp";
pub const CLIENT_SECRET: &str = "correct-horse-battery-staple";

/// A program, or several, that `cargo xtask env` names by a variable.
pub fn provided(variable: &str) -> OsString {
    std::env::var_os(variable).unwrap_or_else(|| {
        // The first test that needs it speaks for all; a test's own output would be shown at the end.
        let _ = writeln!(
            std::io::stderr(),
            "error: {variable} is not set: run `eval \"$(cargo xtask env)\"` first, or `cargo xtask test`"
        );
        std::process::exit(1)
    })
}

/// For processes that do not outlive a test.
pub fn xtask() -> PathBuf {
    provided("XTASK").into()
}

pub fn assets() -> Assets {
    let assets = provided("LOCAL_CONTROL_PLANE_ASSETS");
    serde_json::from_slice(assets.as_encoded_bytes()).expect("written by xtask")
}

/// Allows the labels and annotations that these tests set on targets.
pub const ALLOW_METADATA: [&str; 6] = [
    "--target-metadata-prefix",
    "team",
    "--target-metadata-prefix",
    "note",
    "--target-metadata-prefix",
    "example.com/",
];

/// A control plane with the CRD and the operator's role.
pub struct Plane {
    pub control_plane: ControlPlane,
}

impl Plane {
    pub async fn start() -> Self {
        let plane = Self::boot();
        plane.install().await;
        plane
    }

    fn boot() -> Self {
        let control_plane = ControlPlane::start(&xtask(), assets()).expect("a control plane");
        Self { control_plane }
    }

    pub async fn client(&self) -> Client {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let kubeconfig = kube::config::Kubeconfig::read_from(self.control_plane.kubeconfig())
            .expect("a kubeconfig");
        let config = Config::from_custom_kubeconfig(kubeconfig, &Default::default())
            .await
            .expect("a config");
        Client::try_from(config).expect("a client")
    }

    async fn install_policies(&self, client: &Client) {
        let apply = PatchParams::apply("test").force();
        for object in policies() {
            // Each test binds its own account.
            if object["kind"] == "ClusterRoleBinding" {
                continue;
            }
            let types: TypeMeta = serde_json::from_value(object.clone()).expect("types");
            let kind = GroupVersionKind::try_from(&types).expect("a kind");
            let kind = ApiResource::from_gvk(&kind);
            let name = object["metadata"]["name"].as_str().expect("a name");
            Api::<DynamicObject>::all_with(client.clone(), &kind)
                .patch(name, &apply, &Patch::Apply(&object))
                .await
                .expect("a policy");
        }
    }

    async fn install(&self) {
        let client = self.client().await;
        let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
        let apply = PatchParams::apply("test").force();
        for crd in definitions() {
            crds.patch(&crd.name_any(), &apply, &Patch::Apply(&crd))
                .await
                .expect("the CRD");
            let established = conditions::is_crd_established();
            tokio::time::timeout(
                PATIENCE,
                await_condition(crds.clone(), &crd.name_any(), established),
            )
            .await
            .expect("established in time")
            .expect("established");
        }
        self.install_policies(&client).await;
        let roles: Api<ClusterRole> = Api::all(client);
        roles
            .patch(
                "dingtalk-token-operator",
                &apply,
                &Patch::Apply(deployed("ClusterRole")),
            )
            .await
            .expect("the role");
    }
}

/// What the operator's account may do, with the name that the account has in a [`Sandbox`].
pub fn policies() -> Vec<Value> {
    let deployed = include_str!("../../deploy/base/admission-policy.yaml");
    let account = ":dingtalk-token-operator$";
    assert!(deployed.contains(account));
    documents(&deployed.replace(account, ":operator$"))
}

/// An object of `deploy/rbac/role.yaml`.
fn deployed(kind: &str) -> Value {
    document(include_str!("../../deploy/rbac/role.yaml"), kind)
}

/// The objects of a YAML text.
pub fn documents(text: &str) -> Vec<Value> {
    use serde::Deserialize as _;
    serde_yaml_ng::Deserializer::from_str(text)
        .map(|document| Value::deserialize(document).expect("YAML"))
        .collect()
}

/// The first object of a kind in a YAML text.
pub fn document(text: &str, kind: &str) -> Value {
    documents(text)
        .into_iter()
        .find(|object| object["kind"] == kind)
        .expect("deployed")
}

/// The control plane that most tests share; it ends with the test program.
pub async fn shared_plane() -> &'static Plane {
    static PLANE: OnceLock<Plane> = OnceLock::new();
    static INSTALLED: tokio::sync::OnceCell<()> = tokio::sync::OnceCell::const_new();
    let plane = PLANE.get_or_init(Plane::boot);
    INSTALLED.get_or_init(|| plane.install()).await;
    plane
}

/// What one test has to itself.
pub struct Sandbox {
    pub namespace: String,
    pub client: Client,
    pub stub: Stub,
    pub operator: Option<Operator>,
    folder: TempDir,
    audit_log: PathBuf,
    kubeconfig: PathBuf,
}

impl Sandbox {
    /// A namespace with a running operator; the stub knows one app, of the organisation `ding1`.
    pub async fn new(name: &str) -> Self {
        Self::with_flags(name, &[]).await
    }

    /// The same, with these flags for the operator.
    pub async fn with_flags(name: &str, flags: &[&str]) -> Self {
        let mut sandbox = Self::without_operator(name, shared_plane().await).await;
        sandbox.start_operator(flags);
        sandbox
    }

    pub async fn without_operator(name: &str, plane: &Plane) -> Self {
        let client = plane.client().await;
        let namespace = format!("{name}-{:06x}", rand::random::<u32>() & 0xff_ffff);
        let stub = Stub::start(0).await.expect("a stub");
        stub.register(CLIENT_ID, CLIENT_SECRET, &["ding1"]);
        let sandbox = Self {
            namespace,
            client,
            stub,
            operator: None,
            // In the control plane's folder, which goes however the tests end.
            folder: tempfile::tempdir_in(plane.control_plane.folder()).expect("a folder"),
            audit_log: plane.control_plane.audit_log(),
            kubeconfig: plane.control_plane.kubeconfig(),
        };
        sandbox.grant().await;
        sandbox
    }

    /// The rights of `deploy/rbac/role.yaml`, in this namespace only.
    async fn grant(&self) {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let object = |value: Value| serde_json::from_value(value).expect("an object");
        let namespace = object(json!({"metadata": {"name": self.namespace}}));
        namespaces
            .create(&PostParams::default(), &namespace)
            .await
            .expect("a namespace");
        let accounts: Api<ServiceAccount> = self.api();
        let account: ServiceAccount =
            serde_json::from_value(json!({"metadata": {"name": "operator"}})).expect("an account");
        accounts
            .create(&PostParams::default(), &account)
            .await
            .expect("an account");
        let election = document(
            include_str!("../../deploy/base/leader-election.yaml"),
            "Role",
        );
        let election_role = election["metadata"]["name"].as_str().expect("a name");
        self.apply::<Role>(election_role, election.clone()).await;
        self.bind("Role", election_role).await;
        self.bind("ClusterRole", "dingtalk-token-operator").await;
        self.bind_field_manager().await;
        let kubeconfig = self.kubeconfig_of("operator").await;
        fs::write(self.operator_kubeconfig(), kubeconfig.to_string()).expect("written");
    }

    /// Lets the operator write in its own name.
    async fn bind_field_manager(&self) {
        let mut binding = policies()
            .into_iter()
            .find(|object| object["kind"] == "ClusterRoleBinding")
            .expect("a binding");
        binding["metadata"]["name"] = json!(self.namespace);
        binding["subjects"] =
            json!([{"kind": "ServiceAccount", "name": "operator", "namespace": self.namespace}]);
        let binding: ClusterRoleBinding = serde_json::from_value(binding).expect("a binding");
        Api::<ClusterRoleBinding>::all(self.client.clone())
            .create(&PostParams::default(), &binding)
            .await
            .expect("bound");
    }

    /// Applies the ClusterRole of a YAML text, bound to nobody; gives its name.
    pub async fn install_role(&self, text: &str) -> String {
        let role = document(text, "ClusterRole");
        let name = role["metadata"]["name"]
            .as_str()
            .expect("a name")
            .to_owned();
        let roles: Api<ClusterRole> = Api::all(self.client.clone());
        roles
            .patch(
                &name,
                &PatchParams::apply("test").force(),
                &Patch::Apply(role),
            )
            .await
            .expect("the role");
        name
    }

    /// Gives the operator the rights of a role, in this namespace.
    pub async fn bind(&self, kind: &str, name: &str) {
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": "operator", "namespace": self.namespace}],
        });
        self.apply::<RoleBinding>(name, binding).await;
    }

    /// The API server as a ServiceAccount of this namespace reaches it.
    pub async fn as_account(&self, name: &str) -> Client {
        let kubeconfig = self.kubeconfig_of(name).await;
        let kubeconfig = serde_json::from_value(kubeconfig).expect("a kubeconfig");
        let config = Config::from_custom_kubeconfig(kubeconfig, &Default::default())
            .await
            .expect("a config");
        Client::try_from(config).expect("a client")
    }

    /// A kubeconfig with the rights of a ServiceAccount of this namespace.
    pub async fn kubeconfig_of(&self, account: &str) -> Value {
        let request = serde_json::from_value(json!({"metadata": {}, "spec": {"audiences": []}}))
            .expect("a token request");
        let token = self
            .api::<ServiceAccount>()
            .create_token_request(account, &PostParams::default(), &request)
            .await
            .expect("a token")
            .status
            .expect("a status")
            .token;
        let admin = fs::read(&self.kubeconfig).expect("a kubeconfig");
        let mut kubeconfig: Value = serde_json::from_slice(&admin).expect("JSON");
        kubeconfig["users"] = json!([{"name": "admin", "user": {"token": token}}]);
        kubeconfig
    }

    fn operator_kubeconfig(&self) -> PathBuf {
        self.folder.path().join("operator.kubeconfig")
    }

    /// The API server's address and port.
    pub fn api_server(&self) -> String {
        let admin = fs::read(&self.kubeconfig).expect("a kubeconfig");
        let kubeconfig: Value = serde_json::from_slice(&admin).expect("JSON");
        let server = kubeconfig["clusters"][0]["cluster"]["server"].as_str();
        let address = server.and_then(|server| server.strip_prefix("https://"));
        address.expect("a URL").to_owned()
    }

    /// The operator's way to the API server from now on.
    pub fn reach_api_server_through(&self, port: u16) {
        self.reach_api_server_at(&format!("https://127.0.0.1:{port}"));
    }

    /// The same, as a URL.
    pub fn reach_api_server_at(&self, url: &str) {
        let path = self.operator_kubeconfig();
        let text = fs::read(&path).expect("a kubeconfig");
        let mut kubeconfig: Value = serde_json::from_slice(&text).expect("JSON");
        kubeconfig["clusters"][0]["cluster"]["server"] = url.into();
        fs::write(&path, kubeconfig.to_string()).expect("written");
    }

    pub fn start_operator(&mut self, arguments: &[&str]) {
        let site = format!("global={}", self.stub.url());
        let arguments = [&["--allow-plain-http"], arguments].concat();
        self.start_operator_with(&site, &arguments, &[]);
    }

    /// An operator for this site, with these variables in its environment.
    pub fn start_operator_with(
        &mut self,
        site: &str,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) {
        let arguments = [&["--leader-elect=false"], arguments].concat();
        self.operator = Some(self.spawn(site, &arguments, environment));
    }

    /// One of several operators, which elect a leader.
    pub fn replica(&self, site: &str) -> Operator {
        let namespace = ["--leader-elect-resource-namespace", &self.namespace];
        let arguments = [&["--allow-plain-http"], namespace.as_slice()].concat();
        self.spawn(site, &arguments, &[])
    }

    fn spawn(&self, site: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Operator {
        let namespace = ["--watch-namespace", &self.namespace];
        let arguments = [namespace.as_slice(), arguments].concat();
        self.launch(&[], site, &arguments, environment)
    }

    /// An operator with these arguments, by a command that becomes the one that follows it.
    pub fn launch(
        &self,
        launcher: &[&str],
        site: &str,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Operator {
        let number = fs::read_dir(self.folder.path()).expect("a folder").count();
        let log = self.folder.path().join(format!("operator-{number}.log"));
        let program = [env!("CARGO_BIN_EXE_dingtalk-token-operator"), "run"];
        let command = [launcher, &program].concat();
        let child = bound(&xtask(), Path::new(command[0]))
            .args(&command[1..])
            // Nothing that a test does reaches DingTalk.
            .args(["--builtin-sites=false", "--site", site])
            .args(["--metrics-bind-address", "127.0.0.1:0"])
            .args(["--health-probe-bind-address", "127.0.0.1:0"])
            .args(arguments)
            .env("KUBECONFIG", self.operator_kubeconfig())
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).expect("a log"))
            .spawn()
            .expect("the operator");
        Operator { child, log }
    }

    /// Ends the operator as a cluster does, and waits for it.
    pub fn stop_operator(&mut self) {
        let mut operator = self.operator.take().expect("running");
        operator.signal("TERM");
        let ended = operator.child.wait().expect("ended");
        assert!(ended.success(), "{ended}: {}", operator.log());
    }

    /// Ends the operator as a failing node does.
    pub fn kill_operator(&mut self) {
        let mut operator = self.operator.take().expect("running");
        operator.child.kill().expect("killed");
        operator.child.wait().expect("ended");
    }

    /// Everything that any operator of this test logged.
    pub fn logs(&self) -> String {
        fs::read_dir(self.folder.path())
            .expect("a folder")
            .flatten()
            .filter(|entry| {
                entry
                    .path()
                    .extension()
                    .is_some_and(|extension| extension == "log")
            })
            .map(|entry| fs::read_to_string(entry.path()).unwrap_or_default())
            .collect()
    }

    pub fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub async fn credentials(&self, name: &str, client_id: &str, client_secret: &str) {
        self.apply::<Secret>(
            name,
            json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name},
                "stringData": {"client_id": client_id, "client_secret": client_secret},
            }),
        )
        .await;
    }

    /// An app with the stub's credentials for one organisation.
    pub async fn app(&self, name: &str, corp_id: &str) {
        self.app_with(name, json!({"corpIds": [corp_id]})).await;
    }

    /// An app whose spec has these fields beside its credentials, `<name>-credentials`.
    pub async fn app_with(&self, name: &str, spec: Value) {
        let mut app = json!({
            "apiVersion": "dingtalk-token-operator.github.io/v1alpha1", "kind": "DingTalkApp",
            "metadata": {"name": name},
            "spec": {"credentialsSecretRef": {"name": format!("{name}-credentials")}, "site": "global"},
        });
        for (field, value) in spec.as_object().expect("an object") {
            app["spec"][field] = value.clone();
        }
        self.apply::<DingTalkApp>(name, app).await;
    }

    /// A reference to an app.
    pub async fn reference(&self, name: &str, namespace: &str, app: &str) {
        let reference = json!({
            "apiVersion": "dingtalk-token-operator.github.io/v1alpha1",
            "kind": "DingTalkTokenReference", "metadata": {"name": name},
            "spec": {"appRef": {"namespace": namespace, "name": app}},
        });
        self.apply::<DingTalkTokenReference>(name, reference).await;
    }

    /// An app `never` that has no token, and a reference `copy` to an app that does not exist.
    pub async fn never_ready(&self) {
        let spec = json!({"corpIds": ["ding1"], "site": "nowhere"});
        self.app_with("never", spec).await;
        self.reference("copy", &self.namespace, "absent").await;
    }

    /// An app with its credentials, ready.
    pub async fn ready_app(&self, name: &str) {
        self.credentials(&format!("{name}-credentials"), CLIENT_ID, CLIENT_SECRET)
            .await;
        self.app(name, "ding1").await;
        self.until_ready(name).await;
    }

    pub async fn apply<K>(&self, name: &str, object: Value)
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>
            + Clone
            + DeserializeOwned
            + std::fmt::Debug,
        K::DynamicType: Default,
    {
        let apply = PatchParams::apply("test").force();
        self.api::<K>()
            .patch(name, &apply, &Patch::Apply(object))
            .await
            .expect("applied");
    }

    pub async fn merge<K>(&self, name: &str, patch: Value)
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>
            + Clone
            + DeserializeOwned
            + std::fmt::Debug,
        K::DynamicType: Default,
    {
        let parameters = PatchParams {
            field_manager: Some("test".into()),
            ..Default::default()
        };
        self.api::<K>()
            .patch(name, &parameters, &Patch::Merge(patch))
            .await
            .expect("patched");
    }

    /// Waits until `seen` gives something of the app.
    pub async fn until<T>(
        &self,
        what: &str,
        name: &str,
        seen: impl Fn(&DingTalkApp) -> Option<T>,
    ) -> T {
        let app = async || self.api::<DingTalkApp>().get_opt(name).await.ok().flatten();
        self.eventually(what, async || app().await.as_ref().and_then(&seen))
            .await
    }

    /// Looks until there is something; panics with what is known where it takes too long.
    pub async fn eventually<T>(&self, what: &str, look: impl AsyncFnMut() -> Option<T>) -> T {
        self.patiently(PATIENCE.as_secs(), what, look).await
    }

    /// Waits until the operator knows its Secrets.
    pub async fn until_watching(&self) {
        self.eventually("the watches", async || {
            let (status, _) = self.operator.as_ref()?.health("/readyz").await?;
            (status == 200).then_some(())
        })
        .await;
    }

    /// As `eventually`, with a patience of so many seconds.
    pub async fn patiently<T>(
        &self,
        seconds: u64,
        what: &str,
        mut look: impl AsyncFnMut() -> Option<T>,
    ) -> T {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(seconds);
        loop {
            if let Some(seen) = look().await {
                return seen;
            }
            if tokio::time::Instant::now() > deadline {
                let apps = self
                    .api::<DingTalkApp>()
                    .list(&Default::default())
                    .await
                    .ok();
                let statuses: Vec<_> = apps
                    .into_iter()
                    .flatten()
                    .map(|app| (app.name_any(), app.status))
                    .collect();
                let mut statuses = format!("{statuses:#?}");
                statuses.truncate(20_000);
                panic!("not seen: {what}\n{statuses}\n{}", self.logs());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    pub async fn until_ready(&self, name: &str) {
        self.until("Ready", name, |app| {
            condition(app, "Ready", "True").map(drop)
        })
        .await;
    }

    /// Waits until the last attempt failed with `reason`; gives the condition's message.
    pub async fn until_failing(&self, name: &str, reason: &str) -> String {
        self.until(reason, name, |app| {
            let renewed = condition(app, "Renewed", "False")?;
            (renewed.0 == reason).then_some(renewed.1)
        })
        .await
    }

    /// Waits until the last attempt succeeded.
    pub async fn until_renewed(&self, name: &str) {
        self.until("Renewed", name, |app| {
            condition(app, "Renewed", "True").map(drop)
        })
        .await;
        self.until_ready(name).await;
    }

    pub async fn token(&self, secret: &str) -> Option<Token> {
        let secret = self.api::<Secret>().get_opt(secret).await.ok()??;
        let text = |key: &str| {
            let value = secret.data.as_ref()?.get(key)?;
            String::from_utf8(value.0.clone()).ok()
        };
        Some(Token {
            value: text("access_token")?,
            expires_at: text("expires_at")?.parse().ok()?,
            corp_id: text("corp_id")?,
        })
    }

    /// A part of what the operator records of a Secret, by a JSON pointer.
    pub async fn state(&self, secret: &str, pointer: &str) -> Option<Value> {
        let secret = self.api::<Secret>().get_opt(secret).await.ok()??;
        let state = secret.metadata.annotations?.remove(ANNOTATION_STATE)?;
        let state: Value = serde_json::from_str(&state).ok()?;
        state.pointer(pointer).cloned()
    }

    pub async fn version_of(&self, secret: &str) -> Option<String> {
        let secret = self.api::<Secret>().get_opt(secret).await.ok()??;
        secret.metadata.resource_version
    }

    /// All keys of a Secret with their values.
    pub async fn data(&self, secret: &str) -> Option<BTreeMap<String, String>> {
        let secret = self.api::<Secret>().get_opt(secret).await.ok()??;
        let text = |(key, value): (String, k8s_openapi::ByteString)| {
            (key, String::from_utf8_lossy(&value.0).into_owned())
        };
        Some(secret.data?.into_iter().map(text).collect())
    }

    pub async fn events(&self, reason: &str) -> Vec<String> {
        let events = self
            .api::<Event>()
            .list(&Default::default())
            .await
            .expect("events");
        events
            .into_iter()
            .filter(|event| event.reason.as_deref() == Some(reason))
            .map(|event| event.note.unwrap_or_default())
            .collect()
    }

    pub async fn until_event(&self, reason: &str) -> Vec<String> {
        self.eventually(reason, async || {
            let events = self.events(reason).await;
            (!events.is_empty()).then_some(events)
        })
        .await
    }

    /// What this test's operator asked of the API server so far, watches and lists apart, each as
    /// `verb resource`.
    pub fn requests(&self) -> Vec<String> {
        let mut requests = self.all_requests();
        requests.retain(|it| !it.starts_with("watch ") && !it.starts_with("list "));
        requests
    }

    /// The same with watches that have ended, and lists.
    pub fn all_requests(&self) -> Vec<String> {
        let user = format!("system:serviceaccount:{}:operator", self.namespace);
        let log = fs::read_to_string(&self.audit_log).expect("an audit log");
        log.lines()
            .filter(|line| line.contains(&user))
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter(|entry| {
                entry["stage"] == "ResponseComplete" && entry["user"]["username"] == user
            })
            .map(|entry| {
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                let verb = text(&entry["verb"]);
                let reference = &entry["objectRef"];
                let resource = match text(&reference["subresource"]) {
                    sub if sub.is_empty() => text(&reference["resource"]),
                    sub => format!("{}/{sub}", text(&reference["resource"])),
                };
                format!("{verb} {resource}")
            })
            .collect()
    }

    /// Runs kubectl in this test's namespace; gives whether it succeeded and what it said.
    pub fn kubectl(&self, arguments: &[&str]) -> (bool, String) {
        self.kubectl_plain(&[&["--namespace", &self.namespace], arguments].concat())
    }

    /// Runs kubectl, in the repository's root.
    pub fn kubectl_plain(&self, arguments: &[&str]) -> (bool, String) {
        let output = Command::new(assets().kubectl)
            .args(arguments)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env("KUBECONFIG", &self.kubeconfig)
            .stdin(Stdio::null())
            .output()
            .expect("kubectl");
        let said = [output.stdout, output.stderr].concat();
        (
            output.status.success(),
            String::from_utf8_lossy(&said).into_owned(),
        )
    }

    /// The administrator's.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Every request to the API server, as JSON lines.
    pub fn audit_log(&self) -> &Path {
        &self.audit_log
    }

    /// Asks for new tokens of an app.
    pub async fn renew(&self, name: &str) {
        let at = Timestamp::now().to_string();
        let annotations = json!({"dingtalk-token-operator.github.io/renew-requested-at": at});
        self.merge::<DingTalkApp>(name, json!({"metadata": {"annotations": annotations}}))
            .await;
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// Status, then reason and message of a condition that has this status.
pub fn condition(app: &DingTalkApp, type_: &str, status: &str) -> Option<(String, String)> {
    app.status
        .as_ref()?
        .conditions
        .iter()
        .find(|condition| condition.type_ == type_ && condition.status == status)
        .map(|condition| (condition.reason.clone(), condition.message.clone()))
}

#[derive(Clone, Debug, PartialEq)]
pub struct Token {
    pub value: String,
    pub expires_at: Timestamp,
    pub corp_id: String,
}

pub struct Operator {
    child: Child,
    log: PathBuf,
}

impl Operator {
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Its process's id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal, by name.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill")
            .args(["-s", name, &pid])
            .status()
            .expect("kill");
        assert!(status.success());
    }

    /// The most memory that it ever had, in KiB.
    pub fn peak_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("a process of Linux");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = peak.and_then(|peak| peak.split_whitespace().next());
        peak.and_then(|peak| peak.parse().ok()).expect("a number")
    }

    /// The processor's time that it took until now, in clock ticks.
    pub fn processor_time(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()));
        let stat = stat.expect("a process of Linux");
        // After the program's name, which is in parentheses: utime is the 14th field, stime the 15th.
        let (_, fields) = stat.rsplit_once(')').expect("fields");
        let fields = fields.split_whitespace().skip(11).take(2);
        fields
            .map(|field| field.parse::<u64>().expect("a number"))
            .sum()
    }

    /// How it ended, where it has.
    pub fn ended(&mut self) -> Option<std::process::ExitStatus> {
        self.child.try_wait().expect("a status")
    }

    /// The address where it serves a path.
    pub fn address(&self, path: &str) -> Option<String> {
        let log = self.log();
        let mut lines = log.lines().filter(|line| line.contains("server listening"));
        let line = lines.find(|line| line.contains(path))?;
        let rest = line.split("address=").nth(1)?;
        rest.split_whitespace().next().map(str::to_owned)
    }

    /// Asks it for its probes and metrics.
    pub async fn health(&self, path: &str) -> Option<(u16, String)> {
        let address = self.address(path)?;
        let response = reqwest::get(format!("http://{address}{path}")).await.ok()?;
        Some((response.status().as_u16(), response.text().await.ok()?))
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
