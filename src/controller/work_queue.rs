//! The objects of a kind that are to be reconciled: when, and how many at once.

use futures::channel::mpsc::UnboundedReceiver;
use jiff::Timestamp;
use kube::Resource;
use kube::runtime::reflector::ObjectRef;

use super::alarm::Alarm;
use super::retry::RETRY;
use super::scopes::Scope;
use super::triggers::{Senders, Triggered, Triggers, channels, send};
use super::workers::Workers;

/// What the controller of a scope receives.
pub(super) struct Wakes<K: Resource<DynamicType = ()>> {
    pub scope: Scope,
    /// Objects to wake.
    pub triggered: Triggered<ObjectRef<K>>,
    /// Objects to put back into the store.
    pub restored: UnboundedReceiver<K>,
}

/// The objects of a kind that are to be reconciled.
pub(super) struct WorkQueue<K: Resource<DynamicType = ()>> {
    pub alarm: Alarm<ObjectRef<K>>,
    workers: Workers<ObjectRef<K>>,
    triggers: Triggers<ObjectRef<K>>,
    restored: Senders<K>,
}

impl<K: Resource<DynamicType = ()> + 'static> WorkQueue<K> {
    /// Creates a queue, and returns what the controller of each scope receives from it.
    pub(super) fn new(scopes: &[Scope]) -> (Self, Vec<Wakes<K>>) {
        let (triggers, triggered) = Triggers::new(scopes);
        let (senders, restored) = channels(scopes);
        let queue = Self {
            alarm: Alarm::default(),
            workers: Workers::default(),
            triggers,
            restored: senders,
        };
        let wakes = scopes.iter().zip(triggered).zip(restored);
        let wakes = wakes.map(|((scope, triggered), restored)| Wakes {
            scope: scope.clone(),
            triggered,
            restored,
        });
        (queue, wakes.collect())
    }

    pub(super) fn wake(&self, key: &ObjectRef<K>) {
        self.triggers.wake(&key.namespace, key);
    }

    /// Passes an object that was read again to its controller.
    pub(super) fn restore(&self, object: K) {
        let namespace = object.meta().namespace.clone();
        send(&self.restored, &namespace, object);
    }

    /// Takes a worker for an object, to be returned with [`Self::end`]. If there is none, returns
    /// false, and the object is woken in its turn.
    pub(super) fn begin(&self, key: &ObjectRef<K>, now: Timestamp) -> bool {
        let has_begun = self.workers.begin(namespace(key), key);
        if !has_begun {
            // A backstop, in case the object before it is deleted.
            self.alarm.set(key, Some(now + RETRY));
        }
        has_begun
    }

    /// Returns the worker of an object that is to be looked at again at `wake_at`.
    pub(super) fn end(&self, key: &ObjectRef<K>, wake_at: Option<Timestamp>) {
        self.alarm.set(key, wake_at);
        if let Some(next) = self.workers.end(namespace(key)) {
            self.wake(&next);
        }
    }
}

fn namespace<K: Resource<DynamicType = ()>>(key: &ObjectRef<K>) -> &str {
    key.namespace.as_deref().unwrap_or_default()
}
