//! What the index keeps of an app.

#[cfg(test)]
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

use super::admission::Age;
use super::stub::Stub;
use crate::api::{AppRef, CredentialsSecretRef, DingTalkApp, Layout};
use crate::core::secret::desired::wanted;
use crate::core::token::record::ObjectVersion;
use crate::core::token::tokens::Seat;

#[cfg(test)]
thread_local! {
    /// How often a corp was compared with the one that was looked for.
    pub(super) static COMPARED: Cell<usize> = const { Cell::new(0) };
}

#[derive(Clone)]
pub(super) struct App {
    pub(super) version: ObjectVersion,
    pub(super) created: Option<Timestamp>,
    pub(super) credentials: CredentialsSecretRef,
    pub(super) target: String,
    pub(super) layout: Layout,
    pub(super) targets: BTreeSet<String>,
    pub(super) site: String,
    /// Sorted.
    pub(super) corp_ids: Vec<String>,
    pub(super) is_suspended: bool,
    pub(super) client_id: Option<String>,
    pub(super) grants: BTreeSet<String>,
    /// UIDs of the namespaces that the grants were given to, by name, as recorded in its status.
    pub(super) granted: BTreeMap<String, String>,
    pub(super) generation: Option<i64>,
}

impl App {
    pub(super) fn of(app: &DingTalkApp) -> Self {
        let grants = app.spec.reference_grants.iter();
        let grants: BTreeSet<_> = grants.map(|grant| grant.namespace.clone()).collect();
        let recorded = app.status.iter();
        let granted = recorded
            .flat_map(|status| &status.granted_namespaces)
            .filter(|granted| grants.contains(&granted.namespace))
            .map(|granted| (granted.namespace.clone(), granted.uid.clone()))
            .collect();
        let mut corp_ids = app.spec.corp_ids.clone();
        corp_ids.sort_unstable();
        Self {
            version: ObjectVersion::of(&app.metadata),
            created: app.metadata.creation_timestamp.as_ref().map(|time| time.0),
            credentials: app.spec.credentials_secret_ref.clone(),
            target: app.target_name(),
            layout: app.spec.target.layout,
            targets: wanted(app).into_iter().map(|target| target.name).collect(),
            site: app.spec.site.clone(),
            corp_ids,
            is_suspended: app.spec.suspend,
            client_id: None,
            grants,
            granted,
            generation: app.metadata.generation,
        }
    }

    /// Drops what is not kept of an app that is not served.
    pub(super) fn refused(self) -> Self {
        Self {
            targets: BTreeSet::new(),
            corp_ids: Vec::new(),
            client_id: None,
            grants: BTreeSet::new(),
            granted: BTreeMap::new(),
            ..self
        }
    }

    /// Returns the object that replaces the app in the store while it is not served.
    pub(super) fn stub(&self, key: &AppRef) -> DingTalkApp {
        DingTalkApp::stub(ObjectMeta {
            name: Some(key.name.clone()),
            namespace: key.namespace.clone(),
            uid: Some(self.version.uid.clone()),
            generation: self.generation,
            resource_version: Some(self.version.resource_version.clone()),
            creation_timestamp: self.created.map(Time),
            ..ObjectMeta::default()
        })
    }

    pub(super) fn uid(&self) -> &str {
        &self.version.uid
    }

    pub(super) fn age(&self) -> Age {
        let created = self.created.unwrap_or(Timestamp::MAX);
        (created, self.version.uid.clone())
    }

    pub(super) fn secrets(&self) -> impl Iterator<Item = &String> {
        std::iter::once(&self.credentials.name).chain(&self.targets)
    }

    pub(super) fn names_secret(&self, name: &str) -> bool {
        self.credentials.name == name || self.targets.contains(name)
    }

    /// Whether it has this corp. Each queued fetch of an app asks that after a change of its spec.
    pub(super) fn has_corp(&self, corp_id: &str) -> bool {
        let found = self.corp_ids.binary_search_by(|it| {
            #[cfg(test)]
            COMPARED.set(COMPARED.get() + 1);
            it.as_str().cmp(corp_id)
        });
        found.is_ok()
    }

    pub(super) fn seats(&self) -> impl Iterator<Item = Seat> {
        let client_id = self.client_id.as_ref();
        client_id.into_iter().flat_map(|client_id| {
            let seat = |corp_id: &String| (self.site.clone(), client_id.clone(), corp_id.clone());
            self.corp_ids.iter().map(seat)
        })
    }
}
