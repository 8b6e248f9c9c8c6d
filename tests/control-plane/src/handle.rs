//! Handle of a running control plane.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use thiserror::Error;

use crate::supervisor::{Instruction, Order, Report};
use crate::{Assets, Progress};

/// Why a control plane does not start or respond.
#[derive(Debug, Error)]
pub enum ControlPlaneError {
    /// The supervisor did not start.
    #[error("cannot start the control plane's supervisor {executable}: {source}")]
    Spawn {
        /// Its program.
        executable: PathBuf,
        /// The error.
        source: io::Error,
    },
    /// A program of the control plane did not come up.
    #[error("cannot boot the control plane: {0}")]
    Boot(String),
    /// The supervisor does not respond.
    #[error("no response from the control plane's supervisor: {0}")]
    Supervisor(#[source] io::Error),
}

/// A control plane, which stops on drop.
pub struct ControlPlane {
    supervisor: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    folder: PathBuf,
    /// Paths of its programs.
    pub assets: Assets,
}

impl ControlPlane {
    /// Boots a control plane. `executable` must implement the commands `supervise` and `exec-bound` by calling
    /// this crate.
    pub fn start(executable: &Path, assets: Assets) -> Result<Self, ControlPlaneError> {
        let progress = Progress::start("starting etcd, kube-apiserver and kube-controller-manager");
        let order = serde_json::to_string(&Order {
            assets: assets.clone(),
        })
        .map_err(|error| ControlPlaneError::Supervisor(error.into()))?;
        let mut supervisor = Command::new(executable)
            .args(["supervise", &order])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // In its own process group, so that Ctrl-C ends only the parent and the supervisor can clean up.
            .process_group(0)
            .spawn()
            .map_err(|source| ControlPlaneError::Spawn {
                executable: executable.to_owned(),
                source,
            })?;
        let commands = supervisor.stdin.take();
        let Some(stdout) = supervisor.stdout.take() else {
            return Err(ControlPlaneError::Supervisor(
                io::ErrorKind::BrokenPipe.into(),
            ));
        };
        let mut plane = Self {
            supervisor,
            commands,
            answers: BufReader::new(stdout),
            folder: PathBuf::new(),
            assets,
        };
        let line = plane.answer().map_err(ControlPlaneError::Supervisor)?;
        match serde_json::from_str(&line) {
            Ok(Report::Ready { folder }) => plane.folder = folder,
            Ok(Report::Failed { error }) => return Err(ControlPlaneError::Boot(error)),
            Err(error) => return Err(ControlPlaneError::Supervisor(error.into())),
        }
        progress.done();
        Ok(plane)
    }

    /// Returns the path of the administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.join("admin.kubeconfig")
    }

    /// Returns the path of the API server's audit log, with one JSON object per line.
    pub fn audit_log(&self) -> PathBuf {
        self.folder.join("audit.log")
    }

    /// Returns the control plane's folder, which is removed with it.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns the supervisor's process id.
    pub fn supervisor_id(&self) -> u32 {
        self.supervisor.id()
    }

    /// Kills the API server.
    pub fn stop_api_server(&mut self) -> Result<(), ControlPlaneError> {
        self.command(Instruction::StopApiServer)
    }

    /// Starts the API server again, on the same port.
    pub fn start_api_server(&mut self) -> Result<(), ControlPlaneError> {
        self.command(Instruction::StartApiServer)
    }

    fn command(&mut self, command: Instruction) -> Result<(), ControlPlaneError> {
        let sent = match &mut self.commands {
            Some(commands) => writeln!(commands, "{}", command.line()),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        };
        sent.and_then(|()| self.answer())
            .map(drop)
            .map_err(ControlPlaneError::Supervisor)
    }

    fn answer(&mut self) -> io::Result<String> {
        let mut line = String::new();
        match self.answers.read_line(&mut line)? {
            0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it ended")),
            _ => Ok(line),
        }
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        drop(self.commands.take());
        let _ = self.supervisor.wait();
    }
}
