//! The local control plane leaves nothing behind, however its parent ends, and the operator no dump
//! of its memory.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use local_control_plane::ControlPlane;
use serde_json::{Value, json};

use crate::support::{Sandbox, assets, shared_plane, xtask};

/// Far longer than a process takes to end, or to become another program.
const PATIENCE: Duration = Duration::from_secs(60);

/// The processes whose command line names `text`.
fn processes(text: &str) -> Vec<String> {
    let output = Command::new("ps")
        .args(["-A", "-ww", "-o", "args="])
        .output();
    let output = output.expect("ps");
    assert!(output.status.success(), "ps: {output:?}");
    let all = String::from_utf8_lossy(&output.stdout);
    let named = all.lines().filter(|command| command.contains(text));
    named.map(str::to_owned).collect()
}

/// Waits until there are so many.
fn until(count: usize, there_are: impl Fn() -> Vec<String>) {
    let deadline = Instant::now() + PATIENCE;
    while there_are().len() != count {
        assert!(
            Instant::now() < deadline,
            "not {count} after {PATIENCE:?}: {:#?}",
            there_are()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn gone(left: impl Fn() -> Vec<String>) {
    until(0, left);
}

fn folder(path: &Path) -> Vec<String> {
    path.exists()
        .then(|| path.display().to_string())
        .into_iter()
        .collect()
}

/// A process that holds a pipe open, in the place of a parent.
struct Parent(Child);

impl Parent {
    fn start() -> Self {
        let mut command = Command::new("sleep");
        command
            .arg("600")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        Self(command.spawn().expect("sleep"))
    }

    fn pipe(&mut self) -> ChildStdout {
        self.0.stdout.take().expect("a pipe")
    }

    fn kill(&mut self) {
        self.0.kill().expect("SIGKILL");
        self.0.wait().expect("ended");
    }
}

impl Drop for Parent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn supervised(parent: &mut Parent) -> (Child, String) {
    let order = json!({"assets": assets()}).to_string();
    let mut supervisor = Command::new(xtask())
        .args(["supervise", &order])
        .stdin(parent.pipe())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a supervisor");
    let mut line = String::new();
    BufReader::new(supervisor.stdout.take().expect("a pipe"))
        .read_line(&mut line)
        .expect("a report");
    let report: Value = serde_json::from_str(&line).expect("JSON");
    let folder = report["Ready"]["folder"].as_str().expect(&line).to_owned();
    // etcd, kube-apiserver and kube-controller-manager. A process has no command line while it becomes the
    // program that it was started for.
    until(3, || processes(&folder));
    (supervisor, folder)
}

#[test]
fn nothing_is_left_when_the_parent_is_killed() {
    let mut parent = Parent::start();
    let (mut supervisor, path) = supervised(&mut parent);
    parent.kill();
    gone(|| processes(&path));
    gone(|| folder(Path::new(&path)));
    supervisor.wait().expect("ended");
}

#[test]
fn no_process_is_left_when_the_supervisor_itself_is_killed() {
    let mut parent = Parent::start();
    let (mut supervisor, path) = supervised(&mut parent);
    supervisor.kill().expect("SIGKILL");
    supervisor.wait().expect("ended");
    gone(|| processes(&path));
    parent.kill();
    std::fs::remove_dir_all(path).expect("this folder is left: nobody is there to remove it");
}

#[test]
fn several_run_at_a_time_and_end_when_dropped() {
    let planes: Vec<ControlPlane> = (0..2)
        .map(|_| ControlPlane::start(&xtask(), assets()).expect("a control plane"))
        .collect();
    let folders: Vec<_> = planes
        .iter()
        .map(|plane| plane.folder().to_owned())
        .collect();
    assert_ne!(folders[0], folders[1]);
    drop(planes);
    for path in folders {
        gone(|| folder(&path));
        gone(|| processes(&path.display().to_string()));
    }
}

#[test]
fn a_guarded_command_ends_with_its_whole_group() {
    let mark = format!("6{}", std::process::id());
    let mut parent = Parent::start();
    let mut guard = Command::new(xtask())
        .args([
            "guard",
            "--",
            "sh",
            "-c",
            &format!("sleep {mark} & sleep {mark}"),
        ])
        .stdin(parent.pipe())
        .spawn()
        .expect("a guard");
    let sleeping = || processes(&format!("sleep {mark}"));
    // The guard, the shell and both of its sleeps.
    until(4, sleeping);
    parent.kill();
    gone(sleeping);
    guard.wait().expect("ended");
}

#[test]
fn a_control_plane_that_cannot_boot_says_why() {
    let mut broken = assets();
    broken.etcd = "/does/not/exist".into();
    let error = ControlPlane::start(&xtask(), broken)
        .err()
        .expect("no control plane")
        .to_string();
    assert!(
        error.contains("etcd") && error.contains("/does/not/exist"),
        "{error}"
    );
}

#[test]
fn without_go_and_without_assets_the_error_says_what_to_do() {
    let cache = tempfile::tempdir().expect("a folder");
    let output = Command::new(xtask())
        .args(["test", "--kubernetes", "1.37"])
        .env("PATH", "/does/not/exist")
        .env("XDG_CACHE_HOME", cache.path())
        .env_remove("KUBEBUILDER_ASSETS")
        .stdin(Stdio::null())
        .output()
        .expect("xtask");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success());
    assert!(
        said.contains("`go` is not installed") && said.contains("KUBEBUILDER_ASSETS"),
        "{said}"
    );
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_operator_leaves_no_core_dump() {
    let sandbox = Sandbox::new("core").await;
    sandbox.until_watching().await;
    let operator = sandbox.operator.as_ref().expect("running");
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", operator.id()));
    let limits = limits.expect("its limits");
    let core = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max core file size"));
    let values: Vec<&str> = core.expect("a limit").split_whitespace().collect();
    assert_eq!(values, ["0", "0", "bytes"]);
}

#[tokio::test]
async fn the_operator_ends_when_told_to_while_it_has_never_reached_the_api_server() {
    let mut sandbox = Sandbox::without_operator("unreached", shared_plane().await).await;
    // Nothing listens there.
    sandbox.reach_api_server_through(1);
    sandbox.start_operator(&[]);
    sandbox
        .eventually("a watch that fails", async || {
            sandbox.logs().contains("watch failed").then_some(())
        })
        .await;
    sandbox.stop_operator();
}
