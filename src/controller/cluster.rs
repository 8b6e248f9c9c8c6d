//! Calls to the API server, each with a name and a time-out. Watches are elsewhere.

mod calls;
mod connection;
mod contents;
mod error;
mod kube;

pub(super) use calls::Cluster;
#[cfg(test)]
pub(crate) use calls::Named;
pub(super) use connection::KubeCluster;
pub(super) use contents::SecretContents;
pub(super) use error::ClusterError;
