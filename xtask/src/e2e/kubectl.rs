//! Access to the node's cluster with kubectl.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::{Failure, root};

/// kubectl with the administrator's rights.
#[derive(Clone)]
pub(super) struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
}

impl Kubectl {
    pub(super) fn of(folder: &Path) -> Self {
        Self {
            program: folder.join("bin/kubectl"),
            kubeconfig: folder.join("admin.kubeconfig"),
        }
    }

    pub(super) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Runs kubectl. Returns its output.
    pub(super) fn run(&self, arguments: &[&str]) -> Result<String, Failure> {
        self.run_with(arguments, "")
    }

    /// Like [`Self::run`], and prints the command and its output.
    pub(super) fn show(&self, arguments: &[&str]) -> Result<(), Failure> {
        println!("   $ kubectl {}", arguments.join(" "));
        for line in self.run(arguments)?.lines() {
            println!("   {line}");
        }
        Ok(())
    }

    /// Applies objects.
    pub(super) fn apply(&self, objects: &[Value]) -> Result<(), Failure> {
        for object in objects {
            self.run_with(&["apply", "--server-side", "-f", "-"], &object.to_string())?;
        }
        Ok(())
    }

    /// Creates an object as a field manager. Returns the created object.
    pub(super) fn create(&self, object: &Value, manager: &str) -> Result<Value, Failure> {
        let manager = format!("--field-manager={manager}");
        let create = ["create", &manager, "-f", "-", "-o", "json"];
        let created = self.run_with(&create, &object.to_string())?;
        Ok(serde_json::from_str(&created)?)
    }

    /// Reads an object or a list.
    pub(super) fn json(&self, arguments: &[&str]) -> Result<Value, Failure> {
        let said = self.run(&[arguments, &["-o", "json"]].concat())?;
        Ok(serde_json::from_str(&said)?)
    }

    fn run_with(&self, arguments: &[&str], input: &str) -> Result<String, Failure> {
        let mut child = Command::new(&self.program)
            .args(arguments)
            .current_dir(root())
            .env("KUBECONFIG", &self.kubeconfig)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input.as_bytes())?;
        }
        let output = child.wait_with_output()?;
        if !output.status.success() {
            // A command that `exec` runs says on standard output why it failed.
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8_lossy(&said);
            return Err(format!("kubectl {}: {}", arguments.join(" "), said.trim()).into());
        }
        Ok(String::from_utf8(output.stdout)?)
    }
}

/// Waits until `look` returns something.
pub(super) fn eventually<T>(
    what: &str,
    patience: Duration,
    mut look: impl FnMut() -> Result<Option<T>, Failure>,
) -> Result<T, Failure> {
    let started = Instant::now();
    let mut last = String::new();
    while started.elapsed() < patience {
        match look() {
            Ok(Some(seen)) => {
                println!("   ✓ {what} ({:.1} s)", started.elapsed().as_secs_f64());
                return Ok(seen);
            }
            Ok(None) => {}
            Err(error) => last = format!(": {error}"),
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    Err(format!("{what}: not seen within {} s{last}", patience.as_secs()).into())
}
