//! The calls to the API server: each named, each with a time-out, none that lists or polls.

mod calls;
mod connection;
mod contents;
mod error;
mod kube;
mod programs;

pub use calls::Cluster;
#[cfg(test)]
pub use calls::Named;
pub use connection::KubeCluster;
pub use contents::SecretContents;
pub use error::ClusterError;
#[cfg(test)]
pub use programs::Programs;
