//! Manifests that are taken and refused, which the tests of `validate` use as well.

#[path = "../corpus/cases.rs"]
mod cases;
#[path = "../corpus/violations.rs"]
mod violations;

pub use cases::{Case, cases, full};
pub use violations::violations;
