//! One Secret: what it should hold, whose it is, what it records, and when it is written.

pub(in crate::core) mod assembly;
pub(in crate::core) mod data;
pub(in crate::core) mod desired;
pub(in crate::core) mod former;
pub(in crate::core) mod listed;
pub(in crate::core) mod managed;
pub(in crate::core) mod marks;
pub(in crate::core) mod metadata;
pub(in crate::core) mod news;
pub(in crate::core) mod owner;
pub(in crate::core) mod ownership;
pub(in crate::core) mod recorded;
pub(in crate::core) mod shape;
pub(in crate::core) mod state;
pub(in crate::core) mod target;
pub(in crate::core) mod templates;
pub(in crate::core) mod write;
pub(in crate::core) mod writing;
