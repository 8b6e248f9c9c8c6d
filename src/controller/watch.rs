//! The two watches: apps as a whole, Secrets by their metadata.

use std::collections::HashSet;
use std::fmt::Debug;
use std::sync::{Arc, PoisonError};

use futures::channel::mpsc::UnboundedReceiver;
use futures::stream::{self, select, select_all};
use futures::{Stream, StreamExt};
use jiff::Timestamp;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher::{self, Event, watcher};
use kube::runtime::{Predicate, PredicateConfig, WatchStreamExt, predicates};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tracing::{info, warn};

use super::clock::Clock;
use super::context::Context;
use super::decoded::{Decoded, map_object};
use super::index::{AppRef, ReferenceRef, app_ref, reference_ref};
use super::kept::{keep_of_metadata, lighten};
use super::restored::{Restored, restored};
use super::retry::RETRY;
use super::scopes::Scope;
use super::stored::stored;
use super::stub::Stub;
use crate::api::{DingTalkApp, DingTalkTokenReference};
use crate::plan::forget_forbidden;

/// The apps of `scope`, whenever what is wanted of them changes. A change of the status does not
/// count, or the operator would wake itself. `restored` are apps that were not served, read anew.
pub fn apps(
    client: &Client,
    scope: &Scope,
    writer: Writer<DingTalkApp>,
    restored: UnboundedReceiver<DingTalkApp>,
    context: &Arc<Context>,
) -> impl Stream<Item = Result<DingTalkApp, watcher::Error>> + Send + 'static {
    let (context, scope) = (Arc::clone(context), scope.clone());
    let allowed = context.metadata_prefixes.clone();
    let store = writer.as_reader();
    let restored = {
        let context = Arc::clone(&context);
        taken(
            restored,
            store,
            Arc::clone(&context.clock),
            move |key, at| match at {
                Some(at) => context.alarm.set(key, Some(at)),
                None => context.wake(key),
            },
        )
    };
    let watched =
        watched(client, scope.as_ref()).modify(move |decoded: &mut Decoded<DingTalkApp>| {
            decoded.modify(|app| {
                lighten(app);
                let target = &mut app.spec.target;
                forget_forbidden(&mut target.labels, &mut target.annotations, &allowed);
            });
        });
    let events = select(watched, restored)
        .flat_map(move |event| stream::iter(admit(&context, scope.as_deref(), event)));
    stored(events.reflect(writer)).predicate_filter(
        predicates::generation.combine(predicates::annotations),
        PredicateConfig::default(),
    )
}

/// The references of `scope`, whenever what is wanted of them changes; the same for `restored`.
pub fn references(
    client: &Client,
    scope: &Scope,
    writer: Writer<DingTalkTokenReference>,
    restored: UnboundedReceiver<DingTalkTokenReference>,
    context: &Arc<Context>,
) -> impl Stream<Item = Result<DingTalkTokenReference, watcher::Error>> + Send + 'static {
    let (context, scope) = (Arc::clone(context), scope.clone());
    let allowed = context.metadata_prefixes.clone();
    let mut listed = HashSet::new();
    let store = writer.as_reader();
    let restored = {
        let context = Arc::clone(&context);
        taken(
            restored,
            store,
            Arc::clone(&context.clock),
            move |key, at| match at {
                Some(at) => context.reference_alarm.set(key, Some(at)),
                None => context.wake_references([key.clone()]),
            },
        )
    };
    let watched = watched(client, scope.as_ref()).modify(
        move |decoded: &mut Decoded<DingTalkTokenReference>| {
            keep_of_metadata(decoded.meta_mut(), &[]);
            decoded.modify(|reference| {
                let target = &mut reference.spec.target;
                forget_forbidden(&mut target.labels, &mut target.annotations, &allowed);
            });
        },
    );
    let events = select(watched, restored).flat_map(move |event| {
        let admitted = admit_references(&context, scope.as_deref(), &mut listed, event);
        stream::iter(admitted)
    });
    stored(events.reflect(writer))
        .predicate_filter(predicates::generation, PredicateConfig::default())
}

/// The objects of `read` that take the place of their stubs in the store. `look_again` has an object looked
/// at, now or at a time.
fn taken<K>(
    read: UnboundedReceiver<K>,
    store: Store<K>,
    clock: Arc<dyn Clock>,
    look_again: impl Fn(&ObjectRef<K>, Option<Timestamp>),
) -> impl Stream<Item = watcher::Result<Event<Decoded<K>>>>
where
    K: Resource<DynamicType = ()> + Stub + Clone + 'static,
{
    read.filter_map(move |object| {
        let key = ObjectRef::from_obj(&object);
        let restored = restored(store.get(&key).as_deref(), &object);
        match restored {
            Restored::Taken | Restored::Overtaken => look_again(&key, None),
            Restored::Stale => look_again(&key, Some(clock.wall() + RETRY)),
            Restored::Gone => {}
        }
        let event = || Ok(Event::Apply(Decoded::Object(object)));
        std::future::ready((restored == Restored::Taken).then(event))
    })
}

fn watched<K>(
    client: &Client,
    scope: Option<&String>,
) -> impl Stream<Item = watcher::Result<Event<Decoded<K>>>> + Send + use<K>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + 'static,
{
    let api: Api<Decoded<K>> = match scope {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    };
    watcher(api, watcher::Config::default()).default_backoff()
}

/// The event with objects as they are to be handled: a stub in the place of one that cannot be
/// decoded, or could not be until now and has to be read with its Secrets.
fn supported<K>(
    event: Event<Decoded<K>>,
    decoded: impl FnOnce(&ObjectMeta, Option<&str>) -> bool,
) -> Event<K>
where
    K: Resource + Stub,
{
    map_object(event, |object| match object {
        Decoded::Object(mut object) => {
            if decoded(object.meta(), None) {
                object.strip();
            }
            object
        }
        Decoded::Unsupported(unsupported) => {
            decoded(&unsupported.metadata, Some(&unsupported.error));
            K::of_unsupported(*unsupported)
        }
    })
}

/// Takes note of an event; gives it on, without what is heavy of an app that is not served, and with
/// the same for the apps that are not served from now on.
fn admit(
    context: &Context,
    scope: Option<&str>,
    event: watcher::Result<Event<Decoded<DingTalkApp>>>,
) -> Vec<watcher::Result<Event<DingTalkApp>>> {
    let event = match event {
        Ok(event) => event,
        Err(error) => return vec![Err(error)],
    };
    let mut event = supported(event, |metadata, error| {
        context.index().app_decoded(&key_of(metadata), error)
    });
    app_event(context, scope, &event);
    let mut index = context.index();
    let refused = index.newly_refused();
    let mut own = None;
    if let Event::Apply(app) | Event::InitApply(app) = &mut event {
        let key = app_ref(app);
        if index.refusal(&key).is_some() {
            app.strip();
        }
        own = Some(key);
    }
    drop(index);
    let others = refused.into_iter();
    with_others(
        event,
        others.filter(|app| own.as_ref() != Some(&app_ref(app))),
    )
}

/// The same for references; `listed` are those of a list that is under way.
fn admit_references(
    context: &Context,
    scope: Option<&str>,
    listed: &mut HashSet<ReferenceRef>,
    event: watcher::Result<Event<Decoded<DingTalkTokenReference>>>,
) -> Vec<watcher::Result<Event<DingTalkTokenReference>>> {
    let event = match event {
        Ok(event) => event,
        Err(error) => return vec![Err(error)],
    };
    let mut index = context.index();
    let mut event = supported(event, |metadata, error| {
        index.reference_decoded(&key_of(metadata), error)
    });
    let mut forgotten = Vec::new();
    let others = match &event {
        Event::Apply(reference) => index.reference_applied(reference),
        Event::InitApply(reference) => {
            listed.insert(reference_ref(reference));
            index.reference_applied(reference)
        }
        Event::Delete(reference) => {
            forgotten.push(reference_ref(reference));
            index.reference_deleted(&reference_ref(reference))
        }
        Event::Init => {
            listed.clear();
            Vec::new()
        }
        Event::InitDone => {
            forgotten = index.references_gone(scope, listed);
            *listed = HashSet::new();
            let gone = forgotten.iter();
            gone.flat_map(|key| index.reference_deleted(key)).collect()
        }
    };
    if let Event::Apply(reference) | Event::InitApply(reference) = &mut event
        && index.reference_refusal(&reference_ref(reference)).is_some()
    {
        reference.strip();
    }
    let refused = index.newly_refused_references();
    drop(index);
    for key in &forgotten {
        context.forget_reference(key);
    }
    context.wake_references(others);
    with_others(event, refused.into_iter())
}

/// An event, and the same for objects that it concerns, too.
fn with_others<K>(
    event: Event<K>,
    others: impl Iterator<Item = K>,
) -> Vec<watcher::Result<Event<K>>> {
    let is_init = matches!(event, Event::InitApply(_));
    let others = others.map(|object| match is_init {
        true => Event::InitApply(object),
        false => Event::Apply(object),
    });
    std::iter::once(event).chain(others).map(Ok).collect()
}

fn key_of<K: Resource<DynamicType = ()>>(metadata: &ObjectMeta) -> ObjectRef<K> {
    ObjectRef::new(metadata.name.as_deref().unwrap_or_default())
        .within(metadata.namespace.as_deref().unwrap_or_default())
}

pub fn app_event(context: &Context, scope: Option<&str>, event: &Event<DingTalkApp>) {
    if let Event::Apply(app) = event
        && let Some(memory) = context.remembered(&app_ref(app))
    {
        let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.status_seen(app);
    }
    let mut index = context.index();
    let others = match event {
        Event::Apply(app) | Event::InitApply(app) => {
            let others = index.app_applied(app);
            context.measure_refused(&index, app.metadata.namespace.as_deref());
            others
        }
        Event::Delete(app) => {
            let app = app_ref(app);
            let others = index.app_deleted(&app);
            context.forget(&app);
            context.measure_refused(&index, app.namespace.as_deref());
            others
        }
        Event::Init => {
            index.apps_listing(scope);
            Vec::new()
        }
        Event::InitDone => {
            context.scopes.apps_listed(&scope.map(str::to_owned));
            let gone = index.apps_listed(scope);
            for app in &gone {
                context.forget(app);
            }
            let referrers = gone.iter().flat_map(|app| index.referrers(app));
            context.wake_references(referrers.collect::<Vec<_>>());
            let others = gone.iter().flat_map(|app| index.app_deleted(app)).collect();
            for app in &gone {
                context.measure_refused(&index, app.namespace.as_deref());
            }
            others
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

/// Follows the metadata of the Secrets of each scope, once its apps are known.
pub async fn secrets(client: Client, scopes: Vec<Scope>, context: Arc<Context>) {
    let streams = scopes.into_iter().map(|scope| {
        let api: Api<Decoded<PartialObjectMeta<Secret>>> = match &scope {
            Some(namespace) => Api::namespaced(client.clone(), namespace),
            None => Api::all(client.clone()),
        };
        let listed = {
            let (context, scope) = (Arc::clone(&context), scope.clone());
            // (The stores tell only one waiter that they are ready, and that is the controller.)
            async move { context.scopes.until_apps_listed(&scope).await }
        };
        stream::once(listed)
            .flat_map(move |()| watcher(api.clone(), watcher::Config::default()).default_backoff())
            .map(move |event| (scope.clone(), event))
            .boxed()
    });
    let mut streams = select_all(streams);
    while let Some((scope, event)) = streams.next().await {
        context.leadership.may_learn().await;
        secret_event(&context, &scope, event);
    }
}

/// Records an event of the watch on Secrets, and wakes those that it concerns.
pub fn secret_event(
    context: &Context,
    scope: &Scope,
    event: watcher::Result<Event<Decoded<PartialObjectMeta<Secret>>>>,
) {
    let mut index = context.index();
    let name = match &event {
        Ok(Event::Apply(secret) | Event::InitApply(secret) | Event::Delete(secret)) => {
            Some((secret.namespace().unwrap_or_default(), secret.name_any()))
        }
        _ => None,
    };
    let users = match event {
        Ok(Event::Apply(secret) | Event::InitApply(secret)) => {
            index.secret_applied(secret.into_metadata())
        }
        Ok(Event::Delete(secret)) => index.secret_deleted(secret.meta()),
        Ok(Event::Init) => {
            index.secrets_listing(scope.as_deref());
            Vec::new()
        }
        Ok(Event::InitDone) => {
            let users = index.secrets_listed(scope.as_deref());
            if context.scopes.secrets_listed(scope) {
                info!(namespace = scope.as_deref(), "all objects listed; watching");
                let (apps, copies) = index.all();
                let is_listed = |app: &AppRef| scope.is_none() || app.namespace == *scope;
                context.wake_all(apps.into_iter().filter(is_listed));
                // Some copy from it.
                context.wake_references(copies);
            }
            users
        }
        Err(error) => {
            report(context, "secrets", scope, &error);
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

/// Logs what is wrong with a watch, and what to do if that is known. It is tried again.
pub fn report(context: &Context, what: &str, scope: &Scope, error: &watcher::Error) {
    let status = match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => Some(status),
        _ => None,
    };
    if status.is_some_and(|status| status.is_forbidden()) {
        context.scopes.refused(scope);
    }
    let advice = match status {
        Some(status) if status.is_not_found() => "install the CRDs: kubectl apply -k crds/",
        Some(status) if status.is_forbidden() => {
            "grant the operator its role: see deploy/rbac/role.yaml"
        }
        _ => "the watch is started again",
    };
    warn!(what, namespace = scope.as_deref(), %error, advice, "watch failed");
}

#[cfg(test)]
mod tests;
