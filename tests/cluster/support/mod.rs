//! Each test has a namespace, a stub and an operator. All share one control plane.

mod evidence;
mod kubectl;
mod objects;
mod operator;
mod plane;
mod programs;
mod requests;
mod rights;
pub mod waiting;
mod yaml;

use std::path::{Path, PathBuf};

use dingtalk_stub::Stub;
use kube::Client;
use tempfile::TempDir;

pub use kubectl::kubectl;
pub use objects::{Object, condition};
pub use operator::Operator;
pub use plane::{Plane, shared_plane};
pub use programs::{assets, provided, xtask};
pub use waiting::until_next_second;
pub use yaml::{document, documents};

pub const CLIENT_ID: &str = "dingtestapp";
pub const CLIENT_SECRET: &str = "correct-horse-battery-staple";

/// Flags that allow the labels and annotations that these tests set on target Secrets.
pub const ALLOW_METADATA: [&str; 6] = [
    "--target-metadata-prefix",
    "team",
    "--target-metadata-prefix",
    "note",
    "--target-metadata-prefix",
    "example.com/",
];

/// Everything that belongs to one test.
pub struct Sandbox {
    pub namespace: String,
    pub client: Client,
    pub stub: Stub,
    pub operator: Option<Operator>,
    folder: TempDir,
    audit_log: PathBuf,
    kubeconfig: PathBuf,
}

impl Sandbox {
    /// Creates a namespace with a running operator. The stub knows one app, authorised by the corp `ding1`.
    pub async fn new(name: &str) -> Self {
        Self::with_flags(name, &[]).await
    }

    /// Like [`Self::new`], with these flags for the operator.
    pub async fn with_flags(name: &str, flags: &[&str]) -> Self {
        let mut sandbox = Self::without_operator(name, shared_plane().await).await;
        sandbox.start_operator(flags);
        sandbox
    }

    pub async fn without_operator(name: &str, plane: &Plane) -> Self {
        evidence::forget();
        let client = plane.client().await;
        let namespace = format!("{name}-{:06x}", rand::random::<u32>() & 0xff_ffff);
        let stub = Stub::start(0).await.expect("a stub");
        stub.register(CLIENT_ID, CLIENT_SECRET, &["ding1"]);
        let sandbox = Self {
            namespace,
            client,
            stub,
            operator: None,
            // In the control plane's folder, which is removed no matter how the tests end.
            folder: tempfile::tempdir_in(plane.control_plane.folder()).expect("a folder"),
            audit_log: plane.control_plane.audit_log(),
            kubeconfig: plane.control_plane.kubeconfig(),
        };
        sandbox.grant().await;
        sandbox
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}
