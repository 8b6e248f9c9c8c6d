//! Which objects of a namespace are served: the oldest ones that this version can decode, within
//! the namespace's bounds.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use super::listing::in_scope;
use super::names::Namespaced;
use crate::core::report::refusal::{Bound, Refusal};

/// Most bytes of JSON that the specs of a namespace's objects of one kind may have in total.
pub(super) const SPECS_MAX: usize = 8 << 20;

/// Bounds for each namespace.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NamespaceLimits {
    /// Most apps.
    pub apps: usize,
    /// Most corps of all apps together.
    pub corps: usize,
    /// Most references.
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

/// Bounds on the objects of one kind.
#[derive(Clone, Copy, Debug)]
struct Limits {
    objects: usize,
    corps: usize,
    too_many: fn(usize) -> Bound,
}

/// How much of a bound an object uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Load {
    /// Number of corps.
    pub corps: usize,
    /// Size of the spec in bytes of JSON.
    pub spec: usize,
}

impl Load {
    pub fn of(corps: usize, spec: &impl Serialize) -> Self {
        let spec = serde_json::to_vec(spec).map_or(0, |spec| spec.len());
        Self { corps, spec }
    }
}

/// Creation time and UID: the older object takes precedence, then the lower UID. Unlike the order
/// of events, this is the same after a restart, which lists by name.
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
    /// Returns the bound that is exceeded with this many more objects, which have this load.
    fn bound_past(&self, more: usize, load: Load, limits: &Limits) -> Option<Bound> {
        if self.served.len() + more > limits.objects {
            Some((limits.too_many)(limits.objects))
        } else if self.total.corps + load.corps > limits.corps {
            Some(Bound::Corps(limits.corps))
        } else if self.total.spec + load.spec > SPECS_MAX {
            Some(Bound::Specs(SPECS_MAX))
        } else {
            None
        }
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

    /// Serves as many objects as fit. Every served object is older than every refused one.
    fn balance(&mut self, limits: &Limits) -> Moved<Key> {
        let mut moved = Moved {
            served: Vec::new(),
            refused: Vec::new(),
        };
        while self.bound_past(0, Load::default(), limits).is_some()
            && let Some(age) = self.served.keys().next_back().cloned()
            && let Some((key, load)) = self.unserve(&age)
        {
            moved.refused.push(key.clone());
            self.refused.insert(age, (key, load));
        }
        while let Some((_, first)) = self.refused.values().next()
            && self.bound_past(1, *first, limits).is_none()
            && let Some((age, (key, load))) = self.refused.pop_first()
        {
            moved.served.push(key.clone());
            self.serve(age, key, load);
        }
        moved
    }
}

/// Objects that are newly served or no longer served.
#[derive(Debug)]
pub(super) struct Moved<Key> {
    /// Newly served.
    pub served: Vec<Key>,
    /// No longer served.
    pub refused: Vec<Key>,
}

/// Which objects of one kind are served.
pub(crate) struct Admission<Key> {
    limits: Limits,
    namespaces: HashMap<String, Namespace<Key>>,
    ages: HashMap<Key, Age>,
    unsupported: HashMap<Key, Arc<str>>,
}

impl<Key: Namespaced> Admission<Key> {
    /// Creates the admission of apps.
    pub(super) fn of_apps(limits: NamespaceLimits) -> Self {
        Self::new(Limits {
            objects: limits.apps,
            corps: limits.corps,
            too_many: Bound::Apps,
        })
    }

    /// Creates the admission of references.
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

    /// Records whether an object can be decoded, or why not. Returns whether it has just become
    /// decodable and must be read together with its Secrets, which were not followed.
    pub(crate) fn decoded(&mut self, key: &Key, error: Option<&str>) -> bool {
        match error {
            Some(error) => {
                self.unsupported.insert(key.clone(), error.into());
                false
            }
            None => self.unsupported.remove(key).is_some(),
        }
    }

    /// Records an object's load, in place of its former one. Returns the objects that move because
    /// of it, including itself.
    pub(super) fn put(&mut self, key: &Key, age: &Age, load: Load) -> Moved<Key> {
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
        let mut moved = namespace.balance(&self.limits);
        let is_served = namespace.served.contains_key(age);
        // The object may have moved back and forth above.
        moved.served.retain(|other| other != key);
        moved.refused.retain(|other| other != key);
        match (was_served, is_served) {
            (Some(false), true) => moved.served.push(key.clone()),
            (Some(true) | None, false) => moved.refused.push(key.clone()),
            _ => {}
        }
        moved
    }

    /// Forgets an object and returns the others that there is now room for.
    pub(super) fn remove(&mut self, key: &Key) -> Moved<Key> {
        self.take(key);
        self.unsupported.remove(key);
        let name = key.namespace().to_owned();
        let namespace = self.namespaces.entry(name).or_default();
        let moved = namespace.balance(&self.limits);
        if namespace.served.is_empty() && namespace.refused.is_empty() {
            self.namespaces.remove(key.namespace());
        }
        moved
    }

    /// Whether the object is known, served or not.
    pub(crate) fn knows(&self, key: &Key) -> bool {
        self.ages.contains_key(key)
    }

    /// Returns the UID of a known object, served or not.
    pub(super) fn uid(&self, key: &Key) -> Option<&String> {
        self.ages.get(key).map(|(_, uid)| uid)
    }

    /// Returns every known object, served or not.
    pub(crate) fn known(&self) -> impl Iterator<Item = &Key> {
        self.ages.keys()
    }

    /// Returns the known objects of `scope` (a namespace, or all) that a list lacks.
    pub(crate) fn gone(&self, scope: Option<&str>, listed: &HashSet<Key>) -> Vec<Key> {
        let is_gone = |key: &&Key| in_scope(scope, Some(key.namespace())) && !listed.contains(*key);
        self.known().filter(is_gone).cloned().collect()
    }

    /// Returns why an object is not served; `None` if it is served or unknown.
    pub(crate) fn refusal(&self, key: &Key) -> Option<Refusal> {
        if let Some(error) = self.unsupported.get(key) {
            return Some(Refusal::UnsupportedSpec(Arc::clone(error)));
        }
        let age = self.ages.get(key)?;
        let namespace = self.namespaces.get(key.namespace())?;
        namespace.refused.get(age)?;
        let (_, (_, first)) = namespace.refused.first_key_value()?;
        let bound = namespace.bound_past(1, *first, &self.limits)?;
        Some(Refusal::PastBound(bound))
    }

    /// Returns how many objects of a namespace are past its bounds.
    pub(crate) fn refused_in(&self, namespace: &str) -> usize {
        let namespace = self.namespaces.get(namespace);
        namespace.map_or(0, |namespace| namespace.refused.len())
    }

    /// Removes an object without rebalancing. Returns whether it was served; `None` if it was
    /// unknown.
    fn take(&mut self, key: &Key) -> Option<bool> {
        let age = self.ages.remove(key)?;
        let namespace = self.namespaces.get_mut(key.namespace())?;
        if namespace.unserve(&age).is_some() {
            return Some(true);
        }
        namespace.refused.remove(&age).map(|_| false)
    }
}

#[cfg(test)]
mod tests;
