//! What the watches of apps record, and what their stores get.

use std::collections::HashSet;
use std::sync::Arc;

use futures::FutureExt;
use jiff::Timestamp;
use kube::ResourceExt;
use kube::runtime::watcher::Event;

use super::*;
use crate::api::{DingTalkApp, app_ref};
use crate::controller::context::Context;
use crate::controller::decoded::Decoded;
use crate::controller::refusal::restore;
use crate::controller::retry::RETRY;
use crate::controller::scopes::Scope;
use crate::controller::simulation::calls::{Fate, Wire};
use crate::controller::simulation::process;
use crate::controller::simulation::site::{Repeat, Site};
use crate::controller::simulation::store::Store;
use crate::controller::watch::admit;
use crate::core::{NamespaceLimits, Stub};
use crate::operator::Leadership;

fn context(scopes: &[Scope], limits: NamespaceLimits) -> Arc<Context> {
    let wire = Wire::new(Timestamp::UNIX_EPOCH, 1);
    let leadership = Arc::new(Leadership::alone());
    process::context(&wire, leadership, scopes, limits).0
}

/// Returns an app of this age with this many corps.
fn app(namespace: &str, name: &str, created: i64, corps: usize) -> DingTalkApp {
    let created = Timestamp::from_second(created).expect("a time");
    let corp_ids: Vec<String> = (0..corps).map(|n| format!("ding{n}")).collect();
    serde_json::from_value(json!({
        "apiVersion": "dingtalk-token-operator.github.io/v1alpha1", "kind": "DingTalkApp",
        "metadata": {"name": name, "namespace": namespace, "uid": name, "resourceVersion": "1",
            "generation": 1, "creationTimestamp": created},
        "spec": {"credentialsSecretRef": {"name": "credentials"}, "site": "china", "corpIds": corp_ids},
    }))
    .expect("an app")
}

/// Regression: another namespace's store got the stub.
#[test]
fn an_app_that_a_call_refuses_becomes_a_stub_in_the_store_of_its_own_namespace() {
    let scopes = ["a", "b"].map(|scope| Some(scope.to_owned()));
    let limits = NamespaceLimits {
        corps: 2,
        ..NamespaceLimits::default()
    };
    let context = context(&scopes, limits);
    // Returns what the store gets of this event, and whether each is a stub.
    let stored = |app: DingTalkApp| -> Vec<(String, bool)> {
        let scope = app.metadata.namespace.clone();
        let event = Event::Apply(Decoded::Object(app));
        let events = admit(&context, scope.as_deref(), &mut HashSet::new(), event);
        let stored = events.into_iter().map(|event| match event {
            Event::Apply(app) => (app.name_any(), app.is_stub()),
            _ => panic!("another event"),
        });
        stored.collect()
    };
    let whole = |name: &str| (name.to_owned(), false);
    let stub = |name: &str| (name.to_owned(), true);
    assert_eq!(stored(app("a", "older", 1, 1)), [whole("older")]);
    assert_eq!(stored(app("a", "younger", 2, 1)), [whole("younger")]);
    assert_eq!(stored(app("b", "other", 3, 1)), [whole("other")]);
    let read = app("a", "older", 1, 2);
    context.core().index.app_read(&read);
    assert_eq!(stored(app("b", "other", 3, 1)), [whole("other")]);
    assert_eq!(stored(read), [whole("older"), stub("younger")]);
    // Its own event needs no stub beside it.
    assert_eq!(stored(app("a", "older", 1, 1)), [whole("older")]);
    assert_eq!(stored(app("a", "younger", 2, 1)), [whole("younger")]);
    context.core().index.app_read(&app("a", "older", 1, 2));
    assert_eq!(stored(app("a", "younger", 2, 1)), [stub("younger")]);
}

/// Regression: whether such an app was read again depended on which came first, the end of its look
/// or that of the comparison with its stub, because the former cleared the time that the latter set.
#[test]
fn an_app_that_was_read_to_be_served_again_is_looked_at_again_even_if_the_read_is_stale() {
    let wire = Wire::new(Timestamp::UNIX_EPOCH, 1);
    let leadership = Arc::new(Leadership::alone());
    let (context, _received) =
        process::context(&wire, leadership, &[None], NamespaceLimits::default());
    let app = app("hr", "payroll", 1, 1);
    let (mut store, mut site) = (Store::default(), Site::new(Repeat::Beside));
    store.apps.insert("payroll".to_owned(), app.clone());
    let key = app_ref(&app);
    let mut restoring = Box::pin(restore(&context, &key));
    let again = loop {
        if let Some(again) = restoring.as_mut().now_or_never() {
            break again;
        }
        for begun in std::mem::take(&mut *wire.begun.lock().expect("no panic")) {
            (begun.execute)(&mut store, &mut site, Fate::Answered)();
        }
    };
    assert_eq!(again, Some(Timestamp::UNIX_EPOCH + RETRY));
}

/// An app that is served again is read while a list begins. It was deleted since, so the list lacks
/// it, and no event will say so.
#[test]
fn an_app_that_a_list_lacks_is_gone_although_a_call_returns_it_during_the_list() {
    for is_restored in [false, true] {
        let context = context(&[None], NamespaceLimits::default());
        let mut listed = HashSet::new();
        let mut tell = |event| admit(&context, None, &mut listed, event);
        let app = app("hr", "payroll", 1, 1);
        let knows = || context.core().index.admission.knows(&app_ref(&app));
        tell(Event::Init);
        tell(Event::InitApply(Decoded::Object(app.clone())));
        tell(Event::InitDone);
        assert!(knows());
        tell(Event::Init);
        context.core().index.app_read(&app);
        if is_restored {
            tell(Event::Apply(Decoded::Object(app.clone())));
        }
        assert!(knows(), "the list goes on");
        tell(Event::InitDone);
        assert!(!knows(), "restored {is_restored}");
    }
}

/// Regression: the store kept the stub of an app that had been deleted before the list.
#[test]
fn an_app_that_is_refused_during_a_list_gets_a_stub_only_if_the_list_contained_it() {
    for is_listed in [false, true] {
        let limits = NamespaceLimits {
            corps: 2,
            ..NamespaceLimits::default()
        };
        let context = context(&[None], limits);
        let mut listed = HashSet::new();
        let mut tell = |event| admit(&context, None, &mut listed, event).len();
        let list = |app: DingTalkApp| Event::InitApply(Decoded::Object(app));
        tell(Event::Init);
        tell(list(app("hr", "older", 1, 1)));
        tell(list(app("hr", "younger", 2, 1)));
        tell(Event::InitDone);
        tell(Event::Init);
        if is_listed {
            tell(list(app("hr", "younger", 2, 1)));
        }
        let events = tell(list(app("hr", "older", 1, 2)));
        assert_eq!(events, 1 + usize::from(is_listed));
        assert_eq!(tell(Event::InitDone), 1);
    }
}
