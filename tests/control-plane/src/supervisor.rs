//! The process that owns the control plane's processes and their folder.

use std::fs::{self, File};
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use crate::{Assets, bound, pki};

/// A boot takes four seconds on an idle machine, and many times that if several run at once.
const BOOT_TIMEOUT: Duration = Duration::from_secs(120);
/// Number of tries, since a free port may be taken before it is used.
const BOOT_TRIES: u32 = 3;

/// What to boot.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) assets: Assets,
}

/// Result of the boot, which a supervisor prints once.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    Ready { folder: PathBuf },
    Failed { error: String },
}

/// A line to a running supervisor: an instruction for one of its processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Instruction {
    StopApiServer,
    StartApiServer,
}

impl Instruction {
    pub(crate) fn line(self) -> &'static str {
        match self {
            Self::StopApiServer => "stop kube-apiserver",
            Self::StartApiServer => "start kube-apiserver",
        }
    }
}

/// Boots a control plane, follows the instructions on standard input, and ends everything when that closes.
///
/// `order` is JSON that [`crate::ControlPlane`] writes.
pub fn supervise(order: &str) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let result = runtime.and_then(|runtime| {
        let result = runtime.block_on(run(order));
        // A read of standard input may never return.
        runtime.shutdown_background();
        result
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            answer(&Report::Failed {
                error: error.to_string(),
            });
            ExitCode::FAILURE
        }
    }
}

async fn run(order: &str) -> io::Result<()> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let order: Order = serde_json::from_str(order).map_err(io::Error::other)?;
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let folder = tempfile::Builder::new()
        .prefix("local-control-plane-")
        .tempdir()?;
    let mut plane = tokio::select! {
        // The parent ended before the control plane was up.
        _ = closed(&mut lines) => return Ok(()),
        plane = boot(&order.assets, folder.path()) => plane?,
    };
    answer(&Report::Ready {
        folder: folder.path().to_owned(),
    });
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    loop {
        let line = tokio::select! {
            line = lines.next_line() => line?,
            _ = terminate.recv() => None,
        };
        match line.as_deref() {
            None => break,
            Some(line) if line == Instruction::StopApiServer.line() => {
                plane.apiserver.kill().await?;
            }
            Some(line) if line == Instruction::StartApiServer.line() => {
                plane.start_apiserver(&order.assets, folder.path())?;
                plane.ready().await?;
            }
            Some(_) => {}
        }
        println!("done");
    }
    plane.kill().await;
    folder.close()
}

async fn closed(lines: &mut tokio::io::Lines<BufReader<tokio::io::Stdin>>) {
    while let Ok(Some(_)) = lines.next_line().await {}
}

fn answer(report: &Report) {
    if let Ok(line) = serde_json::to_string(report) {
        println!("{line}");
    }
}

struct Plane {
    etcd: Child,
    apiserver: Child,
    controller_manager: Option<Child>,
    ports: Ports,
    http: reqwest::Client,
}

#[derive(Clone, Copy)]
struct Ports {
    etcd: u16,
    etcd_peer: u16,
    apiserver: u16,
    controller_manager: u16,
}

impl Ports {
    /// Returns free ports. All are bound at the same time, so that they differ.
    fn free() -> io::Result<Self> {
        let listeners = (0..4)
            .map(|_| TcpListener::bind("127.0.0.1:0"))
            .collect::<io::Result<Vec<_>>>()?;
        let port = |n: usize| listeners[n].local_addr().map(|address| address.port());
        Ok(Self {
            etcd: port(0)?,
            etcd_peer: port(1)?,
            apiserver: port(2)?,
            controller_manager: port(3)?,
        })
    }
}

async fn boot(assets: &Assets, folder: &Path) -> io::Result<Plane> {
    pki::write(&folder.join("pki"))?;
    fs::write(folder.join("audit-policy.yaml"), AUDIT_POLICY)?;
    let mut tries = 1;
    loop {
        match boot_on(assets, folder, Ports::free()?).await {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && tries < BOOT_TRIES => {
                let _ = fs::remove_dir_all(folder.join("etcd"));
                tries += 1;
            }
            result => return result,
        }
    }
}

async fn boot_on(assets: &Assets, folder: &Path, ports: Ports) -> io::Result<Plane> {
    write_kubeconfig(folder, ports.apiserver)?;
    let client_url = format!("http://127.0.0.1:{}", ports.etcd);
    let peer_url = format!("http://127.0.0.1:{}", ports.etcd_peer);
    let etcd = spawn(
        folder,
        &assets.etcd,
        "etcd",
        [
            format!("--data-dir={}", folder.join("etcd").display()),
            format!("--listen-client-urls={client_url}"),
            format!("--advertise-client-urls={client_url}"),
            format!("--listen-peer-urls={peer_url}"),
            format!("--initial-advertise-peer-urls={peer_url}"),
            format!("--initial-cluster=default={peer_url}"),
            "--unsafe-no-fsync".to_owned(),
            "--log-level=warn".to_owned(),
        ],
    )?;
    let apiserver = spawn_apiserver(assets, folder, ports)?;
    let ca = fs::read(folder.join("pki/ca.crt"))?;
    let http = reqwest::Client::builder()
        .tls_certs_only(reqwest::Certificate::from_pem_bundle(&ca).map_err(io::Error::other)?)
        .no_proxy()
        .build()
        .map_err(io::Error::other)?;
    let mut plane = Plane {
        etcd,
        apiserver,
        controller_manager: None,
        ports,
        http,
    };
    if let Err(error) = plane.ready().await {
        plane.kill().await;
        return Err(explain(&error, folder));
    }
    let kubeconfig = folder.join("admin.kubeconfig");
    plane.controller_manager = Some(spawn(
        folder,
        &assets.kube_controller_manager,
        "kube-controller-manager",
        [
            format!("--kubeconfig={}", kubeconfig.display()),
            "--use-service-account-credentials".to_owned(),
            format!(
                "--service-account-private-key-file={}",
                folder.join("pki/service-accounts.key").display()
            ),
            format!("--root-ca-file={}", folder.join("pki/ca.crt").display()),
            "--bind-address=127.0.0.1".to_owned(),
            format!("--secure-port={}", ports.controller_manager),
            "--leader-elect=false".to_owned(),
        ],
    )?);
    Ok(plane)
}

impl Plane {
    fn start_apiserver(&mut self, assets: &Assets, folder: &Path) -> io::Result<()> {
        self.apiserver = spawn_apiserver(assets, folder, self.ports)?;
        Ok(())
    }

    async fn ready(&mut self) -> io::Result<()> {
        let url = format!("https://127.0.0.1:{}/readyz", self.ports.apiserver);
        let deadline = Instant::now() + BOOT_TIMEOUT;
        loop {
            for (name, child) in [
                ("etcd", &mut self.etcd),
                ("kube-apiserver", &mut self.apiserver),
            ] {
                if let Some(status) = child.try_wait()? {
                    return Err(io::Error::other(format!("{name} ended: {status}")));
                }
            }
            if let Ok(response) = self.http.get(&url).send().await
                && response.status().is_success()
            {
                return Ok(());
            }
            if Instant::now() > deadline {
                let seconds = BOOT_TIMEOUT.as_secs();
                return Err(io::Error::other(format!(
                    "kube-apiserver is not ready after {seconds} s"
                )));
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    async fn kill(&mut self) {
        let children = [
            Some(&mut self.etcd),
            Some(&mut self.apiserver),
            self.controller_manager.as_mut(),
        ];
        for child in children.into_iter().flatten() {
            let _ = child.kill().await;
        }
    }
}

/// Adds the last lines of the logs to an error. A taken port becomes `AddrInUse`, which is worth another try.
fn explain(error: &io::Error, folder: &Path) -> io::Error {
    let log = |name: &str| fs::read_to_string(folder.join(name)).unwrap_or_default();
    let logs = log("etcd.log") + &log("kube-apiserver.log");
    if logs.contains("address already in use") {
        return io::Error::new(
            io::ErrorKind::AddrInUse,
            "another program has taken a port; run it again",
        );
    }
    let lines: Vec<&str> = logs.lines().collect();
    let last = lines[lines.len().saturating_sub(5)..].join("\n");
    io::Error::other(format!("{error}; the end of the log:\n{last}"))
}

fn spawn_apiserver(assets: &Assets, folder: &Path, ports: Ports) -> io::Result<Child> {
    let pki = folder.join("pki");
    let file = |name: &str| pki.join(name).display().to_string();
    spawn(
        folder,
        &assets.kube_apiserver,
        "kube-apiserver",
        [
            format!("--etcd-servers=http://127.0.0.1:{}", ports.etcd),
            "--bind-address=127.0.0.1".to_owned(),
            format!("--secure-port={}", ports.apiserver),
            "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
            format!("--tls-cert-file={}", file("apiserver.crt")),
            format!("--tls-private-key-file={}", file("apiserver.key")),
            format!("--client-ca-file={}", file("ca.crt")),
            format!(
                "--service-account-key-file={}",
                file("service-accounts.pub")
            ),
            format!(
                "--service-account-signing-key-file={}",
                file("service-accounts.key")
            ),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            "--authorization-mode=RBAC".to_owned(),
            "--endpoint-reconciler-type=none".to_owned(),
            "--enable-admission-plugins=OwnerReferencesPermissionEnforcement".to_owned(),
            format!(
                "--audit-policy-file={}",
                folder.join("audit-policy.yaml").display()
            ),
            format!("--audit-log-path={}", folder.join("audit.log").display()),
        ],
    )
}

/// Starts a program that ends with this process. Its output goes to a log in the folder.
fn spawn(
    folder: &Path,
    program: &Path,
    name: &str,
    arguments: impl IntoIterator<Item = String>,
) -> io::Result<Child> {
    let log = File::options()
        .create(true)
        .append(true)
        .open(folder.join(format!("{name}.log")))?;
    Command::from(bound(&std::env::current_exe()?, program))
        .args(arguments)
        .current_dir(folder)
        .stdin(std::process::Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| io::Error::new(error.kind(), format!("cannot start {name}: {error}")))
}

fn write_kubeconfig(folder: &Path, port: u16) -> io::Result<()> {
    let file = |name: &str| folder.join("pki").join(name).display().to_string();
    let kubeconfig = serde_json::json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "local",
        "clusters": [{"name": "local", "cluster": {
            "server": format!("https://127.0.0.1:{port}"),
            "certificate-authority": file("ca.crt"),
        }}],
        "users": [{"name": "admin", "user": {
            "client-certificate": file("admin.crt"),
            "client-key": file("admin.key"),
        }}],
        "contexts": [{"name": "local", "context": {"cluster": "local", "user": "admin"}}],
    });
    // JSON is YAML.
    fs::write(
        folder.join("admin.kubeconfig"),
        serde_json::to_vec_pretty(&kubeconfig)?,
    )
}

/// Logs every request and its user, without the body.
const AUDIT_POLICY: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_worth_another_try_and_says_what_to_do() {
        let folder = tempfile::tempdir().expect("a folder");
        let explained = || explain(&io::Error::other("etcd ended"), folder.path());
        fs::write(folder.path().join("etcd.log"), "one\ntwo\n").expect("written");
        assert_eq!(explained().kind(), io::ErrorKind::Other);
        assert!(
            explained().to_string().contains("etcd ended")
                && explained().to_string().contains("two")
        );
        let taken = "listen tcp 127.0.0.1:1: bind: address already in use";
        fs::write(folder.path().join("etcd.log"), taken).expect("written");
        assert_eq!(explained().kind(), io::ErrorKind::AddrInUse);
        assert!(explained().to_string().contains("run it again"));
    }
}
