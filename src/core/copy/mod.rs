//! Copies of an app's tokens in another namespace: whether there is to be one, and what it says.

mod former;
mod granted;
mod look;
mod next;
mod status;
mod step;
mod told;
mod view;
mod write;

pub use granted::granted_namespaces;
pub use next::{CopyStep, ReferenceStep};
pub use status::{reference_notice, reference_status};
pub use step::reference_step;
pub use told::Told;
pub use view::{CopySeen, Grant, ReferenceMemory, ReferenceView};
pub use write::copy_now;
#[cfg(test)]
pub use write::copy_write;
