//! Processes that do not outlive the one that started them.

use std::ffi::OsString;
use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use rustix::process::{Pid, Signal, getppid, kill_process_group};

/// Returns a command that runs `program`, which is killed when the thread that spawns it ends.
/// `executable` must implement the command `exec-bound` by calling [`exec_bound`].
pub fn bound(executable: &Path, program: &Path) -> Command {
    let mut command = Command::new(executable);
    command
        .args([
            "exec-bound",
            "--parent",
            &std::process::id().to_string(),
            "--",
        ])
        .arg(program);
    command
}

/// Replaces this process by `command`, which is killed when the thread that started this process ends. Systems
/// other than Linux have no signal for that; there, it is killed when the parent process ends. `parent` is the id of
/// that process.
///
/// Returns only if that fails.
pub fn exec_bound(parent: u32, command: &[OsString]) -> ExitCode {
    if let Err(error) = bind(parent) {
        eprintln!("error: cannot bind the process to its parent: {error}");
        return ExitCode::FAILURE;
    }
    // The parent may have ended before the signal was requested.
    if getppid().map(|pid| pid.as_raw_nonzero().get().unsigned_abs()) != Some(parent) {
        return ExitCode::FAILURE;
    }
    let Some((program, arguments)) = command.split_first() else {
        eprintln!("error: no command");
        return ExitCode::FAILURE;
    };
    let error = Command::new(program).args(arguments).exec();
    eprintln!("error: cannot run {}: {error}", program.display());
    ExitCode::FAILURE
}

#[cfg(target_os = "linux")]
fn bind(_: u32) -> std::io::Result<()> {
    use rustix::process::set_parent_process_death_signal;
    Ok(set_parent_process_death_signal(Some(Signal::KILL))?)
}

#[cfg(not(target_os = "linux"))]
fn bind(parent: u32) -> std::io::Result<()> {
    watch(parent, std::process::id()).map(drop)
}

/// Starts a shell that kills `child` once `parent` has ended. The shell exits when either has.
#[cfg(any(test, not(target_os = "linux")))]
fn watch(parent: u32, child: u32) -> std::io::Result<std::process::Child> {
    const SCRIPT: &str =
        r#"while kill -0 "$1" && kill -0 "$2"; do sleep 0.2; done; kill -KILL "$2""#;
    Command::new("sh")
        .args(["-c", SCRIPT, "sh"])
        .args([parent.to_string(), child.to_string()])
        // Otherwise the shell would keep the child's pipes open.
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
}

/// Runs `command` in a process group of its own, and kills the whole group when standard input
/// closes, which happens when the parent ends. Returns the command's exit code.
pub fn guard(command: &[OsString]) -> ExitCode {
    let Some((program, arguments)) = command.split_first() else {
        eprintln!("error: no command");
        return ExitCode::FAILURE;
    };
    let spawned = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .process_group(0)
        .spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => {
            eprintln!("error: cannot run {}: {error}", program.display());
            return ExitCode::FAILURE;
        }
    };
    let group = Pid::from_child(&child);
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        let _ = kill_process_group(group, Signal::KILL);
        std::process::exit(130);
    });
    match child.wait() {
        Ok(status) => ExitCode::from(u8::try_from(status.code().unwrap_or(1)).unwrap_or(1)),
        Err(error) => {
            eprintln!("error: cannot wait for {}: {error}", program.display());
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::Child;

    use super::*;

    fn sleep() -> Child {
        let mut command = Command::new("sleep");
        command.arg("600").spawn().expect("sleep")
    }

    #[test]
    fn a_watched_child_is_killed_once_its_parent_is_gone() {
        let (mut parent, mut child) = (sleep(), sleep());
        let mut watcher = watch(parent.id(), child.id()).expect("a shell");
        parent.kill().expect("killed");
        parent.wait().expect("ended");
        assert_eq!(child.wait().expect("ended").signal(), Some(9));
        watcher.wait().expect("ended");
    }

    #[test]
    fn the_watcher_ends_with_the_child_and_leaves_the_parent_alone() {
        let (mut parent, mut child) = (sleep(), sleep());
        let mut watcher = watch(parent.id(), child.id()).expect("a shell");
        child.kill().expect("killed");
        child.wait().expect("ended");
        watcher.wait().expect("ended");
        assert_eq!(parent.try_wait().expect("a status"), None);
        parent.kill().expect("killed");
        parent.wait().expect("ended");
    }
}
