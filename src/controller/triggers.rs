//! Channels that wake the controllers.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::StreamExt;
use futures::channel::mpsc as channel;
use futures::stream::BoxStream;

use super::scopes::Scope;

pub(super) type Senders<T> = HashMap<Scope, channel::UnboundedSender<T>>;
/// The objects to wake in one scope.
pub(super) type Triggered<K> = BoxStream<'static, K>;

/// Sends a message to the controller that serves a namespace.
pub(super) fn send<T>(senders: &Senders<T>, namespace: &Scope, message: T) {
    if let Some(sender) = senders.get(namespace).or_else(|| senders.get(&None)) {
        // The receiver only goes away when the process ends.
        let _ = sender.unbounded_send(message);
    }
}

/// Returns a channel for each scope.
pub(super) fn channels<T>(scopes: &[Scope]) -> (Senders<T>, Vec<channel::UnboundedReceiver<T>>) {
    scopes
        .iter()
        .map(|scope| {
            let (sender, receiver) = channel::unbounded();
            ((scope.clone(), sender), receiver)
        })
        .unzip()
}

/// Wakes objects. One that waits already is not added again, so that a channel never holds more
/// than there are objects.
pub(super) struct Triggers<K> {
    senders: Senders<K>,
    waiting: Arc<Mutex<HashSet<K>>>,
}

impl<K: Clone + Eq + Hash + Send + 'static> Triggers<K> {
    /// Returns the triggers of these scopes, and what receives them.
    pub(super) fn new(scopes: &[Scope]) -> (Self, Vec<Triggered<K>>) {
        let (senders, receivers) = channels(scopes);
        let waiting = Arc::new(Mutex::new(HashSet::new()));
        let triggered = receivers.into_iter().map(|receiver| {
            let waiting = Arc::clone(&waiting);
            let wakes = receiver.inspect(move |object| {
                lock(&waiting).remove(object);
            });
            wakes.boxed()
        });
        let triggered = triggered.collect();
        (Self { senders, waiting }, triggered)
    }

    pub(super) fn wake(&self, namespace: &Scope, object: &K) {
        let mut waiting = lock(&self.waiting);
        if waiting.insert(object.clone()) {
            send(&self.senders, namespace, object.clone());
        }
    }
}

fn lock<K>(waiting: &Mutex<HashSet<K>>) -> MutexGuard<'_, HashSet<K>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    /// Regression: thousands of apps with one target queued millions of wake-ups.
    #[test]
    fn an_object_that_waits_to_be_woken_is_not_added_again() {
        let (triggers, mut triggered) = Triggers::<&str>::new(&[None]);
        let namespace = Some("hr".to_owned());
        for _ in 0..2 {
            for _ in 0..1000 {
                triggers.wake(&namespace, &"payroll");
                triggers.wake(&namespace, &"expenses");
            }
            let mut next = || triggered[0].next().now_or_never().flatten();
            assert_eq!([next(), next()], [Some("payroll"), Some("expenses")]);
            assert_eq!(next(), None);
        }
    }
}
