//! Copies of an app's Secrets in other namespaces.

pub(in crate::core) mod reference;
