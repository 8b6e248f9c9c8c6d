//! kubectl, and the administrator's kubeconfig.

use std::path::Path;
use std::process::{Command, Stdio};

use super::Sandbox;
use super::programs::assets;

/// Returns a kubectl command that runs in the repository's root.
pub fn kubectl(kubeconfig: &Path) -> Command {
    let mut command = Command::new(assets().kubectl);
    command
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("KUBECONFIG", kubeconfig)
        .stdin(Stdio::null());
    command
}

impl Sandbox {
    /// Runs kubectl in this test's namespace. Returns whether it succeeded, and its output.
    pub fn kubectl(&self, arguments: &[&str]) -> (bool, String) {
        self.kubectl_plain(&[&["--namespace", &self.namespace], arguments].concat())
    }

    /// Runs kubectl. Returns whether it succeeded, and its output.
    pub fn kubectl_plain(&self, arguments: &[&str]) -> (bool, String) {
        let output = kubectl(&self.kubeconfig).args(arguments).output();
        let output = output.expect("kubectl");
        let said = [output.stdout, output.stderr].concat();
        (
            output.status.success(),
            String::from_utf8_lossy(&said).into_owned(),
        )
    }

    /// Returns the administrator's kubeconfig.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }
}
