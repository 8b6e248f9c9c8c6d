//! Objects that calls have read, while the watches went on.

use super::Index;
use crate::api::{
    AppRef, DingTalkApp, DingTalkTokenReference, ReferenceRef, app_ref, reference_ref,
};
use crate::core::token::record::ObjectVersion;

impl Index {
    /// Records an app that a call has read, unless the watch has reported a newer version or its
    /// deletion since.
    pub(crate) fn app_read(&mut self, app: &DingTalkApp) -> Vec<AppRef> {
        let read = ObjectVersion::of(&app.metadata);
        let known = self.apps.get(&app_ref(app)).map(|app| &app.version);
        match known.is_some_and(|known| known.uid == read.uid && !known.is_newer_than(&read)) {
            true => self.app_applied(app),
            false => Vec::new(),
        }
    }

    /// Records a reference that a call has read, unless the watch has reported a newer version or
    /// its deletion since.
    pub(crate) fn reference_read(
        &mut self,
        reference: &DingTalkTokenReference,
    ) -> Vec<ReferenceRef> {
        let key = reference_ref(reference);
        let read = ObjectVersion::of(&reference.metadata);
        let known = self.references.get(&key);
        let known = known.map(|known| ObjectVersion::of(&known.metadata));
        let is_overtaken = known.is_some_and(|known| known.is_newer_than(&read));
        match self.reference_admission.uid(&key) == Some(&read.uid) && !is_overtaken {
            true => self.reference_applied(reference),
            false => Vec::new(),
        }
    }
}
