//! One app: which tokens it wants in which Secrets, and what to do next.

pub(in crate::core) mod corp;
mod decision;
pub(in crate::core) mod fetch;
mod look;
pub(in crate::core) mod looks;
pub(in crate::core) mod memory;
pub(in crate::core) mod notice;
mod place;
pub(in crate::core) mod refresh;
pub(in crate::core) mod refusals;
pub(in crate::core) mod restart;
pub(in crate::core) mod step;
pub(in crate::core) mod take;
pub(in crate::core) mod view;
pub(in crate::core) mod written_status;
