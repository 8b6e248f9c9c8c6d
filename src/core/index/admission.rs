//! Which objects of a namespace are served: the oldest that this version can decode, as far as the
//! namespace's bounds allow.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::Arc;

use jiff::Timestamp;
use kube::runtime::reflector::{Lookup, ObjectRef};

use crate::core::report::refusal::{Bound, Refusal};

/// The most that the specs of a namespace's objects of one kind may take, in bytes of JSON.
pub(super) const SPECS_MAX: usize = 8 << 20;

/// The bounds of each namespace.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NamespaceLimits {
    /// The most apps.
    pub apps: usize,
    /// The most organisations of all apps together.
    pub corps: usize,
    /// The most references.
    pub references: usize,
}

impl Default for NamespaceLimits {
    fn default() -> Self {
        Self {
            apps: usize::MAX,
            corps: usize::MAX,
            references: usize::MAX,
        }
    }
}

/// The bounds on the objects of one kind.
#[derive(Clone, Copy, Debug)]
struct Limits {
    objects: usize,
    corps: usize,
    too_many: fn(usize) -> Bound,
}

/// What an object counts for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Load {
    /// Its organisations.
    pub corps: usize,
    /// Its spec, in bytes.
    pub spec: usize,
}

/// The older goes first, on a tie that of the lower UID: the same after a restart, which lists by name.
pub(super) type Age = (Timestamp, String);

struct Namespace<Key> {
    served: BTreeMap<Age, (Key, Load)>,
    refused: BTreeMap<Age, (Key, Load)>,
    total: Load,
}

impl<Key> Default for Namespace<Key> {
    fn default() -> Self {
        Self {
            served: BTreeMap::new(),
            refused: BTreeMap::new(),
            total: Load::default(),
        }
    }
}

impl<Key: Clone> Namespace<Key> {
    fn bound_past(&self, load: Load, limits: &Limits) -> Option<Bound> {
        if self.served.len() >= limits.objects {
            Some((limits.too_many)(limits.objects))
        } else if self.total.corps + load.corps > limits.corps {
            Some(Bound::Corps(limits.corps))
        } else if self.total.spec + load.spec > SPECS_MAX {
            Some(Bound::Specs(SPECS_MAX))
        } else {
            None
        }
    }

    fn is_past(&self, limits: &Limits) -> bool {
        self.served.len() > limits.objects
            || self.total.corps > limits.corps
            || self.total.spec > SPECS_MAX
    }

    fn serve(&mut self, age: Age, key: Key, load: Load) {
        self.total.corps += load.corps;
        self.total.spec += load.spec;
        self.served.insert(age, (key, load));
    }

    fn unserve(&mut self, age: &Age) -> Option<(Key, Load)> {
        let (key, load) = self.served.remove(age)?;
        self.total.corps -= load.corps;
        self.total.spec -= load.spec;
        Some((key, load))
    }

    /// Serves as many as there is room for; every object that is served is older than every one that
    /// is not.
    fn balance(&mut self, limits: &Limits, moved: &mut Moved<Key>) {
        while self.is_past(limits) {
            let Some((age, _)) = self.served.last_key_value() else {
                break;
            };
            let age = age.clone();
            if let Some((key, load)) = self.unserve(&age) {
                moved.refused.push(key.clone());
                self.refused.insert(age, (key, load));
            }
        }
        while let Some(entry) = self.refused.first_entry() {
            let load = entry.get().1;
            if self.bound_past(load, limits).is_some() {
                break;
            }
            if let Some((age, (key, load))) = self.refused.pop_first() {
                moved.served.push(key.clone());
                self.serve(age, key, load);
            }
        }
    }
}

/// Objects that are served from now on, or no longer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Moved<Key> {
    /// Served from now on.
    pub served: Vec<Key>,
    /// No longer served.
    pub refused: Vec<Key>,
}

impl<Key> Default for Moved<Key> {
    fn default() -> Self {
        Self {
            served: Vec::new(),
            refused: Vec::new(),
        }
    }
}

/// What an object is known by: its namespace counts it.
pub(super) trait Namespaced: Clone + Eq + Hash {
    /// Its namespace.
    fn namespace(&self) -> &str;
}

impl<K: Lookup<DynamicType = ()> + Clone> Namespaced for ObjectRef<K> {
    fn namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or_default()
    }
}

/// See the module.
pub(super) struct Admission<Key> {
    limits: Limits,
    namespaces: HashMap<String, Namespace<Key>>,
    ages: HashMap<Key, Age>,
    unsupported: HashMap<Key, Arc<str>>,
}

impl<Key: Namespaced> Admission<Key> {
    /// Of apps.
    pub(super) fn of_apps(limits: NamespaceLimits) -> Self {
        Self::new(Limits {
            objects: limits.apps,
            corps: limits.corps,
            too_many: Bound::Apps,
        })
    }

    /// Of references.
    pub(super) fn of_references(limits: NamespaceLimits) -> Self {
        Self::new(Limits {
            objects: limits.references,
            corps: usize::MAX,
            too_many: Bound::References,
        })
    }

    fn new(limits: Limits) -> Self {
        Self {
            limits,
            namespaces: HashMap::new(),
            ages: HashMap::new(),
            unsupported: HashMap::new(),
        }
    }

    /// Records whether an object can be decoded, or why not; returns whether it can be from now
    /// on.
    pub(super) fn decoded(&mut self, key: &Key, error: Option<&str>) -> bool {
        match error {
            Some(error) => {
                self.unsupported.insert(key.clone(), error.into());
                false
            }
            None => self.unsupported.remove(key).is_some(),
        }
    }

    /// Counts an object, in place of what it counted for before; returns the others that this moves,
    /// and itself if it moves.
    pub(super) fn put(&mut self, key: &Key, age: &Age, load: Load) -> Moved<Key> {
        let mut moved = Moved::default();
        let was_served = self.take(key);
        let name = key.namespace().to_owned();
        let namespace = self.namespaces.entry(name).or_default();
        self.ages.insert(key.clone(), age.clone());
        let oldest_refused = namespace.refused.first_key_value();
        if oldest_refused.is_some_and(|(oldest, _)| oldest < age) {
            namespace.refused.insert(age.clone(), (key.clone(), load));
        } else {
            namespace.serve(age.clone(), key.clone(), load);
        }
        namespace.balance(&self.limits, &mut moved);
        let is_served = namespace.served.contains_key(age);
        // It may have been moved back and forth here.
        moved.served.retain(|other| other != key);
        moved.refused.retain(|other| other != key);
        match (was_served, is_served) {
            (Some(false), true) => moved.served.push(key.clone()),
            (Some(true) | None, false) => moved.refused.push(key.clone()),
            _ => {}
        }
        moved
    }

    /// Forgets an object; returns the others that there is room for now.
    pub(super) fn remove(&mut self, key: &Key) -> Moved<Key> {
        let mut moved = Moved::default();
        self.take(key);
        self.ages.remove(key);
        self.unsupported.remove(key);
        let name = key.namespace();
        if let Some(namespace) = self.namespaces.get_mut(name) {
            namespace.balance(&self.limits, &mut moved);
            if namespace.served.is_empty() && namespace.refused.is_empty() {
                self.namespaces.remove(name);
            }
        }
        moved
    }

    /// Every object that is known, served or not.
    pub(super) fn known(&self) -> impl Iterator<Item = &Key> {
        self.ages.keys()
    }

    /// Why an object is not served; `None` if it is, or is not known.
    pub(super) fn refusal(&self, key: &Key) -> Option<Refusal> {
        if let Some(error) = self.unsupported.get(key) {
            return Some(Refusal::UnsupportedSpec(Arc::clone(error)));
        }
        let age = self.ages.get(key)?;
        let namespace = self.namespaces.get(key.namespace())?;
        namespace.refused.get(age)?;
        let (_, (_, first)) = namespace.refused.first_key_value()?;
        let bound = namespace.bound_past(*first, &self.limits)?;
        Some(Refusal::PastBound(bound))
    }

    /// How many apps of a namespace are not served.
    pub(super) fn refused_in(&self, namespace: &str) -> usize {
        let namespace = self.namespaces.get(namespace);
        namespace.map_or(0, |namespace| namespace.refused.len())
    }

    /// Takes an object out without looking at the others; returns whether it was served.
    fn take(&mut self, key: &Key) -> Option<bool> {
        let age = self.ages.get(key)?;
        let namespace = self.namespaces.get_mut(key.namespace())?;
        if namespace.unserve(age).is_some() {
            return Some(true);
        }
        namespace.refused.remove(age).map(|_| false)
    }
}

#[cfg(test)]
mod tests;
