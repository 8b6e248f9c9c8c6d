//! Room for what is kept of a namespace's Secrets.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use super::*;

/// Returns a Secret written for the owner with this UID, with as much metadata as is kept.
pub(super) fn heavy(namespace: &str, name: &str, version: &str, uid: &str) -> ObjectMeta {
    let owner = OwnerReference {
        name: "n".repeat(253),
        uid: "u".repeat(300),
        ..OwnerReference::default()
    };
    ObjectMeta {
        namespace: Some(namespace.to_owned()),
        owner_references: Some(vec![owner; 16]),
        ..secret(name, version, Some(("payroll", uid)))
    }
}

/// Returns heavy Secrets that use up the room of a namespace.
pub(super) fn fillers(namespace: &str) -> Vec<ObjectMeta> {
    // Short names, so that where none of them fits, nothing else does.
    let fillers = 0..5000;
    fillers
        .map(|n| heavy(namespace, &n.to_string(), "5", "u0"))
        .collect()
}

/// Regression: the version that there was no room for was ignored for ever after.
#[test]
fn a_target_that_there_was_no_room_for_is_kept_once_there_is() {
    let mut index = Index::default();
    index.app_applied(&app("payroll", "u1", 1, "token"));
    for filler in fillers("hr") {
        index.secret_applied(filler);
    }
    let target = || heavy("hr", "token", "7", "u1");
    let read = |index: &mut Index| {
        let asked = index.asks("hr", "token");
        index.secret_answered(target(), &asked).len()
    };
    let has_no_room = |index: &Index| {
        let target = index
            .present(&("hr".into(), "token".into()))
            .expect("known");
        assert_eq!(target.is_past_bounds(), target.has_no_room());
        target.has_no_room()
    };
    assert_eq!(index.secret_applied(target()).len(), 1);
    assert!(has_no_room(&index));
    assert_eq!(read(&mut index), 0, "nothing is new");
    assert!(has_no_room(&index));
    for filler in fillers("hr") {
        index.secret_deleted(&filler);
    }
    assert!(has_no_room(&index), "it has not been seen again");
    assert_eq!(read(&mut index), 1);
    assert!(!has_no_room(&index));
    assert_eq!(read(&mut index), 0, "nothing is new");
    index.secret_deleted(&target());
    assert!(index.budgets.is_empty(), "{:?}", index.budgets);
}
