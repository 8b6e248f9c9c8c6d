//! Views of references.

use std::collections::{BTreeMap, HashSet};

use super::Index;
use super::app::App;
use super::reference::{Reference, grant};
use crate::api::{DingTalkTokenReference, Layout, reference_ref};
use crate::core::copy::{CopySeen, Grant, ReferenceView};
use crate::core::secret::desired::per_corp_name;
use crate::core::secret::target::TargetMeta;

impl Index {
    /// Returns the view of a reference; `None` if it is gone or a newer state of it is known.
    pub(crate) fn reference_view<'a>(
        &'a self,
        reference: &'a DingTalkTokenReference,
    ) -> Option<ReferenceView<'a>> {
        let key = reference_ref(reference);
        let uid = reference.metadata.uid.as_deref().unwrap_or_default();
        let entry = self.references.get(&key).filter(|entry| {
            entry.uid == uid && entry.metadata.generation == reference.metadata.generation
        })?;
        let is_stub = |app: &App| app.corp_ids.is_empty();
        if self.admission.refusal(&entry.app).is_some()
            || self.apps.get(&entry.app).is_some_and(is_stub)
        {
            // The grants of an app are not kept while it is not served, nor known again until it
            // has been read again; until then its copies stay.
            return Some(ReferenceView {
                reference,
                grant: Grant::Given,
                copies: Some(Vec::new()),
                metadata_prefixes: &[],
                former: BTreeMap::new(),
            });
        }
        let namespace = key.namespace.clone().unwrap_or_default();
        let app = self.apps.get(&entry.app);
        let grant = grant(app, &namespace, entry.namespace_uid.as_deref());
        let granted = app.filter(|_| grant == Grant::Given);
        let copies = granted.map(|app| self.copies_seen(entry, app, &namespace));
        Some(ReferenceView {
            reference,
            grant,
            former: self.former_copies(uid, &namespace, copies.as_deref()),
            copies,
            metadata_prefixes: &[],
        })
    }

    fn copies_seen<'a>(
        &'a self,
        reference: &'a Reference,
        app: &'a App,
        namespace: &str,
    ) -> Vec<CopySeen<'a>> {
        let seen = |(source_name, name): (String, String)| {
            let source = self
                .secret(&reference.app, &source_name)
                .filter(|source| source.owner_uid() == Some(&app.uid));
            let present = self.secret_in(namespace, &name);
            CopySeen {
                name,
                source_name,
                source,
                present,
            }
        };
        names(reference, app).into_iter().map(seen).collect()
    }

    /// Returns the Secrets that were written for the reference with this UID and are not among its
    /// copies.
    fn former_copies(
        &self,
        uid: &str,
        namespace: &str,
        copies: Option<&[CopySeen<'_>]>,
    ) -> BTreeMap<&str, &TargetMeta> {
        let copies = copies.into_iter().flatten();
        let wanted: HashSet<&str> = copies.map(|copy| copy.name.as_str()).collect();
        let owned = self.owned.get(uid).into_iter().flatten();
        owned
            .filter(|(owned_in, name)| owned_in == namespace && !wanted.contains(name.as_str()))
            .filter_map(|(namespace, name)| Some((name.as_str(), self.secret_in(namespace, name)?)))
            .collect()
    }
}

/// Returns the names of an app's Secrets, each with that of its copy.
fn names(reference: &Reference, app: &App) -> Vec<(String, String)> {
    let of_corp = |corp_id: &String| {
        let source = per_corp_name(&app.target, corp_id);
        (source, per_corp_name(&reference.target, corp_id))
    };
    match app.layout {
        Layout::Single | Layout::Combined => vec![(app.target.clone(), reference.target.clone())],
        Layout::PerCorp => app.corp_ids.iter().map(of_corp).collect(),
    }
}
