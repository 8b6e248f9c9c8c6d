//! The node: its programs, its images, its life.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use local_control_plane::{Assets, Progress, Version, bound, helm, node_programs};

use crate::{Failure, root};

/// Eleven seconds on an idle machine.
const BOOT_TIMEOUT: Duration = Duration::from_secs(180);
/// What is promised of the image.
const IMAGE_MAX: u64 = 20 << 20;
/// How the folder of a node begins; the process id that owns it follows.
const FOLDERS: &str = "/tmp/dingtalk-e2e-";
/// Where the logs of a failed run are left.
const LOGS: &str = "target/e2e-logs";

/// A node that ends when this is dropped, or with this process.
pub(super) struct Node {
    folder: PathBuf,
    outer: Child,
}

impl Node {
    /// Builds what it needs, and boots it.
    pub(super) fn start() -> Result<Self, Failure> {
        remove_leftovers();
        let folder = PathBuf::from(format!("{FOLDERS}{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        let mut command = bound(&std::env::current_exe()?, &root().join("tests/node/up.sh"));
        provide_programs(&folder)?;
        let progress = Progress::start("building the images: the operator, and its consumers");
        script("tests/node/images/build.sh", &folder.join("images"))?;
        progress.done();
        let image = fs::metadata(folder.join("images/operator.tar"))?.len();
        println!(
            "   the operator's image, as it is pulled: {} KiB",
            image / 1024
        );
        if image > IMAGE_MAX {
            return Err(format!("the image is larger than {} MiB", IMAGE_MAX >> 20).into());
        }
        let progress = Progress::start("booting the node: control plane, containerd, kubelet");
        let outer = command
            .arg(&folder)
            .env("PROGRAMS", &folder)
            .stdin(Stdio::null())
            .spawn()?;
        let mut node = Self { folder, outer };
        node.until_ready()?;
        progress.done();
        Ok(node)
    }

    fn until_ready(&mut self) -> Result<(), Failure> {
        let deadline = Instant::now() + BOOT_TIMEOUT;
        while !self.folder.join("ready").exists() {
            if let Some(status) = self.outer.try_wait()? {
                self.keep_logs()?;
                return Err(format!("the node ended: {status}; its logs are in {LOGS}").into());
            }
            if Instant::now() > deadline {
                self.keep_logs()?;
                let seconds = BOOT_TIMEOUT.as_secs();
                return Err(format!(
                    "the node is not ready after {seconds} s; its logs are in {LOGS}"
                )
                .into());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    /// The node's folder: kubeconfigs, keys, logs.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The process that has the node's namespaces: the one child of that which made them.
    pub(super) fn pid(&self) -> u32 {
        let outer = self.outer.id();
        let children = fs::read_to_string(format!("/proc/{outer}/task/{outer}/children"));
        let children = children.unwrap_or_default();
        children.trim().parse().unwrap_or(outer)
    }

    /// Copies the logs to where they outlive the node.
    pub(super) fn keep_logs(&self) -> Result<(), Failure> {
        let to = root().join(LOGS);
        let _ = fs::remove_dir_all(&to);
        fs::create_dir_all(&to)?;
        for entry in fs::read_dir(self.folder.join("log"))?.flatten() {
            fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
        eprintln!("   the node's logs are in {LOGS}");
        Ok(())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.outer.kill();
        let _ = self.outer.wait();
        // The processes of the node end after the one that held their namespaces.
        std::thread::sleep(Duration::from_secs(1));
        if let Err(error) = script("tests/node/down.sh", &self.folder) {
            eprintln!("warning: {error}");
        }
    }
}

/// Removes what runs that were killed have left: their processes have ended with them.
fn remove_leftovers() {
    for entry in fs::read_dir("/tmp").into_iter().flatten().flatten() {
        let path = entry.path();
        let owner = path.to_str().and_then(|path| path.strip_prefix(FOLDERS));
        let is_alive = |owner: &str| Path::new("/proc").join(owner).exists();
        if owner.is_some_and(|owner| !is_alive(owner))
            && let Err(error) = script("tests/node/down.sh", &path)
        {
            eprintln!("warning: {error}");
        }
    }
}

/// Links the programs to where the node and its scenario look for them: neither can build one, for
/// their network reaches nothing.
fn provide_programs(folder: &Path) -> Result<(), Failure> {
    let assets = Assets::get(Version::default())?;
    let (bin, cni) = (folder.join("bin"), folder.join("cni"));
    fs::create_dir_all(&bin)?;
    fs::create_dir_all(&cni)?;
    let control_plane = [
        &assets.etcd,
        &assets.kube_apiserver,
        &assets.kube_controller_manager,
        &assets.kubectl,
    ];
    let control_plane = control_plane.into_iter().cloned();
    let others = node_programs()?.into_iter().map(|(_, path)| path);
    for program in control_plane.chain(others).chain([helm()?]) {
        let name = program.file_name().unwrap_or_default();
        let is_plugin = program
            .components()
            .any(|part| part.as_os_str().to_string_lossy().starts_with("cni-"));
        let to = if is_plugin { &cni } else { &bin };
        std::os::unix::fs::symlink(&program, to.join(name))?;
    }
    Ok(())
}

fn script(path: &str, folder: &Path) -> Result<(), Failure> {
    let status = Command::new(root().join(path))
        .arg(folder)
        .stdin(Stdio::null())
        .status()?;
    match status.success() {
        true => Ok(()),
        false => Err(format!("{path} failed ({status}): see above").into()),
    }
}
