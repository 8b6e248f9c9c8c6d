//! What is seen of a reference, and what can be decided of it.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::api::{DingTalkTokenReference, DingTalkTokenReferenceStatus};
use crate::core::app::looks::Looks;
use crate::core::secret::target::TargetMeta;
use crate::core::secret::writing::Writing;

/// What is seen of one copy.
pub(crate) struct CopySeen<'a> {
    /// Its name.
    pub name: String,
    /// The name of the app's Secret.
    pub source_name: String,
    /// The app's Secret, if it is there.
    pub source: Option<&'a TargetMeta>,
    /// The Secret under the copy's name, if one is there.
    pub present: Option<&'a TargetMeta>,
}

/// Whether the app allows a reference's namespace the copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Grant {
    /// There is no app of that name.
    NoApp,
    /// It does not name the namespace.
    Absent,
    /// It names the namespace, whose UID has to be read.
    Unread,
    /// The app's status does not say yet to which namespace of that name the grant was given.
    Unrecorded,
    /// It was given to a former namespace of that name.
    Former,
    /// It was given to this namespace.
    Given,
}

/// What is seen for a reference.
pub(crate) struct ReferenceView<'a> {
    /// The reference.
    pub reference: &'a DingTalkTokenReference,
    /// Whether the app allows the copies.
    pub grant: Grant,
    /// The copies that there are to be; `None` if the app is not there or does not grant them.
    pub copies: Option<Vec<CopySeen<'a>>>,
    /// What the keys of the copies' labels and annotations may begin with.
    pub metadata_prefixes: &'a [String],
    /// Secrets that were written for this reference and are no longer copies, by name.
    pub former: BTreeMap<&'a str, &'a TargetMeta>,
}

/// What the operator remembers of a reference.
#[derive(Debug, Default)]
pub(crate) struct ReferenceMemory {
    /// The reference's UID.
    pub uid: String,
    /// The status that was written last, and the version of the reference since then.
    pub status: Option<(DingTalkTokenReferenceStatus, Option<String>)>,
    looks: Looks,
    pub(super) writings: BTreeMap<String, Writing>,
    pub(super) sources: BTreeMap<String, Writing>,
}

impl ReferenceMemory {
    /// Of the reference with this UID.
    pub(crate) fn new(uid: &str) -> Self {
        Self {
            uid: uid.to_owned(),
            ..Self::default()
        }
    }

    /// Until when a look at the reference waits, if it does: see [`Looks::begin`].
    pub(crate) fn begin_look(
        &mut self,
        generation: Option<i64>,
        now: Timestamp,
    ) -> Option<Timestamp> {
        self.looks.begin(self.writings.len(), generation, now)
    }

    /// What is remembered of a copy.
    pub(crate) fn writing(&mut self, name: &str) -> &mut Writing {
        self.writings.entry(name.to_owned()).or_default()
    }

    /// The API server answers again: see [`Writing::retry_unanswered`].
    pub(crate) fn retry_unanswered(&mut self, now: Timestamp) -> bool {
        let copies = self.writings.values_mut();
        copies.fold(false, |any, writing| writing.retry_unanswered(now) | any)
    }

    /// Records whether an app's Secret that was read holds what its metadata says.
    pub(crate) fn source_read(&mut self, name: &str, source: &TargetMeta, is_genuine: bool) {
        let read = self.sources.entry(name.to_owned()).or_default();
        read.read(source, is_genuine);
    }
}
