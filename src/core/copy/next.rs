//! What can be decided for a reference.

use jiff::Timestamp;

use super::told::Told;
use crate::core::app::view::Wake;
use crate::core::secret::write::Deletion;
use crate::core::token::record::ObjectVersion;

/// What to do next for a reference.
pub(crate) enum ReferenceStep {
    /// Read the UID of the reference's namespace.
    ReadNamespace,
    /// Act on some copies, each at most once: from one up to [`TARGET_STEPS_MAX`].
    Copies(Vec<CopyStep>),
    /// Nothing more for now: report, and look again later.
    Settle {
        told: Told,
        /// When the first token expires.
        expires_at: Option<Timestamp>,
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

/// What to do about one copy.
pub(crate) enum CopyStep {
    /// Read the app's Secret of this name to check whether it holds what its metadata records.
    ReadSource { name: String },
    /// Read a copy's metadata, for which there may be room now.
    Look { name: String },
    /// Read the app's Secret and write the copy of it.
    Write { name: String, source_name: String },
    Delete {
        name: String,
        version: ObjectVersion,
        why: Deletion,
    },
}
