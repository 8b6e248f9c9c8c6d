//! What is remembered of an object, while several look at it.

use std::sync::{Arc, Mutex};

use crate::plan::{Memory, ReferenceMemory};

/// Of an app.
pub type Remembered = Arc<Mutex<Memory>>;
/// Of a reference.
pub type RememberedReference = Arc<Mutex<ReferenceMemory>>;
