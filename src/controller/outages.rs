//! What is done when an outage of the API server ends.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use super::context::Context;

impl Context {
    /// Has the writes that were not answered tried again whenever an outage of the API server ends.
    pub(super) async fn follow_outages(&self) {
        let mut ends = self.outages.ends();
        loop {
            ends.next().await;
            let now = self.wall();
            self.wake_all(those(&self.memories, |memory| memory.retry_unanswered(now)));
            self.wake_references(those(&self.reference_memories, |memory| {
                memory.retry_unanswered(now)
            }));
        }
    }
}

fn those<K: Clone + Eq + Hash, M>(
    memories: &Mutex<HashMap<K, Arc<Mutex<M>>>>,
    is_one: impl Fn(&mut M) -> bool,
) -> Vec<K> {
    let memories = memories.lock().unwrap_or_else(PoisonError::into_inner);
    let those = memories
        .iter()
        .filter(|(_, memory)| is_one(&mut memory.lock().unwrap_or_else(PoisonError::into_inner)));
    those.map(|(key, _)| key.clone()).collect()
}
