//! Channels that wake the controllers.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use futures::channel::mpsc as channel;
use futures::{Stream, StreamExt};

use super::scopes::Scope;

pub(super) type Senders<T> = HashMap<Scope, channel::UnboundedSender<T>>;
pub(super) type Channels<T> = (Senders<T>, Vec<channel::UnboundedReceiver<T>>);

/// Sends a message to the controller that serves a namespace.
pub(super) fn send<T>(senders: &Senders<T>, namespace: &Scope, message: T) {
    if let Some(sender) = senders.get(namespace).or_else(|| senders.get(&None)) {
        // The receiver only goes away when the process ends.
        let _ = sender.unbounded_send(message);
    }
}

/// Returns a channel for each scope.
pub(super) fn channels<T>(scopes: &[Scope]) -> Channels<T> {
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

/// The objects to wake in one scope.
pub(super) struct Triggered<K> {
    receiver: channel::UnboundedReceiver<K>,
    waiting: Arc<Mutex<HashSet<K>>>,
}

/// Returns the triggers of these scopes, and what receives them.
pub(super) fn triggers<K>(scopes: &[Scope]) -> (Triggers<K>, Vec<Triggered<K>>) {
    let waiting = Arc::default();
    let (senders, receivers) = channels(scopes);
    let receivers = receivers.into_iter().map(|receiver| Triggered {
        receiver,
        waiting: Arc::clone(&waiting),
    });
    let receivers = receivers.collect();
    (Triggers { senders, waiting }, receivers)
}

impl<K: Clone + Eq + Hash> Triggers<K> {
    /// Wakes an object.
    pub(super) fn wake(&self, namespace: &Scope, object: &K) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.insert(object.clone()) {
            send(&self.senders, namespace, object.clone());
        }
    }
}

impl<K: Eq + Hash + Unpin> Stream for Triggered<K> {
    type Item = K;

    fn poll_next(mut self: Pin<&mut Self>, polling: &mut Context<'_>) -> Poll<Option<K>> {
        let object = ready!(self.receiver.poll_next_unpin(polling));
        if let Some(object) = &object {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.remove(object);
        }
        Poll::Ready(object)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    /// Regression: thousands of apps with one target queued millions of wake-ups.
    #[test]
    fn an_object_that_waits_to_be_woken_is_not_added_again() {
        let (triggers, mut triggered) = triggers::<&str>(&[None]);
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
