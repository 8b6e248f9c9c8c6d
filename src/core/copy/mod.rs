//! Copies of an app's tokens in another namespace: whether they are allowed, and what they hold.

mod former;
mod granted;
mod look;
mod next;
mod status;
mod step;
mod told;
mod view;
mod whose;
mod write;

pub(crate) use granted::granted_namespaces;
pub(crate) use next::{CopyStep, ReferenceStep};
pub(crate) use status::{
    light_status, reference_notice, reference_status, write_reference_status_at,
};
pub(crate) use step::reference_step;
pub(crate) use told::Told;
pub(crate) use view::{CopySeen, Grant, ReferenceMemory, ReferenceView};
pub(crate) use write::copy_now;
#[cfg(test)]
pub(crate) use write::copy_write;
