//! A real control plane on loopback: etcd, kube-apiserver and kube-controller-manager, booted on
//! free ports in a folder of its own, for tests and the demo.
//!
//! The processes belong to a supervisor, a process that ends them and removes their folder as soon
//! as the pipe to its parent closes, however the parent ended. Any program can be the supervisor's
//! executable by calling [`supervise`] and [`exec_bound`]; here it is `xtask`.

mod assets;
mod bound;
mod handle;
mod pki;
mod progress;
mod supervisor;

pub use assets::{Assets, AssetsError, Version, helm, node_programs, prometheus};
pub use bound::{bound, exec_bound, guard};
pub use handle::{ControlPlane, ControlPlaneError};
pub use progress::Progress;
pub use supervisor::supervise;
