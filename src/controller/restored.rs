//! Objects that were read anew because they are served again, on their way into the store.

use kube::Resource;

use crate::core::ObjectVersion;
use crate::core::Stub;

/// What becomes of an object that was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Restored {
    /// It takes the place of its stub.
    Taken,
    /// A newer state of it came by itself: that is reconciled.
    Overtaken,
    /// Its stub is of a newer state, which may be one that cannot be decoded, or of another object: it is
    /// read again, if that is still to be, but not at once, since the watch may be behind.
    Stale,
    /// It is gone.
    Gone,
}

/// Compares it with what the store has.
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
