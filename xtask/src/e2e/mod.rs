//! The end-to-end test on a real node: the README's quickstart, installation, pods that read tokens, disturbances,
//! removal.

mod doctor;
mod golden;
mod kubectl;
mod node;
mod operator;
mod quickstart;
mod scenario;
mod sites;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use crate::Failure;
use node::Node;
use quickstart::Quickstart;

/// Programs that the machine must have, and their Debian packages.
const NEEDED: [(&str, &str); 7] = [
    ("runc", "runc"),
    ("buildah", "buildah"),
    ("nft", "nftables"),
    ("conntrack", "conntrack"),
    ("musl-gcc", "musl-tools"),
    ("openssl", "openssl"),
    ("nsenter", "util-linux"),
];

/// Runs the README's quickstart, which builds the images and creates the node, then the scenario in the
/// node's network.
pub(crate) fn run() -> Result<ExitCode, Failure> {
    println!("dingtalk-token-operator: end to end on a real node\n");
    check_machine()?;
    let quickstart = Quickstart::read()?;
    let mut node = Node::prepare()?;
    if let Err(error) = quickstart.run(&mut node) {
        let state = node.shell("kubectl get dta,pods,events -A -o wide");
        eprintln!("{}", state.unwrap_or_default());
        node.keep_logs()?;
        return Err(error);
    }
    let tagged = |image: &str| format!("{image}:v{}", env!("CARGO_PKG_VERSION"));
    node.tag(&tagged(operator::NAMED_IMAGE), &tagged(operator::IMAGE))?;
    // The stubs of DingTalk and kubectl must be in the node's network.
    let status = node
        .enter("--net", &std::env::current_exe()?)?
        .arg("e2e-scenario")
        .arg(node.folder())
        .status()?;
    if !status.success() {
        node.keep_logs()?;
        return Err("a step was not observed: see above".into());
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs the scenario, in the node's network. `folder` is the node's.
pub(crate) fn run_scenario(folder: &Path) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Runtime::new()?;
    let _guard = runtime.enter();
    scenario::run(&runtime, folder)?;
    println!("\nEvery step was observed.");
    Ok(ExitCode::SUCCESS)
}

fn check_machine() -> Result<(), Failure> {
    let id = Command::new("id").arg("-u").output()?;
    if String::from_utf8_lossy(&id.stdout).trim() != "0" {
        return Err("the node needs root: run this as root, on Linux".into());
    }
    let missing: Vec<&str> = NEEDED
        .iter()
        .filter(|(program, _)| found(program).is_none())
        .map(|(_, package)| *package)
        .collect();
    if !missing.is_empty() {
        let missing = missing.join(" ");
        return Err(
            format!("not installed: {missing}; on Debian: apt-get install {missing}").into(),
        );
    }
    let target = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    let sysroot = Command::new("rustc")
        .args(["--print", "sysroot"])
        .output()?;
    let sysroot = PathBuf::from(String::from_utf8_lossy(&sysroot.stdout).trim());
    if !sysroot.join("lib/rustlib").join(&target).is_dir() {
        return Err(
            format!("Rust cannot build static programs: rustup target add {target}").into(),
        );
    }
    Ok(())
}

fn found(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}
