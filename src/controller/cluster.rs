//! Calls to the API server, each with a name and a time-out. Watches are elsewhere.

mod calls;
mod connection;
mod error;
mod kube;

pub(super) use calls::{Cluster, SecretContents};
pub(super) use connection::KubeCluster;
pub(super) use error::{ClusterError, Result};
