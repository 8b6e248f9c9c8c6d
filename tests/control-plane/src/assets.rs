//! Programs of a control plane and a node: from `KUBEBUILDER_ASSETS` if it has them, otherwise built once from
//! Go modules, into a cache that all clones share.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::str::FromStr;

use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::Progress;

/// The oldest Go that builds the newest control plane.
const GO_MINIMUM: &str = "1.26";

/// A Kubernetes version that the project is tested on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// The oldest supported version.
    V1_33,
    /// The newest tested version.
    #[default]
    V1_37,
}

impl Version {
    /// Returns major and minor version, such as `1.37`.
    pub fn minor(self) -> &'static str {
        match self {
            Self::V1_33 => "1.33",
            Self::V1_37 => "1.37",
        }
    }
}

impl FromStr for Version {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::V1_33, Self::V1_37]
            .into_iter()
            .find(|version| version.minor() == text)
            .ok_or_else(|| "the project is tested on 1.33 and 1.37".to_owned())
    }
}

/// Why a program is not available.
#[derive(Debug, Error)]
pub enum AssetsError {
    /// Go is not installed.
    #[error(
        "the control plane is built with Go, but `go` is not installed: install Go {GO_MINIMUM} or \
         later, or set KUBEBUILDER_ASSETS to a folder with etcd, kube-apiserver, \
         kube-controller-manager and kubectl"
    )]
    GoMissing(#[source] io::Error),
    /// A build failed.
    #[error(
        "building {program} failed (see above): check that Go is {GO_MINIMUM} or later \
         (`go version`) and that it reaches a module proxy (`go env GOPROXY`), then try again"
    )]
    Build {
        /// The program.
        program: &'static str,
    },
    /// The cache cannot be used.
    #[error("cannot use the cache {path}: {source}; set XDG_CACHE_HOME to a writable folder")]
    Cache {
        /// Its folder.
        path: PathBuf,
        /// The error.
        source: io::Error,
    },
    /// There is no folder for a cache.
    #[error(
        "neither XDG_CACHE_HOME nor HOME is set, and the programs are cached there: set one of them"
    )]
    NoCache,
}

/// Paths of the programs.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Assets {
    /// etcd.
    pub etcd: PathBuf,
    /// kube-apiserver.
    pub kube_apiserver: PathBuf,
    /// kube-controller-manager.
    pub kube_controller_manager: PathBuf,
    /// kubectl.
    pub kubectl: PathBuf,
}

/// A program that is built from a Go package.
struct Program {
    name: &'static str,
    package: &'static str,
    /// Folder of its module in `go/`; `None` if that depends on the server's version.
    module: Option<&'static str>,
}

impl Program {
    const fn of(module: &'static str, name: &'static str, package: &'static str) -> Self {
        Self {
            name,
            package,
            module: Some(module),
        }
    }

    const fn of_the_server(name: &'static str, package: &'static str) -> Self {
        Self {
            name,
            package,
            module: None,
        }
    }
}

/// Module of programs that are the same for every version of the server.
const NEWEST: &str = "1.37";

/// Programs of the control plane.
const PROGRAMS: [Program; 4] = [
    Program::of(NEWEST, "etcd", "go.etcd.io/etcd/server/v3"),
    Program::of_the_server("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"),
    Program::of_the_server(
        "kube-controller-manager",
        "k8s.io/kubernetes/cmd/kube-controller-manager",
    ),
    Program::of(NEWEST, "kubectl", "k8s.io/kubernetes/cmd/kubectl"),
];

/// Further programs of a node. runc, nft and conntrack come from the machine.
const NODE_PROGRAMS: [Program; 10] = [
    Program::of("node", "kubelet", "k8s.io/kubernetes/cmd/kubelet"),
    Program::of(
        "node",
        "kube-scheduler",
        "k8s.io/kubernetes/cmd/kube-scheduler",
    ),
    Program::of("node", "kube-proxy", "k8s.io/kubernetes/cmd/kube-proxy"),
    Program::of(
        "runtime",
        "containerd",
        "github.com/containerd/containerd/v2/cmd/containerd",
    ),
    Program::of(
        "runtime",
        "containerd-shim-runc-v2",
        "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
    ),
    Program::of(
        "runtime",
        "ctr",
        "github.com/containerd/containerd/v2/cmd/ctr",
    ),
    Program::of(
        "cni",
        "bridge",
        "github.com/containernetworking/plugins/plugins/main/bridge",
    ),
    Program::of(
        "cni",
        "loopback",
        "github.com/containernetworking/plugins/plugins/main/loopback",
    ),
    Program::of(
        "cni",
        "host-local",
        "github.com/containernetworking/plugins/plugins/ipam/host-local",
    ),
    Program::of(
        "cni",
        "portmap",
        "github.com/containernetworking/plugins/plugins/meta/portmap",
    ),
];
const HELM: Program = Program::of("helm", "helm", "helm.sh/helm/v4/cmd/helm");
const PROMETHEUS: Program = Program::of(
    "prometheus",
    "prometheus",
    "github.com/prometheus/prometheus/cmd/prometheus",
);
const PROMTOOL: Program = Program::of(
    "prometheus",
    "promtool",
    "github.com/prometheus/prometheus/cmd/promtool",
);

/// Returns the build tags that leave out unneeded parts of a module.
fn tags(module: &str) -> &'static str {
    match module {
        // Leave out snapshotters that need C libraries.
        "runtime" => "no_btrfs,no_devmapper,no_zfs,urfave_cli_no_docs",
        // Leave out the service discovery of clouds.
        "prometheus" => "remove_all_sd",
        _ => "",
    }
}

/// Finds or builds Helm.
pub fn helm() -> Result<PathBuf, AssetsError> {
    built(&HELM, "helm")
}

/// Finds or builds Prometheus and its promtool.
pub fn prometheus() -> Result<(PathBuf, PathBuf), AssetsError> {
    let module = PROMETHEUS.name;
    Ok((built(&PROMETHEUS, module)?, built(&PROMTOOL, module)?))
}

/// Finds or builds the further programs of a node. Returns the path of each by its name.
pub fn node_programs() -> Result<Vec<(&'static str, PathBuf)>, AssetsError> {
    let built = NODE_PROGRAMS.iter().map(|program| {
        let module = program.module.unwrap_or(NEWEST);
        Ok((program.name, built(program, module)?))
    });
    built.collect()
}

impl Assets {
    /// Finds or builds the programs. The first build takes minutes, and shows its progress.
    ///
    /// The version of `KUBEBUILDER_ASSETS` is not known, so it is used in place of the newest version only.
    pub fn get(version: Version) -> Result<Self, AssetsError> {
        let given = std::env::var_os("KUBEBUILDER_ASSETS")
            .map(PathBuf::from)
            .filter(|_| version == Version::default());
        let mut paths = Vec::with_capacity(PROGRAMS.len());
        for program in &PROGRAMS {
            let given = given.as_ref().map(|folder| folder.join(program.name));
            paths.push(match given.filter(|path| path.is_file()) {
                Some(path) => path,
                None => built(program, program.module.unwrap_or(version.minor()))?,
            });
        }
        let [etcd, kube_apiserver, kube_controller_manager, kubectl] =
            <[PathBuf; 4]>::try_from(paths).unwrap_or_default();
        Ok(Self {
            etcd,
            kube_apiserver,
            kube_controller_manager,
            kubectl,
        })
    }
}

fn built(program: &Program, module: &str) -> Result<PathBuf, AssetsError> {
    let is_of_a_version = module.starts_with("1.");
    let prefix = if is_of_a_version { "v" } else { "" };
    let (program, package, name) = (program.name, program.package, module);
    let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("go").join(name);
    let folder = cache()?.join(format!("{prefix}{name}-{}", pins(&module)));
    let path = folder.join(program);
    if path.is_file() {
        return Ok(path);
    }
    let cache_error = |source| AssetsError::Cache {
        path: folder.clone(),
        source,
    };
    fs::create_dir_all(&folder).map_err(cache_error)?;
    // Concurrent runs build it once.
    let lock = File::create(folder.join(format!("{program}.lock"))).map_err(cache_error)?;
    lock.lock().map_err(cache_error)?;
    if path.is_file() {
        return Ok(path);
    }
    let progress = Progress::start(format!(
        "building {program} ({name}) from Go modules, only this once (5 to 10 minutes for all programs)"
    ));
    let mut flags = "-s -w".to_owned();
    if package.starts_with("k8s.io/kubernetes/") {
        let release = kubernetes_release(&module)?;
        let minor = release.split('.').nth(1).unwrap_or_default();
        let component = "k8s.io/component-base/version";
        let _ = write!(
            flags,
            " -X {component}.gitVersion={release} -X {component}.gitMajor=1 -X {component}.gitMinor={minor}"
        );
    }
    let unfinished = folder.join(format!("{program}.unfinished"));
    let status = Command::new("go")
        .args(["build", "-trimpath", "-ldflags", &flags, "-tags"])
        .arg(tags(name))
        .arg("-o")
        .arg(&unfinished)
        .arg(package)
        .current_dir(&module)
        .env("CGO_ENABLED", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .map_err(AssetsError::GoMissing)?;
    if !status.success() {
        return Err(AssetsError::Build { program });
    }
    fs::rename(&unfinished, &path).map_err(cache_error)?;
    progress.done();
    Ok(path)
}

fn kubernetes_release(module: &Path) -> Result<String, AssetsError> {
    let output = Command::new("go")
        .args(["list", "-m", "-f", "{{.Version}}", "k8s.io/kubernetes"])
        .current_dir(module)
        .stderr(Stdio::inherit())
        .output()
        .map_err(AssetsError::GoMissing)?;
    if !output.status.success() {
        return Err(AssetsError::Build {
            program: "kube-apiserver",
        });
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn cache() -> Result<PathBuf, AssetsError> {
    let set = |name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let base = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
    Ok(base
        .ok_or(AssetsError::NoCache)?
        .join("dingtalk-token-operator")
        .join("kubernetes"))
}

/// Returns a hash of the pinned versions, so that programs of other versions get another folder.
fn pins(module: &Path) -> String {
    let sums = fs::read(module.join("go.sum")).unwrap_or_default();
    let digest = Sha256::digest(sums);
    let number = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
    format!("{number:08x}")
}
