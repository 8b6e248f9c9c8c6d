//! A real control plane on loopback, for tests and the demo: etcd, kube-apiserver and kube-controller-manager,
//! with free ports and a folder of their own.
//!
//! The processes belong to a supervisor, a process that ends them and removes their folder as soon as the pipe to
//! its parent closes, no matter how the parent ended. Any program that calls [`supervise`] and [`exec_bound`] can
//! be the supervisor's executable; here it is `xtask`.

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
