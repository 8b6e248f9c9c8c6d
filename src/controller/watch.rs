//! The watches: apps and references complete, Secrets by their metadata.

mod admitted;
mod backoff;
mod report;
mod secrets;

use std::sync::Arc;

use futures::channel::mpsc::UnboundedReceiver;
use futures::stream::{self, select};
use futures::{Stream, StreamExt, TryStreamExt};
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher::{self, Event, watcher};
use kube::runtime::{Predicate, PredicateConfig, WatchStreamExt, predicates};
use kube::{Api, Client};

use super::context::Context;
use super::decoded::Decoded;
use super::kind::Kind;
use super::restored::{Restored, restored};
use super::scopes::Scope;
use super::stored::stored;
use crate::operator::Outages;
#[cfg(test)]
pub(crate) use admitted::app_event;
pub(super) use admitted::{admit, admit_references};
use backoff::with_backoff;
pub(super) use report::report;
#[cfg(test)]
pub(crate) use secrets::secret_event;
pub(super) use secrets::secrets;

/// Returns the objects of `scope`, whenever their spec or annotations change. Changes of the status
/// do not count, or the operator would wake itself. Returns their store, too. `restored` are objects
/// that were not served and have been read again. `admit` records an event, and returns those for
/// the store.
pub(super) fn objects<K, A>(
    client: &Client,
    scope: Scope,
    restored: UnboundedReceiver<K>,
    context: Arc<Context>,
    mut admit: A,
) -> (
    impl Stream<Item = watcher::Result<K>> + Send + use<K, A>,
    Store<K>,
)
where
    K: Kind,
    A: FnMut(&Context, Option<&str>, Event<Decoded<K>>) -> Vec<Event<K>> + Send + 'static,
{
    let writer = Writer::new(());
    let store = writer.as_reader();
    let restored = taken(restored, store.clone(), Arc::clone(&context));
    let allowed = context.metadata_prefixes.clone();
    let watched = watched(client, scope.as_ref(), &context.outages).modify(
        move |decoded: &mut Decoded<K>| {
            if let Decoded::Object(object) = decoded {
                object.lighten(&allowed);
            }
        },
    );
    let events = select(watched, restored).map_ok(move |event| {
        let events = admit(&context, scope.as_deref(), event);
        stream::iter(events).map(Ok::<_, watcher::Error>)
    });
    let changed = predicates::generation.combine(predicates::annotations);
    let objects = stored(events.try_flatten().reflect(writer));
    let objects = objects.predicate_filter(changed, PredicateConfig::default());
    (objects, store)
}

/// Returns events for those objects of `read` that replace their stubs in the store.
fn taken<K: Kind>(
    read: UnboundedReceiver<K>,
    store: Store<K>,
    context: Arc<Context>,
) -> impl Stream<Item = watcher::Result<Event<Decoded<K>>>> {
    read.filter_map(move |object| {
        let (key, queue) = (ObjectRef::from_obj(&object), K::queue(&context.queues));
        let restored = restored(store.get(&key).as_deref(), &object);
        match restored {
            Restored::Taken | Restored::Overtaken => queue.wake(&key),
            // Whoever has read a stale object reads it again.
            Restored::Stale | Restored::Gone => {}
        }
        let event = || Ok(Event::Apply(Decoded::Object(object)));
        std::future::ready((restored == Restored::Taken).then(event))
    })
}

fn watched<K: Kind>(
    client: &Client,
    scope: Option<&String>,
    outages: &Outages,
) -> impl Stream<Item = watcher::Result<Event<Decoded<K>>>> + Send + use<K> {
    let api: Api<Decoded<K>> = match scope {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    };
    with_backoff(watcher(api, watcher::Config::default()), outages)
}
