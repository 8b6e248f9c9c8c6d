//! What stands in the store for objects that are not served: names and versions, and nothing heavy.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;

use super::decoded::Unsupported;
use crate::api::{
    AppReference, CredentialsSecretRef, DingTalkApp, DingTalkAppSpec, DingTalkTokenReference,
    DingTalkTokenReferenceSpec, ReferenceTarget, Target,
};
use crate::plan::ObjectVersion;

/// An object that a stub can stand in for.
pub trait Stub: Sized {
    /// Whether it is a stub.
    fn is_stub(&self) -> bool;
    /// Takes away what is heavy.
    fn strip(&mut self);
    /// A stub with this metadata.
    fn stub(metadata: ObjectMeta) -> Self;
    /// A stub of one that cannot be decoded.
    fn of_unsupported(unsupported: Unsupported) -> Self;
}

/// Whether `known` is a stub of `object` that waits for it. A newer one waits for a newer state, which may
/// be one that cannot be decoded.
pub fn awaits<K: Stub + Resource>(known: &K, object: &K) -> bool {
    let (known_as, read) = (
        ObjectVersion::of(known.meta()),
        ObjectVersion::of(object.meta()),
    );
    known.is_stub() && known_as.uid == read.uid && !known_as.is_newer_than(&read)
}

impl Stub for DingTalkApp {
    /// The schema allows no empty `corpIds`.
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

    fn of_unsupported(unsupported: Unsupported) -> Self {
        let mut stub = Self::stub(unsupported.metadata);
        stub.status.get_or_insert_default().conditions = unsupported.conditions;
        stub
    }
}

impl Stub for DingTalkTokenReference {
    /// The schema allows no empty name.
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

    fn of_unsupported(unsupported: Unsupported) -> Self {
        let mut stub = Self::stub(unsupported.metadata);
        stub.status.get_or_insert_default().conditions = unsupported.conditions;
        stub
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stub_waits_for_its_own_object_in_its_own_state_or_a_later_one() {
        let stub = |uid: &str, version: &str| {
            DingTalkApp::stub(ObjectMeta {
                uid: Some(uid.to_owned()),
                resource_version: Some(version.to_owned()),
                ..ObjectMeta::default()
            })
        };
        let known = stub("u1", "10");
        for (read, is_awaited) in [
            (stub("u1", "10"), true),
            (stub("u1", "11"), true),
            (stub("u1", "9"), false),
            (stub("u2", "11"), false),
        ] {
            assert_eq!(awaits(&known, &read), is_awaited, "{:?}", read.metadata);
        }
        let mut served = known.clone();
        served.spec.corp_ids = vec!["ding1".to_owned()];
        assert!(!awaits(&served, &known));
    }
}
