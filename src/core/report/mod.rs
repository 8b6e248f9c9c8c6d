//! What is said of an app: conditions, events, and what stands in the way.

pub(in crate::core) mod conditions;
pub(in crate::core) mod events;
pub(in crate::core) mod problem;
pub(in crate::core) mod refusal;
