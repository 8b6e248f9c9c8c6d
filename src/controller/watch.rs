//! The watches: apps and references complete, Secrets by their metadata.

mod admitted;
mod backoff;
mod report;
mod secrets;

use std::collections::HashSet;
use std::fmt::Debug;
use std::sync::Arc;

use futures::channel::mpsc::UnboundedReceiver;
use futures::stream::{self, select};
use futures::{Stream, StreamExt};
use jiff::Timestamp;
use k8s_openapi::NamespaceResourceScope;
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher::{self, Event, watcher};
use kube::runtime::{Predicate, PredicateConfig, WatchStreamExt, predicates};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;

use super::clock::Clock;
use super::context::Context;
use super::decoded::Decoded;
use super::kept::{keep_of_metadata, lighten, lighten_reference};
use super::restored::{Restored, restored};
use super::retry::RETRY;
use super::scopes::Scope;
use super::stored::stored;
use crate::api::{DingTalkApp, DingTalkTokenReference};
use crate::core::Stub;
use crate::core::forget_forbidden;
use crate::operator::Outages;
use admitted::admit;
pub(super) use admitted::admit_references;
#[cfg(test)]
pub(crate) use admitted::app_event;
use backoff::with_backoff;
pub(super) use report::report;
#[cfg(test)]
pub(crate) use secrets::secret_event;
pub(super) use secrets::secrets;

/// Returns the apps of `scope`, whenever their spec or annotations change. Changes of the status do
/// not count, or the operator would wake itself. `restored` are apps that were not served and have
/// been read again.
pub(super) fn apps(
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
    let watched = watched(client, scope.as_ref(), &context.outages).modify(
        move |decoded: &mut Decoded<DingTalkApp>| {
            decoded.modify(|app| {
                lighten(app);
                let target = &mut app.spec.target;
                forget_forbidden(&mut target.labels, &mut target.annotations, &allowed);
            });
        },
    );
    let mut listed = HashSet::new();
    let events = select(watched, restored)
        .flat_map(move |event| stream::iter(admit(&context, scope.as_deref(), &mut listed, event)));
    stored(events.reflect(writer)).predicate_filter(
        predicates::generation.combine(predicates::annotations),
        PredicateConfig::default(),
    )
}

/// Returns the references of `scope`, whenever their spec changes. `restored` are references that
/// were not served and have been read again.
pub(super) fn references(
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
    let watched = watched(client, scope.as_ref(), &context.outages).modify(
        move |decoded: &mut Decoded<DingTalkTokenReference>| {
            keep_of_metadata(decoded.meta_mut(), &[]);
            decoded.modify(|reference| {
                lighten_reference(reference);
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

/// Returns events for those objects of `read` that replace their stubs in the store. `look_again`
/// schedules a look at an object, now or later.
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
    outages: &Outages,
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
    with_backoff(watcher(api, watcher::Config::default()), outages)
}
