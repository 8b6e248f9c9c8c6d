//! The operator's main job, for a person to watch. Exits with success only if every step was observed.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use dingtalk_stub::{Repeat, Stub};
use jiff::Timestamp;
use local_control_plane::{Assets, ControlPlane, Progress, Version, bound};
use serde_json::Value;

use crate::{Failure, cargo, cargo_program, root};

/// Namespace in `deploy/install.yaml`.
const OPERATOR_NAMESPACE: &str = "dingtalk-token-operator";
/// Namespace of `deploy/samples`; its app and credentials follow.
const NAMESPACE: &str = "default";
const CLIENT_ID: &str = "dingpayrolldemo";
const CLIENT_SECRET: &str = "replace-me";
const CORP_ID: &str = "ding9f50b15bccd16741";
/// Lifetime of a token in seconds. A renewal comes after two thirds.
const LIFETIME: i64 = 20;
/// Much longer than any step takes.
const PATIENCE: Duration = Duration::from_secs(40);
/// Folder in which the pod of `deploy/samples/pod.yaml` finds the files.
const MOUNT: &str = "/var/run/secrets/dingtalk";

/// Runs the demo; with `keep`, until Ctrl-C.
pub(crate) fn run(keep: bool) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Runtime::new()?;
    let _guard = runtime.enter();
    println!("dingtalk-token-operator: the main job on a real API server\n");
    let demo = Demo::start(runtime.block_on(Stub::start(0))?)?;
    demo.show_all(keep).map_err(|error| {
        let log = fs::read_to_string(demo.log()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let end = lines[lines.len().saturating_sub(20)..].join("\n");
        let columns = r#"custom-columns=NAME:.metadata.name,READY:.status.conditions[?(@.type=="Ready")].message"#;
        let apps = kubectl(&demo.plane, &["get", "dta", "-A", "-o", columns]);
        let apps = apps.unwrap_or_default();
        format!("{error}\nThe apps:\n{apps}\nThe end of the operator's log:\n{end}")
    })?;
    if !keep {
        println!("\nEvery step was observed.");
        return Ok(ExitCode::SUCCESS);
    }
    println!(
        "\nEvery step was observed. The demo keeps running until Ctrl-C. In another terminal, try:\n"
    );
    println!("  export KUBECONFIG={}", demo.plane.kubeconfig().display());
    println!("  kubectl get dta -o wide --watch");
    println!("  kubectl describe dta payroll");
    println!("  kubectl explain dingtalkapp.spec");
    println!("  kubectl get secret payroll-token -o yaml");
    println!("  kubectl delete dta payroll\n");
    println!("The operator's log: {}", demo.log().display());
    println!("The stub of DingTalk: {}", demo.stub.url());
    loop {
        std::thread::park();
    }
}

struct Demo {
    plane: ControlPlane,
    stub: Stub,
    _operator: Operator,
}

/// The operator's process, which ends on drop or with this process.
struct Operator(Child);

impl Drop for Operator {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Demo {
    fn start(stub: Stub) -> Result<Self, Failure> {
        heading("Setting up");
        let operator = build_operator()?;
        let assets = Assets::get(Version::default())?;
        let plane = ControlPlane::start(&std::env::current_exe()?, assets)?;
        stub.configure(|settings| {
            settings.expires_in = LIFETIME;
            settings.repeat = Repeat::NewOverlap;
        });
        stub.register(CLIENT_ID, CLIENT_SECRET, &[CORP_ID]);
        let install = path("deploy/install.yaml");
        kubectl_shown(&plane, &["apply", "-f", &install])?;
        // There is no node for its pods: the operator is started as a process instead.
        let operator_deployment = "deployment/dingtalk-token-operator";
        kubectl_shown(
            &plane,
            &[
                "scale",
                "-n",
                OPERATOR_NAMESPACE,
                operator_deployment,
                "--replicas=0",
            ],
        )?;
        kubectl(
            &plane,
            &[
                "wait",
                "--for=condition=Established",
                "crd/dingtalkapps.dingtalk-token-operator.github.io",
                "crd/dingtalktokenreferences.dingtalk-token-operator.github.io",
            ],
        )?;
        let operator = start_operator(&operator, &plane, &stub)?;
        println!("   ✓ operator started, as a process with the rights of its ServiceAccount");
        println!(
            "   ✓ DingTalk stub started; its tokens are valid for only {LIFETIME} s, to show a renewal soon"
        );
        Ok(Self {
            plane,
            stub,
            _operator: operator,
        })
    }

    fn show_all(&self, keep: bool) -> Result<(), Failure> {
        self.becomes_ready()?;
        self.pod_finds_token()?;
        self.is_renewed_ahead_of_expiry()?;
        self.wrong_secret_is_reported()?;
        self.recovers()?;
        if keep {
            Ok(())
        } else {
            self.secret_goes_with_its_app()
        }
    }

    fn log(&self) -> PathBuf {
        self.plane.folder().join("operator.log")
    }

    fn becomes_ready(&self) -> Result<(), Failure> {
        heading("An app is applied and becomes Ready");
        self.show(&["apply", "-f", &path("deploy/samples/credentials.yaml")])?;
        self.show(&["apply", "-f", &path("deploy/samples/dingtalkapp.yaml")])?;
        self.show(&[
            "wait",
            "--for=condition=Ready",
            "dta/payroll",
            "--timeout=30s",
        ])?;
        self.show(&["get", "dta"])
    }

    fn pod_finds_token(&self) -> Result<(), Failure> {
        heading("The files that a pod finds in the mounted Secret (deploy/samples/pod.yaml)");
        let token = self.token()?;
        println!("   {MOUNT}/access_token   {}", hidden(&token.value));
        println!("   {MOUNT}/expires_at     {}", token.expires_at);
        println!("   {MOUNT}/corp_id        {}", token.corp_id);
        self.is_accepted(&token)
    }

    fn is_renewed_ahead_of_expiry(&self) -> Result<(), Failure> {
        heading("The token is renewed before it expires");
        let old = self.token()?;
        let progress = Progress::start("waiting for the renewal");
        let new = Self::until("a renewed token in the Secret", || {
            Ok(self
                .token()
                .ok()
                .filter(|new| new.expires_at > old.expires_at))
        })?;
        progress.done();
        let ahead = old
            .expires_at
            .duration_since(Timestamp::now())
            .as_secs_f64();
        if ahead <= 0.0 {
            return Err("the token was renewed only after its expiry".into());
        }
        println!(
            "   {} was replaced by {}",
            hidden(&old.value),
            hidden(&new.value)
        );
        println!(
            "   {ahead:.1} s before its expiry; the new one is valid until {}",
            new.expires_at
        );
        self.is_accepted(&new)
    }

    fn wrong_secret_is_reported(&self) -> Result<(), Failure> {
        heading("An app with a wrong Client Secret reports it");
        self.apply_expenses("not-the-secret")?;
        let message = Self::until("the condition Renewed=False, InvalidCredentials", || {
            let app = self.get("dta", "expenses")?;
            let renewed = condition(&app, "Renewed");
            Ok(renewed
                .filter(|renewed| {
                    renewed["status"] == "False" && renewed["reason"] == "InvalidCredentials"
                })
                .and_then(|renewed| renewed["message"].as_str().map(str::to_owned)))
        })?;
        self.show(&["get", "dta"])?;
        println!("   expenses: {message}");
        Ok(())
    }

    fn recovers(&self) -> Result<(), Failure> {
        heading("Its credentials are corrected, and it recovers without a restart");
        let corrected = Instant::now();
        self.apply_expenses(CLIENT_SECRET)?;
        self.show(&[
            "wait",
            "--for=condition=Ready",
            "dta/expenses",
            "--timeout=30s",
        ])?;
        println!(
            "   {:.1} s after the correction",
            corrected.elapsed().as_secs_f64()
        );
        self.show(&["get", "dta"])
    }

    fn secret_goes_with_its_app(&self) -> Result<(), Failure> {
        heading("The Secret is deleted with its app");
        self.show(&["delete", "dta", "payroll"])?;
        let progress = Progress::start("waiting for Kubernetes to delete the Secret payroll-token");
        Self::until("the deletion of the Secret", || {
            let left = kubectl(
                &self.plane,
                &["get", "secrets", "-n", NAMESPACE, "-o", "name"],
            )?;
            Ok((!left.contains("payroll-token")).then_some(()))
        })?;
        progress.done();
        self.show(&["get", "secrets"])
    }

    fn apply_expenses(&self, client_secret: &str) -> Result<(), Failure> {
        let secret = fs::read_to_string(root().join("deploy/samples/credentials.yaml"))?
            .replace("payroll-credentials", "expenses-credentials")
            .replace(CLIENT_SECRET, client_secret);
        let app = fs::read_to_string(root().join("deploy/samples/dingtalkapp.yaml"))?
            .replace("payroll", "expenses");
        for (name, manifest) in [("credentials", secret), ("dingtalkapp", app)] {
            let file = self.plane.folder().join(format!("expenses-{name}.yaml"));
            fs::write(&file, manifest)?;
            self.show(&["apply", "-f", &file.display().to_string()])?;
        }
        Ok(())
    }

    fn is_accepted(&self, token: &Token) -> Result<(), Failure> {
        if !self.stub.accepts(&token.value) {
            return Err("the stub's API rejects the token in the Secret".into());
        }
        println!("   ✓ the stub's API accepts it");
        Ok(())
    }

    fn token(&self) -> Result<Token, Failure> {
        let secret = self.get("secret", "payroll-token")?;
        let text = |key: &str| -> Result<String, Failure> {
            let value = secret["data"][key].as_str().unwrap_or_default();
            Ok(String::from_utf8(BASE64_STANDARD.decode(value)?)?)
        };
        Ok(Token {
            value: text("access_token")?,
            expires_at: text("expires_at")?.parse()?,
            corp_id: text("corp_id")?,
        })
    }

    fn get(&self, kind: &str, name: &str) -> Result<Value, Failure> {
        let text = kubectl(
            &self.plane,
            &["get", kind, name, "-n", NAMESPACE, "-o", "json"],
        )?;
        Ok(serde_json::from_str(&text)?)
    }

    fn show(&self, arguments: &[&str]) -> Result<(), Failure> {
        kubectl_shown(&self.plane, arguments)
    }

    fn until<T>(
        what: &str,
        mut look: impl FnMut() -> Result<Option<T>, Failure>,
    ) -> Result<T, Failure> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(seen) = look()? {
                return Ok(seen);
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        Err(format!("{what} was not seen within {} s", PATIENCE.as_secs()).into())
    }
}

struct Token {
    value: String,
    expires_at: Timestamp,
    corp_id: String,
}

fn condition<'a>(app: &'a Value, type_: &str) -> Option<&'a Value> {
    app["status"]["conditions"]
        .as_array()?
        .iter()
        .find(|condition| condition["type"] == type_)
}

/// Returns the part of a token that may be shown.
fn hidden(token: &str) -> String {
    format!(
        "{}… ({} characters)",
        token.get(..6).unwrap_or_default(),
        token.len()
    )
}

fn heading(text: &str) {
    println!("\n── {text}");
}

fn path(relative: &str) -> String {
    root().join(relative).display().to_string()
}

fn build_operator() -> Result<PathBuf, Failure> {
    let progress = Progress::start("building the operator");
    let status = cargo(&mut Command::new(cargo_program()))
        // With `--package`, dependencies would be built anew with other features.
        .args(["build", "--quiet", "--workspace"])
        .args(["--bin", "dingtalk-token-operator"])
        .status()?;
    if !status.success() {
        return Err("building the operator failed: see above".into());
    }
    progress.done();
    Ok(std::env::current_exe()?.with_file_name("dingtalk-token-operator"))
}

fn start_operator(program: &Path, plane: &ControlPlane, stub: &Stub) -> Result<Operator, Failure> {
    let account = "dingtalk-token-operator";
    let token = kubectl(
        plane,
        &["create", "token", account, "-n", OPERATOR_NAMESPACE],
    )?;
    let kubeconfig = plane.folder().join("operator.kubeconfig");
    let mut config: Value = serde_json::from_slice(&fs::read(plane.kubeconfig())?)?;
    config["users"] = serde_json::json!([{"name": "admin", "user": {"token": token.trim()}}]);
    fs::write(&kubeconfig, serde_json::to_vec(&config)?)?;
    let child = bound(&std::env::current_exe()?, program)
        .args([
            "run",
            "--allow-plain-http",
            "--metrics-bind-address",
            "127.0.0.1:0",
            "--health-probe-bind-address",
            "127.0.0.1:0",
            "--leader-elect-resource-namespace",
            OPERATOR_NAMESPACE,
        ])
        .args([
            // The site in deploy/samples.
            "--builtin-sites=false",
            "--site",
            &format!("china={}", stub.url()),
        ])
        .env("KUBECONFIG", kubeconfig)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(plane.folder().join("operator.log"))?)
        .spawn()?;
    Ok(Operator(child))
}

/// Runs kubectl, and prints the command and its output.
fn kubectl_shown(plane: &ControlPlane, arguments: &[&str]) -> Result<(), Failure> {
    let root = format!("{}/", root().display());
    let shown: Vec<String> = arguments
        .iter()
        .map(|argument| argument.replace(&root, ""))
        .collect();
    println!("   $ kubectl {}", shown.join(" "));
    for line in kubectl(plane, arguments)?.lines() {
        println!("   {line}");
    }
    Ok(())
}

fn kubectl(plane: &ControlPlane, arguments: &[&str]) -> Result<String, Failure> {
    let output = Command::new(&plane.assets.kubectl)
        .args(arguments)
        .env("KUBECONFIG", plane.kubeconfig())
        .stdin(Stdio::null())
        .output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(format!("kubectl {}: {said}", arguments.join(" ")).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}
