//! Processes that do not outlive the one that started them.

use std::ffi::OsString;
use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode};

use rustix::process::{Pid, Signal, getppid, kill_process_group, set_parent_process_death_signal};

/// A command that runs `program` so that it is killed when the thread that spawns it ends.
/// `executable` is a program that hands `exec-bound` to [`exec_bound`].
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

/// Becomes `command`, to be killed when the thread that started this process ends. `parent` is the
/// id of that thread's process.
///
/// Does not return unless it fails.
pub fn exec_bound(parent: u32, command: &[OsString]) -> ExitCode {
    if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
        eprintln!("error: bind the process to its parent: {error}");
        return ExitCode::FAILURE;
    }
    // The parent may have ended before the signal was asked for.
    if getppid().map(|pid| pid.as_raw_nonzero().get().unsigned_abs()) != Some(parent) {
        return ExitCode::FAILURE;
    }
    let Some((program, arguments)) = command.split_first() else {
        eprintln!("error: no command");
        return ExitCode::FAILURE;
    };
    let error = Command::new(program).args(arguments).exec();
    eprintln!("error: run {}: {error}", program.display());
    ExitCode::FAILURE
}

/// Runs `command` in a process group of its own, and kills the whole group when standard input
/// closes, which it does when the parent ends. Exits as the command does.
pub fn guard(command: &[OsString]) -> ExitCode {
    let Some((program, arguments)) = command.split_first() else {
        eprintln!("error: no command");
        return ExitCode::FAILURE;
    };
    let spawned = Command::new(program)
        .args(arguments)
        .stdin(std::process::Stdio::null())
        .process_group(0)
        .spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => {
            eprintln!("error: run {}: {error}", program.display());
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
            eprintln!("error: wait for {}: {error}", program.display());
            ExitCode::FAILURE
        }
    }
}
