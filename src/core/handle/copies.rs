//! What is remembered of references, and what is decided of them.

use jiff::Timestamp;
use kube::ResourceExt;

use super::Core;
use crate::api::{DingTalkTokenReference, ReferenceRef, reference_ref};
use crate::core::copy::{ReferenceMemory, ReferenceView};

impl Core {
    /// Remembers a reference from now on; one that was recreated is another one.
    pub(crate) fn remember_reference(&mut self, reference: &DingTalkTokenReference) {
        let uid = reference.uid().unwrap_or_default();
        let memory = self.references.entry(reference_ref(reference));
        let memory = memory.or_insert_with(|| ReferenceMemory::new(&uid));
        if memory.uid != uid {
            *memory = ReferenceMemory::new(&uid);
        }
    }

    /// What is remembered of the reference with this UID; `None` if it is gone.
    pub(crate) fn reference_of(
        &mut self,
        key: &ReferenceRef,
        uid: &str,
    ) -> Option<&mut ReferenceMemory> {
        let memory = self.references.get_mut(key);
        memory.filter(|memory| memory.uid == uid)
    }

    /// Forgets a reference.
    pub(crate) fn forget_reference(&mut self, key: &ReferenceRef) {
        self.references.remove(key);
    }

    /// Decides for a reference by what is known now; `None` if it is gone, or there is a newer state of
    /// it.
    pub(crate) fn decide_copies<T>(
        &mut self,
        reference: &DingTalkTokenReference,
        metadata_prefixes: &[String],
        decide: impl FnOnce(&ReferenceView<'_>, &mut ReferenceMemory) -> T,
    ) -> Option<T> {
        let mut view = self.index.reference_view(reference)?;
        view.metadata_prefixes = metadata_prefixes;
        let memory = self.references.get_mut(&reference_ref(reference))?;
        Some(decide(&view, memory))
    }

    /// Until when a look at a reference waits, if it does.
    pub(crate) fn copies_wait_until(
        &mut self,
        reference: &DingTalkTokenReference,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let memory = self.references.get_mut(&reference_ref(reference))?;
        memory.begin_look(reference.metadata.generation, now)
    }
}
