//! A limit on a process's memory that the kernel enforces.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// The limit of `deploy/base/deployment.yaml`.
pub const MEMORY: u64 = 256 << 20;
/// Without the rights for a cgroup, what a process may map for writing is limited instead. That
/// counts what is never touched, too: the stacks of 64 threads, 2 MiB each, and what the allocator
/// keeps at hand for each of them.
const DATA: u64 = MEMORY + (256 << 20);
/// The soft limit of a container where containerd is started by systemd without another one.
const OPEN_FILES: u32 = 1024;
const PREFIX: &str = "dingtalk-token-operator-test-";

pub enum MemoryLimit {
    /// A cgroup of its own, version 1.
    One(PathBuf),
    /// A cgroup of its own, version 2.
    Two(PathBuf),
    /// `RLIMIT_DATA`.
    Data,
}

impl MemoryLimit {
    /// The strictest that this user may set.
    pub fn set() -> Self {
        let one = Path::new("/sys/fs/cgroup/memory");
        let two = Path::new("/sys/fs/cgroup");
        let limits = [("memory.limit_in_bytes", MEMORY)];
        if let Some(group) = group(one, &limits) {
            let _ = fs::write(
                group.join("memory.memsw.limit_in_bytes"),
                MEMORY.to_string(),
            );
            return Self::One(group);
        }
        let limits = [("memory.max", MEMORY), ("memory.swap.max", 0)];
        match group(two, &limits) {
            Some(group) => Self::Two(group),
            None => Self::Data,
        }
    }

    /// The command that sets it for the command that follows.
    pub fn launcher(&self) -> Vec<String> {
        let files = format!("ulimit -S -n {OPEN_FILES}");
        let (script, argument) = match self {
            Self::One(group) | Self::Two(group) => {
                let processes = group.join("cgroup.procs").display().to_string();
                (
                    format!("{files}; echo $$ > \"$0\" && exec \"$@\""),
                    processes,
                )
            }
            Self::Data => {
                let kilobytes = DATA >> 10;
                let script = format!("{files}; ulimit -d {kilobytes} && exec \"$@\"");
                (script, "sh".to_owned())
            }
        };
        ["sh".to_owned(), "-c".to_owned(), script, argument].to_vec()
    }

    /// The limit, and how much of it was used at most.
    pub fn peak(&self) -> String {
        let (group, peak, deaths) = match self {
            Self::One(group) => (group, "memory.max_usage_in_bytes", "memory.oom_control"),
            Self::Two(group) => (group, "memory.peak", "memory.events"),
            Self::Data => return format!("RLIMIT_DATA of {} MiB", DATA >> 20),
        };
        let text = |name| fs::read_to_string(group.join(name)).unwrap_or_default();
        let peak = match text(peak).trim().parse::<u64>() {
            Ok(bytes) => format!("at most {} MiB used", bytes >> 20),
            Err(_) => "its peak is not known".to_owned(),
        };
        let killed = text(deaths)
            .lines()
            .filter_map(|line| line.strip_prefix("oom_kill "))
            .any(|count| count != "0");
        let killed = if killed { ", killed for more" } else { "" };
        format!("cgroup of {} MiB: {peak}{killed}", MEMORY >> 20)
    }
}

impl Drop for MemoryLimit {
    fn drop(&mut self) {
        if let Self::One(group) | Self::Two(group) = self {
            // A process that has just ended may be in it for a moment yet; the next run removes it.
            let _ = fs::remove_dir(group);
        }
    }
}

/// A new group below `parent` with these limits; none where that is not allowed.
fn group(parent: &Path, limits: &[(&str, u64)]) -> Option<PathBuf> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    remove_abandoned(parent);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let group = parent.join(format!("{PREFIX}{}-{number}", std::process::id()));
    fs::create_dir(&group).ok()?;
    let is_limited = limits.iter().all(|(file, value)| {
        // A file that the kernel does not offer must not be made by this.
        let file = group.join(file);
        file.exists() && fs::write(file, value.to_string()).is_ok()
    });
    if !is_limited {
        let _ = fs::remove_dir(&group);
        return None;
    }
    Some(group)
}

/// Removes the groups of test programs that were killed.
fn remove_abandoned(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let process = name
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split('-').next());
        if process.is_some_and(|id| !Path::new("/proc").join(id).exists()) {
            let _ = fs::remove_dir(entry.path());
        }
    }
}
