//! A stub of DingTalk, a mounted Secret, and a consumer's program that uses both.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use dingtalk_stub::{ApiCall, Repeat, Stub};
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use super::mount::Mount;
use crate::Failure;

const CLIENT_ID: &str = "dingconsumer";
/// Only a program that hangs takes longer.
const LIMIT: Duration = Duration::from_secs(120);

/// Command line and environment of a consumer's program.
#[derive(Clone, Debug)]
pub(super) struct Program {
    pub(super) command: Vec<OsString>,
    pub(super) environment: Vec<(&'static str, String)>,
}

impl Program {
    /// Returns a program with its first arguments.
    pub(super) fn new<const N: usize>(command: [impl Into<OsString>; N]) -> Self {
        Self {
            command: command.map(Into::into).into(),
            environment: Vec::new(),
        }
    }

    /// Adds an environment variable.
    pub(super) fn with(mut self, name: &'static str, value: String) -> Self {
        self.environment.push((name, value));
        self
    }
}

/// The stub, the Secret and the program of one scenario.
pub(super) struct World {
    pub(super) stub: Stub,
    folder: PathBuf,
    mounts: Vec<(String, Mount)>,
    tokens: Vec<String>,
    program: Program,
    patience: u32,
    /// Replaces the stub's URL.
    pub(super) url: Option<String>,
}

impl World {
    /// Starts a stub that revokes a token once the next one is fetched. There is no Secret yet.
    pub(super) async fn new(program: &Program, folder: &Path) -> Result<Self, Failure> {
        if folder.exists() {
            std::fs::remove_dir_all(folder)?;
        }
        let stub = Stub::start(0).await?;
        stub.configure(|settings| settings.repeat = Repeat::NewRevoked);
        Ok(Self {
            stub,
            folder: folder.to_owned(),
            mounts: Vec::new(),
            tokens: Vec::new(),
            program: program.clone(),
            patience: 60,
            url: None,
        })
    }

    /// Sets the program's patience in seconds.
    pub(super) fn patience(&mut self, seconds: u32) {
        self.patience = seconds;
    }

    /// Fetches a token, which revokes the corp's former one.
    pub(super) fn fetch(&mut self, corp_id: &str) -> String {
        let token = self.stub.issue(CLIENT_ID, corp_id);
        self.tokens.push(token.clone());
        token
    }

    /// Replaces the contents of the Secret that is mounted in a subfolder; "" is the mounted folder itself.
    pub(super) fn write(&mut self, mount: &str, files: &[(String, &str)]) -> Result<(), Failure> {
        let place = match self.mounts.iter().position(|(name, _)| name == mount) {
            Some(place) => place,
            None => {
                let created = Mount::new(self.folder.join(mount))?;
                self.mounts.push((mount.to_owned(), created));
                self.mounts.len() - 1
            }
        };
        Ok(self.mounts[place].1.write(files)?)
    }

    /// Adds a text that no program may show.
    pub(super) fn hide(&mut self, text: &str) {
        self.tokens.push(text.to_owned());
    }

    /// Starts the program.
    pub(super) async fn start(&self, arguments: &[&str], input: &str) -> Result<Child, Failure> {
        let url = self.url.clone().unwrap_or_else(|| self.stub.url());
        let mut child = Command::new(&self.program.command[0])
            .args(&self.program.command[1..])
            .args(arguments)
            .envs(self.program.environment.iter().cloned())
            .env("DINGTALK_API", url)
            .env("DINGTALK_TOKENS", &self.folder)
            .env("DINGTALK_PATIENCE", self.patience.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // A program that takes no input may have closed it.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
        Ok(child)
    }

    /// Waits until the program ends, and checks that it showed no token.
    pub(super) async fn end(&self, child: Child) -> Result<Ended, Failure> {
        let output = timeout(LIMIT, child.wait_with_output())
            .await
            .map_err(|_| format!("the program did not end within {} s", LIMIT.as_secs()))??;
        let ended = Ended::of(&output);
        match self.tokens.iter().any(|token| ended.shows(token)) {
            true => Err("the program shows a token".into()),
            false => Ok(ended),
        }
    }

    /// Runs the program to its end.
    pub(super) async fn run(&self, arguments: &[&str], input: &str) -> Result<Ended, Failure> {
        let child = self.start(arguments, input).await?;
        self.end(child).await
    }

    /// Waits until a program has called DingTalk.
    pub(super) async fn until_called(&self, child: &mut Child) -> Result<(), Failure> {
        let until = async {
            while self.stub.api_calls().is_empty() && matches!(child.try_wait(), Ok(None)) {
                sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(LIMIT, until).await?;
        match self.stub.api_calls().is_empty() {
            true => Err("the program ended without calling DingTalk".into()),
            false => Ok(()),
        }
    }

    /// Checks the calls so far: for each, whether its token was accepted.
    pub(super) fn check_calls(&self, expected: &[bool]) -> Result<(), Failure> {
        let calls = self.stub.api_calls();
        let accepted: Vec<bool> = calls.iter().map(|call| call.holder.is_some()).collect();
        match accepted == expected {
            true => Ok(()),
            false => Err(format!("accepted calls: {accepted:?} instead of {expected:?}").into()),
        }
    }

    /// Returns the last call.
    pub(super) fn last_call(&self) -> Result<ApiCall, Failure> {
        let last = self.stub.api_calls().pop();
        Ok(last.ok_or("DingTalk was not called")?)
    }
}

/// A program that has ended.
#[derive(Debug)]
pub(super) struct Ended {
    is_success: bool,
    stdout: String,
    stderr: String,
}

impl Ended {
    fn of(output: &Output) -> Self {
        Self {
            is_success: output.status.success(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    fn shows(&self, text: &str) -> bool {
        self.stdout.contains(text) || self.stderr.contains(text)
    }

    /// Returns its output as JSON; an error if it failed.
    pub(super) fn answer(&self) -> Result<Value, Failure> {
        let answer = serde_json::from_str(&self.stdout);
        match (self.is_success, answer) {
            (true, Ok(answer)) => Ok(answer),
            _ => Err(format!("the program failed, or did not print JSON: {self:?}").into()),
        }
    }

    /// Checks that it succeeded.
    pub(super) fn succeeded(&self) -> Result<(), Failure> {
        match self.is_success {
            true => Ok(()),
            false => Err(format!("the program failed: {self:?}").into()),
        }
    }

    /// Checks that it failed and showed this text.
    pub(super) fn failed_with(&self, text: &str) -> Result<(), Failure> {
        match !self.is_success && self.shows(text) {
            true => Ok(()),
            false => Err(format!("the program did not fail with {text:?}: {self:?}").into()),
        }
    }
}
