//! Channels that wake the controllers.

use std::collections::HashMap;

use futures::channel::mpsc as triggers;

use super::scopes::Scope;

pub(super) type Senders<T> = HashMap<Scope, triggers::UnboundedSender<T>>;
pub(super) type Channels<T> = (Senders<T>, Vec<triggers::UnboundedReceiver<T>>);

/// Sends a message to the controller that serves a namespace.
pub(super) fn send<T>(senders: &Senders<T>, namespace: &Scope, message: T) {
    if let Some(sender) = senders.get(namespace).or_else(|| senders.get(&None)) {
        // The receiver only goes away when the process ends.
        let _ = sender.unbounded_send(message);
    }
}

pub(super) fn trigger_channels<T>(scopes: &[Scope]) -> Channels<T> {
    scopes
        .iter()
        .map(|scope| {
            let (sender, receiver) = triggers::unbounded();
            ((scope.clone(), sender), receiver)
        })
        .unzip()
}
