//! The calls to the API server: each named, each with a time-out, none that lists or polls.

mod calls;
mod contents;
mod error;
mod kube;
mod programs;

pub use calls::Cluster;
#[cfg(test)]
pub use calls::Named;
pub use contents::SecretContents;
pub use error::ClusterError;
pub use kube::KubeCluster;
#[cfg(test)]
pub use programs::Programs;
