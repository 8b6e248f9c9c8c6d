//! Does what kube's Controller does for the objects of one kind.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Polling, Poll};

use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use kube::ResourceExt;
use kube::runtime::controller::Action;
use kube::runtime::watcher::Event;

use crate::controller::context::Context;

/// A reconciliation, which returns the object's name.
type Run = Pin<Box<dyn Future<Output = String> + Send>>;

pub struct Runs<K> {
    pub objects: BTreeMap<String, Arc<K>>,
    queued: BTreeSet<String>,
    running: BTreeSet<String>,
    /// Objects woken during their reconciliation.
    again: BTreeSet<String>,
    under_way: FuturesUnordered<Run>,
}

impl<K> Default for Runs<K> {
    fn default() -> Self {
        Self {
            objects: BTreeMap::new(),
            queued: BTreeSet::new(),
            running: BTreeSet::new(),
            again: BTreeSet::new(),
            under_way: FuturesUnordered::new(),
        }
    }
}

impl<K: ResourceExt> Runs<K> {
    /// Records an event. A change of the status alone wakes nothing.
    pub fn event(&mut self, event: Event<K>) {
        match event {
            Event::Apply(object) | Event::InitApply(object) => {
                let name = object.name_any();
                let old = self.objects.insert(name.clone(), Arc::new(object));
                let new = &self.objects[&name];
                let desired = |object: &K| {
                    let meta = object.meta();
                    let annotations = meta.annotations.clone().unwrap_or_default();
                    (meta.uid.clone(), meta.generation, annotations)
                };
                if old.is_none_or(|old| desired(&old) != desired(new)) {
                    self.wake(name);
                }
            }
            Event::Delete(object) => {
                self.objects.remove(&object.name_any());
            }
            Event::Init | Event::InitDone => {}
        }
    }

    pub fn wake(&mut self, name: String) {
        self.queued.insert(name);
    }

    /// Advances all reconciliations and returns whether one has ended.
    pub fn poll<F>(
        &mut self,
        polling: &mut Polling<'_>,
        context: &Arc<Context>,
        reconcile: fn(Arc<K>, Arc<Context>) -> F,
    ) -> bool
    where
        F: Future<Output = Result<Action, Infallible>> + Send + 'static,
    {
        for name in std::mem::take(&mut self.queued) {
            if self.running.contains(&name) {
                self.again.insert(name);
            } else if let Some(object) = self.objects.get(&name) {
                self.running.insert(name.clone());
                let run = reconcile(Arc::clone(object), Arc::clone(context));
                self.under_way.push(Box::pin(run.map(|_| name)));
            }
        }
        let mut has_ended = false;
        while let Poll::Ready(Some(name)) = self.under_way.poll_next_unpin(polling) {
            has_ended = true;
            self.running.remove(&name);
            if self.again.remove(&name) {
                self.queued.insert(name);
            }
        }
        has_ended
    }
}
