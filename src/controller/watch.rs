//! The two watches: apps as a whole, Secrets by their metadata.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError};

use futures::stream::select_all;
use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::Secret;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::store::Writer;
use kube::runtime::watcher::{self, Event, watcher};
use kube::runtime::{Predicate, PredicateConfig, WatchStreamExt, predicates};
use kube::{Api, Client, ResourceExt};
use tokio::sync::watch as channel;
use tracing::{info, warn};

use super::Context;
use super::index::{ReferenceRef, app_ref};
use crate::api::{DingTalkApp, DingTalkTokenReference};

/// A namespace, or all of them.
pub type Scope = Option<String>;

/// The apps of `scope`, whenever what is wanted of them changes. A change of the status does not
/// count, or the operator would wake itself.
pub fn apps(
    client: &Client,
    scope: &Scope,
    writer: Writer<DingTalkApp>,
    context: &Arc<Context>,
) -> impl Stream<Item = Result<DingTalkApp, watcher::Error>> + Send + 'static {
    let api: Api<DingTalkApp> = match scope {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    };
    let (context, scope) = (Arc::clone(context), scope.clone());
    watcher(api, watcher::Config::default())
        .default_backoff()
        .modify(|app| app.managed_fields_mut().clear())
        .inspect(move |event| {
            if let Ok(event) = event {
                app_event(&context, scope.as_deref(), event);
            }
        })
        .reflect(writer)
        .applied_objects()
        .predicate_filter(
            predicates::generation.combine(predicates::annotations),
            PredicateConfig::default(),
        )
}

/// The references of `scope`, whenever what is wanted of them changes.
pub fn references(
    client: &Client,
    scope: &Scope,
    writer: Writer<DingTalkTokenReference>,
    context: &Arc<Context>,
) -> impl Stream<Item = Result<DingTalkTokenReference, watcher::Error>> + Send + 'static {
    let api: Api<DingTalkTokenReference> = match scope {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    };
    let (context, scope) = (Arc::clone(context), scope.clone());
    let mut listed = HashSet::new();
    watcher(api, watcher::Config::default())
        .default_backoff()
        .modify(|reference| reference.managed_fields_mut().clear())
        .inspect(move |event| {
            let mut index = context.index();
            match event {
                Ok(Event::Apply(reference)) => index.reference_applied(reference),
                Ok(Event::InitApply(reference)) => {
                    index.reference_applied(reference);
                    listed.insert(ReferenceRef::from_obj(reference));
                }
                Ok(Event::Delete(reference)) => {
                    let key = ReferenceRef::from_obj(reference);
                    index.reference_deleted(&key);
                    context.forget_reference(&key);
                }
                Ok(Event::Init) => listed.clear(),
                Ok(Event::InitDone) => {
                    for key in index.references_gone(scope.as_deref(), &listed) {
                        index.reference_deleted(&key);
                        context.forget_reference(&key);
                    }
                    listed = HashSet::new();
                }
                Err(_) => {}
            }
        })
        .reflect(writer)
        .applied_objects()
        .predicate_filter(predicates::generation, PredicateConfig::default())
}

fn app_event(context: &Context, scope: Option<&str>, event: &Event<DingTalkApp>) {
    if let Event::Apply(app) = event
        && let Some(memory) = context.remembered(&app_ref(app))
    {
        let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.status_seen(app);
    }
    let mut index = context.index();
    let others = match event {
        Event::Apply(app) | Event::InitApply(app) => index.app_applied(app),
        Event::Delete(app) => {
            let app = app_ref(app);
            let others = index.app_deleted(&app);
            context.forget(&app);
            others
        }
        Event::Init => {
            index.apps_listing(scope);
            Vec::new()
        }
        Event::InitDone => {
            context.listed.send_modify(|listed| {
                listed.insert(scope.map(str::to_owned));
            });
            let gone = index.apps_listed(scope);
            for app in &gone {
                context.forget(app);
            }
            let referrers = gone.iter().flat_map(|app| index.referrers(app));
            context.wake_references(referrers.collect::<Vec<_>>());
            gone.iter().flat_map(|app| index.app_deleted(app)).collect()
        }
    };
    let key = match event {
        Event::Apply(app) | Event::InitApply(app) | Event::Delete(app) => Some(app_ref(app)),
        Event::Init | Event::InitDone => None,
    };
    let referrers = match key {
        Some(key) => index.referrers(&key),
        None => Vec::new(),
    };
    drop(index);
    context.wake_all(others);
    context.wake_references(referrers);
}

/// Follows the metadata of the Secrets of `scopes`; `ready` is set once they are known.
pub async fn secrets(
    client: Client,
    scopes: Vec<Scope>,
    context: Arc<Context>,
    ready: channel::Sender<bool>,
) {
    let streams = scopes.iter().map(|scope| {
        let api: Api<PartialObjectMeta<Secret>> = match scope {
            Some(namespace) => Api::namespaced(client.clone(), namespace),
            None => Api::all(client.clone()),
        };
        let scope = scope.clone();
        watcher(api, watcher::Config::default())
            .default_backoff()
            .map(move |event| (scope.clone(), event))
            .boxed()
    });
    let mut streams = select_all(streams);
    let mut unlisted: HashSet<Scope> = scopes.iter().cloned().collect();
    while let Some((scope, event)) = streams.next().await {
        context.leadership.may_learn().await;
        let mut index = context.index();
        let name = match &event {
            Ok(Event::Apply(secret) | Event::InitApply(secret) | Event::Delete(secret)) => {
                Some((secret.namespace().unwrap_or_default(), secret.name_any()))
            }
            _ => None,
        };
        let users = match event {
            Ok(Event::Apply(secret) | Event::InitApply(secret)) => {
                index.secret_applied(secret.metadata)
            }
            Ok(Event::Delete(secret)) => index.secret_deleted(&secret.metadata),
            Ok(Event::Init) => {
                index.secrets_listing(scope.as_deref());
                Vec::new()
            }
            Ok(Event::InitDone) => {
                let users = index.secrets_listed(scope.as_deref());
                unlisted.remove(&scope);
                if unlisted.is_empty() && !*ready.borrow() {
                    info!("watching");
                    let _ = ready.send(true);
                }
                users
            }
            Err(error) => {
                report("secrets", &error);
                Vec::new()
            }
        };
        let references = match name {
            Some((namespace, name)) => index.references_of(&namespace, &name),
            None => Vec::new(),
        };
        drop(index);
        context.wake_all(users);
        context.wake_references(references);
    }
}

/// Logs what is wrong with a watch, and what to do where that is known. It is tried again.
pub fn report(what: &str, error: &watcher::Error) {
    let status = match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => Some(status),
        _ => None,
    };
    let advice = match status {
        Some(status) if status.is_not_found() => "install the CRDs: kubectl apply -k crds/",
        Some(status) if status.is_forbidden() => {
            "grant the operator its role: see deploy/rbac/role.yaml"
        }
        _ => "the watch is started again",
    };
    warn!(what, %error, "watch failed: {advice}");
}
