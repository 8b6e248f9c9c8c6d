//! What is reported about an app: conditions, events and problems.

pub(in crate::core) mod at_rest;
pub(in crate::core) mod conditions;
pub(in crate::core) mod events;
pub(in crate::core) mod problem;
pub(in crate::core) mod refusal;
