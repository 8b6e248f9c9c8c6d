//! What can be decided of a reference.

use jiff::Timestamp;

use super::told::Told;
use crate::core::app::view::Wake;
use crate::core::secret::write::Deletion;
use crate::core::token::record::ObjectVersion;

/// What to do next for a reference.
pub(crate) enum ReferenceStep {
    /// Read the UID of the reference's namespace.
    ReadNamespace,
    /// Act on some copies, each at most once: at most [`TARGET_STEPS_MAX`], at least one.
    Copies(Vec<CopyStep>),
    /// Nothing more for now: report, and look again at a time.
    Settle {
        /// What is said of the copies.
        told: Told,
        /// When the first token expires.
        expires_at: Option<Timestamp>,
        /// When to look again.
        wake_at: Option<Timestamp>,
    },
}

impl ReferenceStep {
    pub(super) fn settle(told: Told, expires_at: Option<Timestamp>, wake: Wake) -> Self {
        Self::Settle {
            told,
            expires_at,
            wake_at: wake.0,
        }
    }
}

/// What is done about one copy.
pub(crate) enum CopyStep {
    /// Read the app's Secret to see whether it holds what its metadata says.
    ReadSource {
        /// Its name.
        name: String,
    },
    /// Read the app's Secret and write the copy.
    Write {
        /// The copy's name.
        name: String,
        /// The name of the app's Secret.
        source_name: String,
    },
    /// Delete a Secret.
    Delete {
        /// Its name.
        name: String,
        /// In which state.
        version: ObjectVersion,
        /// Why.
        why: Deletion,
    },
}
