use serde_json::json;

use super::*;
use crate::api::{DingTalkApp, DingTalkTokenReference, reference_ref};
use crate::core::index::NamespaceLimits;

fn secret(namespace: &str, name: &str, version: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.into()),
        namespace: Some(namespace.into()),
        uid: Some(format!("uid-{name}")),
        resource_version: Some(version.into()),
        ..ObjectMeta::default()
    }
}

/// Returns a reference to the app `payroll`, whose copy has its own name.
fn reference(name: &str) -> DingTalkTokenReference {
    serde_json::from_value(json!({
        "apiVersion": "dingtalk-token-operator.github.io/v1alpha1", "kind": "DingTalkTokenReference",
        "metadata": {"name": name, "namespace": "web", "uid": name},
        "spec": {"appRef": {"namespace": "hr", "name": "payroll"}, "target": {"name": name}},
    }))
    .expect("a reference")
}

/// Returns a core that knows an app with the target `token`, and two references to it.
fn with_two_references() -> Core {
    let app: DingTalkApp = serde_json::from_value(json!({
        "apiVersion": "dingtalk-token-operator.github.io/v1alpha1", "kind": "DingTalkApp",
        "metadata": {"name": "payroll", "namespace": "hr", "uid": "u1"},
        "spec": {"credentialsSecretRef": {"name": "credentials"}, "site": "global", "corpIds": ["ding1"],
            "target": {"name": "token"}},
    }))
    .expect("an app");
    let mut core = Core::new(NamespaceLimits::default());
    core.index.app_applied(&app);
    for name in ["one", "two"] {
        core.index.reference_applied(&reference(name));
    }
    core
}

/// Regression: all references of an app woke each other whenever one of them had read its Secret.
#[test]
fn a_secret_concerns_references_when_it_changes_and_not_when_it_is_read_again() {
    let mut core = with_two_references();
    for name in ["token", "credentials"] {
        let read = |core: &mut Core, version: &str| {
            let asked = core.index.asks("hr", name);
            let concerned = core.secret_answered(secret("hr", name, version).into(), &asked);
            concerned.references.len()
        };
        assert_eq!(read(&mut core, "5"), 2, "{name}");
        assert_eq!(read(&mut core, "5"), 0, "{name} is known");
        assert_eq!(read(&mut core, "4"), 0, "{name} was read before it changed");
    }
}

#[test]
fn the_watch_wakes_references_for_what_no_call_has_returned_before() {
    let mut core = with_two_references();
    let applied = |core: &mut Core, version: &str| {
        let concerned = core.secret_applied(secret("hr", "token", version).into());
        concerned.references.len()
    };
    assert_eq!(applied(&mut core, "5"), 2);
    assert_eq!(applied(&mut core, "5"), 0);
    assert_eq!(applied(&mut core, "6"), 2);
    core.index.secrets_listing(None);
    let listed = core.secret_in_list(secret("hr", "token", "6").into());
    assert_eq!(listed.references.len(), 0);
    let listed = core.secret_in_list(secret("hr", "token", "7").into());
    assert_eq!(listed.references.len(), 2);
    let deleted = core.secret_deleted(&secret("hr", "token", "8"));
    assert_eq!(deleted.references.len(), 2);
    let copied = core.secret_applied(secret("web", "one", "9").into());
    assert_eq!(copied.references, [reference_ref(&reference("one"))]);
    let asked = core.index.asks("web", "one");
    let gone = core.secret_not_found("web", "one", &asked);
    assert_eq!(gone.references, [reference_ref(&reference("one"))]);
    let gone = core.secret_not_found("web", "one", &asked);
    assert_eq!(gone.references, [], "it was gone before");
}

/// Regression: a copy that was deleted while the watch was broken was restored with the next renewal
/// only.
#[test]
fn a_copy_that_is_gone_when_a_list_ends_concerns_its_reference() {
    let mut core = with_two_references();
    core.secret_applied(secret("web", "one", "5").into());
    core.secret_applied(secret("web", "two", "6").into());
    let list = |core: &mut Core| {
        core.index.secrets_listing(None);
        core.secret_in_list(secret("web", "two", "6").into());
        core.secrets_listed(None).references
    };
    assert_eq!(list(&mut core), [reference_ref(&reference("one"))]);
    assert_eq!(list(&mut core), [], "it was gone before");
}
