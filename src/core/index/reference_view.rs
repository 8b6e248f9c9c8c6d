//! Views of references.

use std::collections::{BTreeMap, HashSet};

use super::Index;
use super::app::App;
use super::names::Namespaced;
use super::reference::{Reference, copy_names, grant};
use crate::api::{DingTalkTokenReference, ReferenceRef, reference_ref};
use crate::core::copy::{CopySeen, Grant, ReferenceView};

impl Index {
    /// Returns the view of a reference; `None` if it is gone or a newer state of it is known.
    pub(crate) fn reference_view<'a>(
        &'a self,
        reference: &'a DingTalkTokenReference,
    ) -> Option<ReferenceView<'a>> {
        let key = reference_ref(reference);
        let uid = reference.metadata.uid.as_deref().unwrap_or_default();
        let entry = self.references.get(&key).filter(|entry| {
            let (known, metadata) = (&entry.metadata, &reference.metadata);
            known.uid == metadata.uid && known.generation == metadata.generation
        })?;
        let app = self.apps.get(&entry.app);
        let (grant, copies, former) = match app {
            // The grants of an app are not kept while it is not served, nor known again until it
            // has been read again; until then its copies stay.
            Some(app) if app.corp_ids.is_empty() => (Grant::Given, Vec::new(), BTreeMap::new()),
            _ => {
                let grant = grant(app, key.namespace(), entry.namespace_uid.as_deref());
                let granted = app.filter(|_| grant == Grant::Given);
                let copies = granted.map(|app| self.copies_seen(&key, entry, app));
                let copies = copies.unwrap_or_default();
                let wanted: HashSet<&str> = copies.iter().map(|copy| copy.name.as_str()).collect();
                let former = self.former(uid, key.namespace(), |name| wanted.contains(name));
                (grant, copies, former)
            }
        };
        Some(ReferenceView {
            reference,
            grant,
            copies,
            metadata_prefixes: &[],
            former,
        })
    }

    fn copies_seen<'a>(
        &'a self,
        key: &ReferenceRef,
        reference: &'a Reference,
        app: &'a App,
    ) -> Vec<CopySeen<'a>> {
        let seen = |(source_name, name): (String, String)| {
            let source = self
                .secret(&reference.app, &source_name)
                .filter(|source| source.owner_uid() == Some(app.uid()));
            let present = self.secret(key, &name);
            CopySeen {
                name,
                source_name,
                source,
                present,
            }
        };
        copy_names(reference, app).into_iter().map(seen).collect()
    }
}
