//! Stubs that replace objects in the store while they are not served: names and versions, and
//! nothing heavy.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use kube::Resource;
use kube::runtime::reflector::ObjectRef;

use super::listing::in_scope;
use crate::api::{
    AppReference, CredentialsSecretRef, DingTalkApp, DingTalkAppSpec, DingTalkTokenReference,
    DingTalkTokenReferenceSpec, ReferenceTarget, Target,
};

/// An object that has a stub.
pub(crate) trait Stub: Sized {
    /// Whether it is a stub.
    fn is_stub(&self) -> bool;
    /// Drops what is heavy and not needed of a stub.
    fn strip(&mut self);
    /// Creates a stub with this metadata.
    fn stub(metadata: ObjectMeta) -> Self;
    /// Creates a stub of an object that cannot be decoded.
    fn of_unsupported(metadata: ObjectMeta, conditions: Vec<Condition>) -> Self;
}

/// Stubs of objects that are no longer served, on their way into the stores. Each scope has a store
/// of its own.
pub(super) struct Stubs<K>(Vec<K>);

impl<K> Default for Stubs<K> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K: Resource<DynamicType = ()>> Stubs<K> {
    pub fn add(&mut self, stub: K) {
        self.0.push(stub);
    }

    /// Forgets the stub of an object that is gone.
    pub fn forget(&mut self, key: &ObjectRef<K>) {
        self.0.retain(|stub| ObjectRef::from_obj(stub) != *key);
    }

    /// Takes the stubs for the store of `scope`.
    pub fn take(&mut self, scope: Option<&str>) -> Vec<K> {
        let is_for_it = |stub: &mut K| in_scope(scope, stub.meta().namespace.as_deref());
        self.0.extract_if(.., is_for_it).collect()
    }
}

impl Stub for DingTalkApp {
    /// The schema forbids empty `corpIds`.
    fn is_stub(&self) -> bool {
        self.spec.corp_ids.is_empty()
    }

    fn strip(&mut self) {
        self.spec.corp_ids = Vec::new();
        self.spec.target = Target::default();
        self.spec.reference_grants = Vec::new();
        self.spec.rollout_restart_targets = Vec::new();
        if let Some(status) = &mut self.status {
            status.corps = Vec::new();
        }
    }

    fn stub(metadata: ObjectMeta) -> Self {
        let credentials_secret_ref = CredentialsSecretRef {
            name: String::new(),
            client_id_key: String::new(),
            client_secret_key: String::new(),
        };
        let spec = DingTalkAppSpec {
            credentials_secret_ref,
            corp_ids: Vec::new(),
            site: String::new(),
            target: Target::default(),
            renew_before: None,
            reference_grants: Vec::new(),
            rollout_restart_targets: Vec::new(),
            suspend: false,
        };
        Self {
            metadata,
            spec,
            status: None,
        }
    }

    fn of_unsupported(metadata: ObjectMeta, conditions: Vec<Condition>) -> Self {
        let mut stub = Self::stub(metadata);
        stub.status.get_or_insert_default().conditions = conditions;
        stub
    }
}

impl Stub for DingTalkTokenReference {
    /// The schema forbids an empty name.
    fn is_stub(&self) -> bool {
        self.spec.app_ref.name.is_empty()
    }

    fn strip(&mut self) {
        self.spec = Self::stub(ObjectMeta::default()).spec;
        if let Some(status) = &mut self.status {
            status.secret_names = Vec::new();
        }
    }

    fn stub(metadata: ObjectMeta) -> Self {
        let app_ref = AppReference {
            namespace: String::new(),
            name: String::new(),
        };
        let spec = DingTalkTokenReferenceSpec {
            app_ref,
            target: ReferenceTarget::default(),
        };
        Self {
            metadata,
            spec,
            status: None,
        }
    }

    fn of_unsupported(metadata: ObjectMeta, conditions: Vec<Condition>) -> Self {
        let mut stub = Self::stub(metadata);
        stub.status.get_or_insert_default().conditions = conditions;
        stub
    }
}
