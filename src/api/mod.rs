//! The custom resources, their statuses, and the reasons used in conditions and events.

mod cause;
mod definitions;
mod names;
mod object_ref;
mod reason;
mod reference;
mod spec;
mod status;

pub use cause::Cause;
pub use definitions::definitions;
pub use names::*;
pub use object_ref::{AppRef, ReferenceRef, app_ref, full_name, reference_ref};
pub use reason::{Origin, Reason};
pub use reference::*;
pub use spec::*;
pub use status::*;
