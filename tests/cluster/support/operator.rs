//! The operator as a process.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use local_control_plane::bound;
use serde_json::Value;

use super::Sandbox;
use super::programs::xtask;

impl Sandbox {
    pub(super) fn operator_kubeconfig(&self) -> PathBuf {
        self.folder.path().join("operator.kubeconfig")
    }

    /// Returns the API server's address and port.
    pub fn api_server(&self) -> String {
        let admin = fs::read(&self.kubeconfig).expect("a kubeconfig");
        let kubeconfig: Value = serde_json::from_slice(&admin).expect("JSON");
        let server = kubeconfig["clusters"][0]["cluster"]["server"].as_str();
        let address = server.and_then(|server| server.strip_prefix("https://"));
        address.expect("a URL").to_owned()
    }

    /// Makes operators that start from now on connect to this local port instead of the API server.
    pub fn reach_api_server_through(&self, port: u16) {
        self.reach_api_server_at(&format!("https://127.0.0.1:{port}"));
    }

    /// Makes operators that start from now on connect to this URL instead of the API server.
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

    /// Starts an operator for this site, with these environment variables.
    pub fn start_operator_with(
        &mut self,
        site: &str,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) {
        let arguments = [&["--leader-elect=false"], arguments].concat();
        self.operator = Some(self.spawn(site, &arguments, environment));
    }

    /// Starts one of several operators that elect a leader.
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

    /// Starts an operator with these arguments. `launcher` is a command that runs the command after it.
    pub fn launch(
        &self,
        launcher: &[&str],
        site: &str,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Operator {
        let number = fs::read_dir(self.folder.path()).expect("a folder").count();
        let log = self.folder.path().join(format!("operator-{number:02}.log"));
        let program = [env!("CARGO_BIN_EXE_dingtalk-token-operator"), "run"];
        let command = [launcher, &program].concat();
        let child = bound(&xtask(), Path::new(command[0]))
            .args(&command[1..])
            // No test may reach DingTalk.
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

    /// Terminates the operator as a cluster does, and waits for its end.
    pub fn stop_operator(&mut self) {
        let mut operator = self.operator.take().expect("running");
        operator.signal("TERM");
        let ended = operator.child.wait().expect("ended");
        assert!(ended.success(), "{ended}: {}", operator.log());
    }

    /// Kills the operator, as a failing node does.
    pub fn kill_operator(&mut self) {
        let mut operator = self.operator.take().expect("running");
        operator.child.kill().expect("killed");
        operator.child.wait().expect("ended");
    }

    /// Returns the logs of all operators of this test.
    pub fn logs(&self) -> String {
        let logs = self.log_files().into_iter();
        logs.map(|log| fs::read_to_string(log).unwrap_or_default())
            .collect()
    }

    /// Returns the log files of this test's operators, in the order of their start.
    pub(super) fn log_files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.folder.path()).into_iter().flatten();
        let paths = entries.flatten().map(|entry| entry.path());
        let is_log = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "log");
        let mut logs: Vec<PathBuf> = paths.filter(is_log).collect();
        logs.sort();
        logs
    }
}

pub struct Operator {
    child: Child,
    log: PathBuf,
}

impl Operator {
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Returns its process id.
    #[cfg(target_os = "linux")]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it the signal with this name.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill")
            .args(["-s", name, &pid])
            .status()
            .expect("kill");
        assert!(status.success());
    }

    /// Returns its peak memory usage in KiB.
    #[cfg(target_os = "linux")]
    pub fn peak_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("a process of Linux");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = peak.and_then(|peak| peak.split_whitespace().next());
        peak.and_then(|peak| peak.parse().ok()).expect("a number")
    }

    /// Returns its CPU time so far, in clock ticks.
    #[cfg(target_os = "linux")]
    pub fn processor_time(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()));
        let stat = stat.expect("a process of Linux");
        // After the program's name, which is in parentheses: utime is the 14th field, and stime the 15th.
        let (_, fields) = stat.rsplit_once(')').expect("fields");
        let fields = fields.split_whitespace().skip(11).take(2);
        fields
            .map(|field| field.parse::<u64>().expect("a number"))
            .sum()
    }

    /// Returns its exit status; `None` while it is running.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a status")
    }

    /// Returns the address at which it serves a path.
    pub fn address(&self, path: &str) -> Option<String> {
        let log = self.log();
        let mut lines = log.lines().filter(|line| line.contains("server listening"));
        let line = lines.find(|line| line.contains(path))?;
        let rest = line.split("address=").nth(1)?;
        rest.split_whitespace().next().map(str::to_owned)
    }

    /// Requests a path of its probes or metrics. Returns status code and body.
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
