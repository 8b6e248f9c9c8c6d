//! Objects that are no longer served, until their stores know it.

use serde_json::json;

use super::references::reference;
use super::*;
use crate::api::{DingTalkTokenReference, reference_ref};

/// Returns an app of this age with this many corps.
fn of(namespace: &str, name: &str, created: i64, corps: usize) -> DingTalkApp {
    let mut app = app(name, name, created, &format!("{name}-token"));
    app.metadata.namespace = Some(namespace.to_owned());
    app.spec.corp_ids = (0..corps).map(|n| format!("ding{n}")).collect();
    app
}

/// Returns an index with room for two corps, and with an older and a younger app in a namespace and
/// one in another.
fn with_apps() -> Index {
    let mut index = Index::new(NamespaceLimits {
        corps: 2,
        ..NamespaceLimits::default()
    });
    for app in [
        of("a", "older", 1, 1),
        of("a", "younger", 2, 1),
        of("b", "other", 3, 1),
    ] {
        assert_eq!(index.app_applied(&app), []);
    }
    index
}

fn refused(index: &mut Index, scope: Option<&str>) -> Vec<AppRef> {
    let stubs = index.newly_refused(scope);
    assert!(stubs.iter().all(Stub::is_stub));
    stubs.iter().map(app_ref).collect()
}

/// Regression: the store of the scope that had the next event got the stub, and the app's own store
/// kept the whole app.
#[test]
fn an_app_that_is_refused_becomes_a_stub_in_the_store_of_its_own_scope() {
    let younger = AppRef::new("younger").within("a");
    let mut index = with_apps();
    // A call reads that it has grown.
    let moved = index.app_read(&of("a", "older", 1, 2));
    assert_eq!(moved, std::slice::from_ref(&younger));
    index.app_applied(&of("b", "other", 3, 1));
    assert_eq!(refused(&mut index, Some("b")), []);
    assert_eq!(
        refused(&mut index, Some("a")),
        std::slice::from_ref(&younger)
    );
    assert_eq!(refused(&mut index, Some("a")), [], "once");
    let mut index = with_apps();
    index.app_read(&of("a", "older", 1, 2));
    assert_eq!(refused(&mut index, None), [younger]);
}

#[test]
fn an_app_that_a_call_finds_to_be_refused_is_a_stub_already() {
    let mut index = with_apps();
    let younger = of("a", "younger", 2, 2);
    assert_eq!(index.app_read(&younger), []);
    assert!(index.admission.refusal(&app_ref(&younger)).is_some());
    assert_eq!(refused(&mut index, None), []);
}

/// Regression: the store kept an app whole that was served again before it knew of the refusal, so
/// that nothing read the app's Secrets, which had not been followed meanwhile.
#[test]
fn an_app_that_is_served_again_at_once_needs_its_stub_and_one_that_is_gone_does_not() {
    let younger = AppRef::new("younger").within("a");
    let mut index = with_apps();
    index.app_read(&of("a", "older", 1, 2));
    let moved = index.app_applied(&of("a", "older", 1, 1));
    assert_eq!(moved, std::slice::from_ref(&younger));
    assert_eq!(
        refused(&mut index, Some("a")),
        std::slice::from_ref(&younger)
    );
    let mut index = with_apps();
    index.app_read(&of("a", "older", 1, 2));
    index.app_deleted(&younger);
    assert_eq!(refused(&mut index, Some("a")), []);
}

/// Regression: as with apps.
#[test]
fn a_reference_that_is_refused_becomes_a_stub_in_the_store_of_its_own_scope() {
    let of = |namespace: &str, name: &str, created: i64, size: usize| {
        let created = Timestamp::from_second(created).expect("a time");
        let metadata = json!({"name": name, "uid": name, "creationTimestamp": created});
        let target = json!({"name": name, "labels": {"a": "x".repeat(size)}});
        let mut reference = reference(&metadata, &target);
        reference.metadata.namespace = Some(namespace.to_owned());
        reference
    };
    let half = admission::SPECS_MAX / 2;
    let younger = of("a", "younger", 2, half);
    let with_references = || {
        let mut index = Index::default();
        for reference in [&of("a", "older", 1, 1), &younger, &of("b", "other", 3, 1)] {
            assert_eq!(index.reference_applied(reference), []);
        }
        let moved = index.reference_read(&of("a", "older", 1, half));
        assert_eq!(moved, [reference_ref(&younger)]);
        index
    };
    let mut index = with_references();
    index.reference_applied(&of("b", "other", 3, 1));
    let refused = |index: &mut Index, scope: &str| -> Vec<ReferenceRef> {
        let stubs: Vec<DingTalkTokenReference> = index.newly_refused_references(Some(scope));
        assert!(stubs.iter().all(Stub::is_stub));
        let ages = stubs.iter().map(|stub| &stub.metadata.creation_timestamp);
        assert!(ages.into_iter().all(Option::is_some), "it keeps its turn");
        stubs.iter().map(reference_ref).collect()
    };
    assert_eq!(refused(&mut index, "b"), []);
    assert_eq!(refused(&mut index, "a"), [reference_ref(&younger)]);
    assert_eq!(refused(&mut index, "a"), [], "once");
    let mut index = with_references();
    index.reference_deleted(&reference_ref(&younger));
    assert_eq!(refused(&mut index, "a"), [], "it is gone");
}

#[test]
fn of_a_reference_that_is_refused_neither_spec_nor_names_are_kept() {
    let mut reference = reference(&json!({}), &json!({"name": "copied"}));
    reference.status.get_or_insert_default().secret_names = vec!["copied".to_owned()];
    assert!(!reference.is_stub());
    reference.strip();
    assert!(reference.is_stub());
    assert_eq!(reference.spec.target.name, None);
    let names = reference.status.map(|status| status.secret_names);
    assert_eq!(names, Some(Vec::new()));
}
