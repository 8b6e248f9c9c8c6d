//! The objects to reconcile, each once the store has it.

use futures::stream::{self, Stream, StreamExt};
use kube::runtime::watcher::{Event, Result};

use crate::core::Stub;

/// Returns the objects of `events`, which the store has applied already. Those of a list come when
/// the list is complete, because the store takes it over only then, and nobody reconciles what the
/// store lacks.
pub(super) fn stored<K: Stub>(
    events: impl Stream<Item = Result<Event<K>>>,
) -> impl Stream<Item = Result<K>> {
    let mut listed = Vec::new();
    events.flat_map(move |event| {
        let objects = match event {
            Ok(Event::Apply(object)) => vec![Ok(object)],
            Ok(Event::Delete(_)) => Vec::new(),
            // A list that was interrupted starts again.
            Ok(Event::Init) => {
                listed.clear();
                Vec::new()
            }
            Ok(Event::InitApply(mut object)) => {
                // Only the object's name is needed.
                object.strip();
                listed.push(object);
                Vec::new()
            }
            Ok(Event::InitDone) => std::mem::take(&mut listed).into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error)],
        };
        stream::iter(objects)
    })
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use futures::FutureExt;
    use futures::channel::mpsc::unbounded;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
    use kube::ResourceExt;
    use kube::runtime::reflector::store::Writer;
    use kube::runtime::{PredicateConfig, WatchStreamExt, predicates};

    use super::*;
    use crate::api::DingTalkApp;
    use crate::api::app_ref;

    fn app(name: &str) -> DingTalkApp {
        DingTalkApp::stub(ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some("hr".to_owned()),
            uid: Some(name.to_owned()),
            generation: Some(1),
            ..ObjectMeta::default()
        })
    }

    /// Returns the names that each event leads to, and asserts that the store has them.
    fn reconciled(events: Vec<Event<DingTalkApp>>) -> Vec<Vec<String>> {
        let writer = Writer::new(());
        let store = writer.as_reader();
        let (sender, receiver) = unbounded();
        let objects = stored(receiver.map(Ok).reflect(writer))
            .predicate_filter(predicates::generation, PredicateConfig::default())
            .filter_map(|object| ready(object.ok()));
        let mut objects = std::pin::pin!(objects);
        let each = events.into_iter().map(|event| {
            sender.unbounded_send(event).expect("sent");
            let mut names = Vec::new();
            while let Some(Some(object)) = objects.next().now_or_never() {
                assert!(
                    store.get(&app_ref(&object)).is_some(),
                    "{}",
                    object.name_any()
                );
                names.push(object.name_any());
            }
            names
        });
        each.collect()
    }

    #[test]
    fn what_a_list_brings_is_reconciled_when_the_store_has_it() {
        let events = vec![
            Event::Init,
            Event::InitApply(app("old")),
            Event::InitDone,
            Event::Init,
            Event::InitApply(app("old")),
            Event::InitApply(app("new")),
            Event::InitDone,
            Event::Apply(app("newest")),
        ];
        let [none, old, new, newest] = [&[][..], &["old"], &["new"], &["newest"]];
        assert_eq!(
            reconciled(events),
            [none, none, old, none, none, none, new, newest]
        );
    }

    #[test]
    fn what_a_list_brought_that_broke_off_is_reconciled_after_the_next_one() {
        let events = vec![
            Event::Init,
            Event::InitApply(app("gone")),
            Event::Init,
            Event::InitApply(app("there")),
            Event::InitDone,
        ];
        let none = &[][..];
        assert_eq!(reconciled(events), [none, none, none, none, &["there"]]);
    }
}
