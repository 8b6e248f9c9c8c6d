//! Objects that were read again because they are served again, on their way into the store.

use kube::Resource;

use crate::core::ObjectVersion;
use crate::core::Stub;

/// What to do with an object that was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Restored {
    /// It replaces its stub.
    Taken,
    /// The watch has delivered a newer state, which is reconciled instead.
    Overtaken,
    /// The stub is newer, and possibly undecodable, or belongs to another object. If the object is
    /// still to be served it is read again, but after a delay, because the watch may lag.
    Stale,
    /// It is gone.
    Gone,
}

/// Compares an object that was read with the one in the store.
pub(super) fn restored<K: Stub + Resource>(known: Option<&K>, read: &K) -> Restored {
    let Some(known) = known else {
        return Restored::Gone;
    };
    if !known.is_stub() {
        return Restored::Overtaken;
    }
    let (known, read) = (
        ObjectVersion::of(known.meta()),
        ObjectVersion::of(read.meta()),
    );
    match known.uid == read.uid && !known.is_newer_than(&read) {
        true => Restored::Taken,
        false => Restored::Stale,
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

    use super::*;
    use crate::api::DingTalkApp;

    #[test]
    fn a_stub_gives_way_to_its_own_object_in_its_own_state_or_a_later_one() {
        let stub = |uid: &str, version: &str| {
            DingTalkApp::stub(ObjectMeta {
                uid: Some(uid.to_owned()),
                resource_version: Some(version.to_owned()),
                ..ObjectMeta::default()
            })
        };
        let known = stub("u1", "10");
        for (read, expected) in [
            (stub("u1", "10"), Restored::Taken),
            (stub("u1", "11"), Restored::Taken),
            (stub("u1", "9"), Restored::Stale),
            (stub("u2", "11"), Restored::Stale),
        ] {
            let found = restored(Some(&known), &read);
            assert_eq!(found, expected, "{:?}", read.metadata);
        }
        let mut served = known.clone();
        served.spec.corp_ids = vec!["ding1".to_owned()];
        assert_eq!(restored(Some(&served), &known), Restored::Overtaken);
        assert_eq!(restored(None, &known), Restored::Gone);
    }
}
