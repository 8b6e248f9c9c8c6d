//! The `DingTalkApp` resource: what users write and what the operator reports.

mod names;
mod spec;
mod status;

pub use names::*;
pub use spec::*;
pub use status::*;
