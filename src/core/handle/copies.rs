//! Memories of references, and decisions for them.

use jiff::Timestamp;
use kube::ResourceExt;

use super::Core;
use crate::api::{DingTalkTokenReference, ReferenceRef, reference_ref};
use crate::core::copy::{ReferenceMemory, ReferenceView};

impl Core {
    /// Creates the memory of a reference, unless there is one; a recreated reference is another
    /// one.
    pub(crate) fn remember_reference(&mut self, reference: &DingTalkTokenReference) {
        let uid = reference.uid().unwrap_or_default();
        let memory = self.references.entry(reference_ref(reference));
        let memory = memory.or_insert_with(|| ReferenceMemory::new(&uid));
        if memory.uid != uid {
            *memory = ReferenceMemory::new(&uid);
        }
    }

    /// Returns the memory of the reference with this UID; `None` if it is gone.
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

    /// Makes a decision for a reference; `None` if it is gone or a newer state of it is known.
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

    /// Returns until when a look at a reference must wait, if at all.
    pub(crate) fn copies_wait_until(
        &mut self,
        reference: &DingTalkTokenReference,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let memory = self.references.get_mut(&reference_ref(reference))?;
        memory.begin_look(reference.metadata.generation, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::index::NamespaceLimits;

    #[test]
    fn a_recreated_reference_is_another_one() {
        let reference = |uid: &str| -> DingTalkTokenReference {
            serde_json::from_value(serde_json::json!({
                "apiVersion": "dingtalk-token-operator.github.io/v1alpha1", "kind": "DingTalkTokenReference",
                "metadata": {"name": "copy", "namespace": "web", "uid": uid},
                "spec": {"appRef": {"namespace": "hr", "name": "payroll"}},
            }))
            .expect("a reference")
        };
        let key = reference_ref(&reference("r1"));
        let mut core = Core::new(NamespaceLimits::default());
        let is_contested = |core: &mut Core, uid: &str| {
            let memory = core.reference_of(&key, uid);
            memory.map(|memory| memory.writing("copy").contested)
        };
        core.remember_reference(&reference("r1"));
        let memory = core.reference_of(&key, "r1").expect("it is known");
        memory.writing("copy").contested = true;
        core.remember_reference(&reference("r1"));
        assert_eq!(is_contested(&mut core, "r1"), Some(true));
        core.remember_reference(&reference("r2"));
        assert_eq!(is_contested(&mut core, "r1"), None);
        assert_eq!(is_contested(&mut core, "r2"), Some(false));
        core.forget_reference(&key);
        assert_eq!(is_contested(&mut core, "r2"), None);
    }
}
