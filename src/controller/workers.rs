//! Limits concurrent work, so that a namespace whose objects are slow to read and write holds up no
//! other.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::hash::Hash;
use std::ops::Bound;
use std::sync::{Mutex, PoisonError};

/// Objects that are reconciled at once. They only wait for the API server, never for DingTalk.
pub(super) const CONCURRENCY: u16 = 64;

#[derive(Debug)]
struct Namespace<K> {
    busy: usize,
    waiting: VecDeque<K>,
    known: HashSet<K>,
}

impl<K> Default for Namespace<K> {
    fn default() -> Self {
        Self {
            busy: 0,
            waiting: VecDeque::new(),
            known: HashSet::new(),
        }
    }
}

#[derive(Debug)]
struct State<K> {
    namespaces: BTreeMap<String, Namespace<K>>,
    busy: usize,
    served_last: String,
}

/// The workers for the objects that `K` names.
#[derive(Debug)]
pub(super) struct Workers<K>(Mutex<State<K>>);

impl<K> Default for Workers<K> {
    fn default() -> Self {
        Self(Mutex::new(State {
            namespaces: BTreeMap::new(),
            busy: 0,
            served_last: String::new(),
        }))
    }
}

impl<K: Clone + Eq + Hash> Workers<K> {
    /// Takes a worker for an object, if its namespace uses less than half of those that the others
    /// leave. Otherwise the object waits until [`Workers::end`] returns it.
    pub(super) fn begin(&self, namespace: &str, object: &K) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.has_room(namespace) {
            state.busy += 1;
            state.of(namespace).busy += 1;
            return true;
        }
        let of = state.of(namespace);
        if of.known.insert(object.clone()) {
            of.waiting.push_back(object.clone());
        }
        false
    }

    /// Returns a worker, and the object to be woken next.
    pub(super) fn end(&self, namespace: &str) -> Option<K> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.busy = state.busy.saturating_sub(1);
        let of = state.of(namespace);
        of.busy = of.busy.saturating_sub(1);
        if of.busy == 0 && of.waiting.is_empty() {
            state.namespaces.remove(namespace);
        }
        state.next()
    }
}

impl<K: Clone + Eq + Hash> State<K> {
    fn of(&mut self, namespace: &str) -> &mut Namespace<K> {
        self.namespaces.entry(namespace.to_owned()).or_default()
    }

    fn has_room(&self, namespace: &str) -> bool {
        let own = self.namespaces.get(namespace).map_or(0, |of| of.busy);
        let others = self.busy - own;
        own < (usize::from(CONCURRENCY).saturating_sub(others) / 2).max(1)
    }

    /// Returns the next waiting object; namespaces with room take turns.
    fn next(&mut self) -> Option<K> {
        let after = (Bound::Excluded(self.served_last.as_str()), Bound::Unbounded);
        let later = self.namespaces.range::<str, _>(after);
        let all = later.chain(&self.namespaces);
        let mut waiting = all.filter(|(_, of)| !of.waiting.is_empty());
        let (namespace, _) = waiting.find(|(namespace, _)| self.has_room(namespace))?;
        let namespace = namespace.clone();
        let of = self.of(&namespace);
        let object = of.waiting.pop_front()?;
        of.known.remove(&object);
        self.served_last = namespace;
        Some(object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_leaves_half_of_the_workers_to_others_and_its_objects_have_their_turn() {
        let workers = Workers::default();
        let begun = (0..100).filter(|n| workers.begin("hostile", n)).count();
        assert_eq!(begun, 32);
        assert!(workers.begin("calm", &1000), "at once");
        assert_eq!(workers.end("calm"), None, "half are busy");
        // An object that is requested again while it waits is queued once.
        assert!(!workers.begin("hostile", &99));
        let mut woken = Vec::new();
        for _ in 0..68 {
            let next = workers.end("hostile").expect("one waits");
            assert!(workers.begin("hostile", &next));
            woken.push(next);
        }
        let expected: Vec<i32> = (32..100).collect();
        assert_eq!(woken, expected);
        for _ in 0..begun {
            assert_eq!(workers.end("hostile"), None);
        }
        let state = workers.0.lock().expect("no panic");
        assert!(state.namespaces.is_empty() && state.busy == 0);
    }

    #[test]
    fn namespaces_that_wait_take_turns() {
        let workers = Workers::default();
        let mut begun = Vec::new();
        for namespace in 0..200 {
            let name = format!("{namespace:03}");
            for object in 0..3 {
                if workers.begin(&name, &(namespace, object)) {
                    begun.push(name.clone());
                }
            }
        }
        let mut woken = Vec::new();
        while let Some(name) = begun.pop() {
            if let Some(next) = workers.end(&name) {
                assert!(workers.begin(&format!("{:03}", next.0), &next));
                begun.insert(0, format!("{:03}", next.0));
                woken.push(next.0);
            }
        }
        let first: HashSet<_> = woken.iter().take(150).collect();
        assert!(first.len() >= 140, "{}", first.len());
    }
}
