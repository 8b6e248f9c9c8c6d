//! The test's node, with its programs and images.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use local_control_plane::{Assets, Progress, Version, bound, helm, node_programs};

use crate::{Failure, root};

/// A boot takes eleven seconds on an idle machine.
const BOOT_TIMEOUT: Duration = Duration::from_secs(180);
/// Promised maximum size of the image.
const IMAGE_MAX: u64 = 20 << 20;
/// Prefix of a node's folder. The id of its owner's process follows.
const FOLDERS: &str = "/tmp/dingtalk-e2e-";
/// Folder for the logs of a failed run.
const LOGS: &str = "target/e2e-logs";

/// A node, which ends on drop or with this process.
pub(super) struct Node {
    folder: PathBuf,
    outer: Option<Child>,
}

impl Node {
    /// Builds the programs and images of a node.
    pub(super) fn prepare() -> Result<Self, Failure> {
        remove_leftovers();
        let folder = PathBuf::from(format!("{FOLDERS}{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        let node = Self {
            folder,
            outer: None,
        };
        provide_programs(&node.folder)?;
        let progress = Progress::start("building the images of consumers");
        script("tests/node/images/build.sh", &node.folder.join("images"))?;
        progress.done();
        Ok(node)
    }

    /// Boots the node.
    pub(super) fn boot(&mut self) -> Result<(), Failure> {
        let progress = Progress::start("booting the node: control plane, containerd, kubelet");
        let mut command = bound(&std::env::current_exe()?, &root().join("tests/node/up.sh"));
        let outer = command
            .arg(&self.folder)
            .env("PROGRAMS", &self.folder)
            .stdin(Stdio::null())
            .spawn()?;
        self.outer = Some(outer);
        self.until_ready()?;
        progress.done();
        Ok(())
    }

    /// Imports an image that was built on this machine into the node.
    pub(super) fn load(&self, image: &str) -> Result<(), Failure> {
        let archive = self.folder.join("loaded.tar");
        let _ = fs::remove_file(&archive);
        let to = format!("oci-archive:{}:{image}", archive.display());
        said(Command::new("buildah").args(["push", "--quiet", image, &to]))?;
        let size = fs::metadata(&archive)?.len();
        println!("     {image}: {} KiB to pull", size / 1024);
        if size > IMAGE_MAX {
            return Err(format!("the image is larger than {} MiB", IMAGE_MAX >> 20).into());
        }
        self.containerd(&["import", &archive.display().to_string()])
    }

    /// Adds a name to an image on the node.
    pub(super) fn tag(&self, image: &str, name: &str) -> Result<(), Failure> {
        self.containerd(&["tag", image, name])
    }

    fn containerd(&self, arguments: &[&str]) -> Result<(), Failure> {
        let program = self.folder.join("bin/ctr");
        let mut command = self.enter("--mount", &program)?;
        command
            .args(["-a", "/run/containerd/containerd.sock", "-n", "k8s.io"])
            .arg("images")
            .args(arguments);
        said(&mut command).map(drop)
    }

    /// Runs a shell command in the node's network, as its administrator. Returns the output.
    pub(super) fn shell(&self, command: &str) -> Result<String, Failure> {
        let path = std::env::var("PATH").unwrap_or_default();
        let programs = self.folder.join("bin");
        let mut shell = self.enter("--net", Path::new("sh"))?;
        shell
            .args(["-c", command])
            .current_dir(root())
            .env("PATH", format!("{}:{path}", programs.display()))
            .env("KUBECONFIG", self.folder.join("admin.kubeconfig"));
        said(&mut shell)
    }

    /// Returns a command that runs a program in one of the node's namespaces, and ends with this process.
    pub(super) fn enter(&self, namespace: &str, program: &Path) -> Result<Command, Failure> {
        let mut command = bound(&std::env::current_exe()?, Path::new("nsenter"));
        command
            .args([namespace, "--target", &self.pid()?.to_string(), "--"])
            .arg(program)
            .stdin(Stdio::null());
        Ok(command)
    }

    fn until_ready(&mut self) -> Result<(), Failure> {
        let deadline = Instant::now() + BOOT_TIMEOUT;
        while !self.folder.join("ready").exists() {
            let ended = self.outer.as_mut().map(Child::try_wait).transpose()?;
            if let Some(status) = ended.flatten() {
                return Err(format!("the node ended: {status}; its logs are in {LOGS}").into());
            }
            if Instant::now() > deadline {
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

    /// Returns the node's folder, which has kubeconfigs, keys and logs.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns the id of the process in the node's namespaces: the only child of the one that created them.
    fn pid(&self) -> Result<u32, Failure> {
        let outer = self.outer.as_ref().ok_or("the node is not running")?.id();
        let children = fs::read_to_string(format!("/proc/{outer}/task/{outer}/children"))?;
        Ok(children.trim().parse()?)
    }

    /// Copies the logs to a folder that outlives the node.
    pub(super) fn keep_logs(&self) -> Result<(), Failure> {
        let from = self.folder.join("log");
        if !from.exists() {
            return Ok(());
        }
        let to = root().join(LOGS);
        let _ = fs::remove_dir_all(&to);
        fs::create_dir_all(&to)?;
        for entry in fs::read_dir(from)?.flatten() {
            fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
        eprintln!("   the node's logs are in {LOGS}");
        Ok(())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(outer) = &mut self.outer {
            let _ = outer.kill();
            let _ = outer.wait();
            // The node's processes end after the one that held their namespaces.
            std::thread::sleep(Duration::from_secs(1));
        }
        if let Err(error) = script("tests/node/down.sh", &self.folder) {
            eprintln!("warning: {error}");
        }
    }
}

/// Removes what killed runs have left. Their processes have ended already.
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

/// Links the programs to the folder in which the node and its scenario look for them. Neither can build programs, since
/// their network has no access to the outside.
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

/// Runs a command that must succeed. Returns its output.
fn said(command: &mut Command) -> Result<String, Failure> {
    let output = command.output()?;
    let text = String::from_utf8(output.stdout)?;
    if output.status.success() {
        return Ok(text);
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    Err(format!("{text}{}", errors.trim()).into())
}
