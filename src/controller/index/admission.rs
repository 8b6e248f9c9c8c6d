//! Which objects of a namespace are served: the oldest that this version can decode, as far as the
//! namespace's bounds allow.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::Arc;

use jiff::Timestamp;
use kube::runtime::reflector::{Lookup, ObjectRef};

use crate::plan::{Bound, Refusal};

/// The most that the specs of a namespace's objects of one kind may take, in bytes of JSON.
pub const SPECS_MAX: usize = 8 << 20;

/// The bounds of each namespace.
#[derive(Clone, Copy, Debug)]
pub struct NamespaceLimits {
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
pub struct Load {
    /// Its organisations.
    pub corps: usize,
    /// Its spec, in bytes.
    pub spec: usize,
}

/// The older goes first, on a tie that of the lower UID: the same after a restart, which lists by name.
pub type Age = (Timestamp, String);

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
pub struct Moved<Key> {
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
pub trait Namespaced: Clone + Eq + Hash {
    /// Its namespace.
    fn namespace(&self) -> &str;
}

impl<K: Lookup<DynamicType = ()> + Clone> Namespaced for ObjectRef<K> {
    fn namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or_default()
    }
}

/// See the module.
pub struct Admission<Key> {
    limits: Limits,
    namespaces: HashMap<String, Namespace<Key>>,
    ages: HashMap<Key, Age>,
    unsupported: HashMap<Key, Arc<str>>,
}

impl<Key: Namespaced> Admission<Key> {
    /// Of apps.
    pub fn of_apps(limits: NamespaceLimits) -> Self {
        Self::new(Limits {
            objects: limits.apps,
            corps: limits.corps,
            too_many: Bound::Apps,
        })
    }

    /// Of references.
    pub fn of_references(limits: NamespaceLimits) -> Self {
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

    /// Takes note of whether an object can be decoded, or why not; returns whether it can be from now
    /// on.
    pub fn decoded(&mut self, key: &Key, error: Option<&str>) -> bool {
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
    pub fn put(&mut self, key: &Key, age: &Age, load: Load) -> Moved<Key> {
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
    pub fn remove(&mut self, key: &Key) -> Moved<Key> {
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
    pub fn known(&self) -> impl Iterator<Item = &Key> {
        self.ages.keys()
    }

    /// Why an object is not served; `None` if it is, or is not known.
    pub fn refusal(&self, key: &Key) -> Option<Refusal> {
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
    pub fn refused_in(&self, namespace: &str) -> usize {
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
mod tests {
    use super::*;
    use crate::controller::index::AppRef;

    fn app(n: i64) -> AppRef {
        AppRef::new(&format!("app{n}")).within("hr")
    }

    fn age(n: i64) -> Age {
        let created = Timestamp::from_second(n).expect("a time");
        (created, format!("u{n}"))
    }

    fn load(corps: usize) -> Load {
        Load { corps, spec: 100 }
    }

    fn refused(admission: &Admission<AppRef>, apps: impl Iterator<Item = i64>) -> Vec<i64> {
        apps.filter(|n| admission.refusal(&app(*n)).is_some())
            .collect()
    }

    fn with(apps: usize, corps: usize) -> Admission<AppRef> {
        Admission::of_apps(NamespaceLimits {
            apps,
            corps,
            references: 0,
        })
    }

    #[test]
    fn the_youngest_are_refused_in_whatever_order_they_are_listed() {
        for order in [[1, 2, 3, 4, 5], [5, 4, 3, 2, 1], [3, 5, 1, 4, 2]] {
            let mut admission = with(3, usize::MAX);
            for n in order {
                admission.put(&app(n), &age(n), load(1));
            }
            assert_eq!(refused(&admission, 1..6), [4, 5], "{order:?}");
            let bound = admission.refusal(&app(5));
            assert_eq!(bound, Some(Refusal::PastBound(Bound::Apps(3))));
        }
    }

    #[test]
    fn room_serves_the_oldest_that_waits() {
        let mut admission = with(2, usize::MAX);
        for n in 1..5 {
            admission.put(&app(n), &age(n), load(1));
        }
        let moved = admission.remove(&app(1));
        assert_eq!((moved.served, moved.refused), (vec![app(3)], vec![]));
        assert_eq!(admission.remove(&app(4)), Moved::default());
        assert!(refused(&admission, 1..5).is_empty());
        for n in 2..4 {
            admission.remove(&app(n));
        }
        assert!(admission.namespaces.is_empty() && admission.ages.is_empty());
    }

    #[test]
    fn corps_and_specs_count_and_an_older_app_that_grows_pushes_the_youngest_out() {
        let mut admission = with(usize::MAX, 10);
        for n in 1..4 {
            admission.put(&app(n), &age(n), load(3));
        }
        assert!(refused(&admission, 1..4).is_empty());
        let moved = admission.put(&app(1), &age(1), load(6));
        assert_eq!((moved.served, moved.refused), (vec![], vec![app(3)]));
        let bound = admission.refusal(&app(3));
        assert_eq!(bound, Some(Refusal::PastBound(Bound::Corps(10))));
        let moved = admission.put(&app(1), &age(1), load(4));
        assert_eq!((moved.served, moved.refused), (vec![app(3)], vec![]));
        let heavy = Load {
            corps: 0,
            spec: SPECS_MAX,
        };
        let moved = admission.put(&app(9), &age(9), heavy);
        assert_eq!(moved.refused, [app(9)]);
        let bound = admission.refusal(&app(9));
        assert_eq!(bound, Some(Refusal::PastBound(Bound::Specs(SPECS_MAX))));
        assert_eq!(admission.put(&app(9), &age(9), load(0)).served, [app(9)]);
    }

    #[test]
    fn an_update_that_changes_nothing_moves_nobody() {
        let mut admission = with(2, usize::MAX);
        for n in 1..4 {
            admission.put(&app(n), &age(n), load(1));
        }
        for n in 1..4 {
            assert_eq!(admission.put(&app(n), &age(n), load(1)), Moved::default());
        }
        assert_eq!(refused(&admission, 1..4), [3]);
    }

    #[test]
    fn namespaces_do_not_count_for_each_other() {
        let mut admission = with(1, usize::MAX);
        let other = AppRef::new("app").within("web");
        admission.put(&app(1), &age(1), load(1));
        admission.put(&other, &age(2), load(1));
        assert_eq!(admission.refusal(&other), None);
    }

    /// The same as counting a namespace anew after each change.
    #[test]
    fn it_is_what_a_recount_gives() {
        let limits = NamespaceLimits {
            apps: 6,
            corps: 12,
            references: 0,
        };
        let mut admission = Admission::of_apps(limits);
        let mut apps: BTreeMap<Age, (i64, usize)> = BTreeMap::new();
        let mut state: u64 = 7;
        for _ in 0..3000 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let n = i64::try_from(state >> 33).unwrap_or_default() % 12;
            let corps = usize::try_from(state >> 50).unwrap_or_default() % 6;
            let before = refused(&admission, 0..12);
            let was_known = apps.contains_key(&age(n));
            let moved = if state & (1 << 40) == 0 {
                apps.remove(&age(n));
                admission.remove(&app(n))
            } else {
                apps.insert(age(n), (n, corps));
                admission.put(&app(n), &age(n), load(corps))
            };
            let (mut count, mut total, mut expected) = (0, 0, Vec::new());
            for (n, corps) in apps.values() {
                let fits = count < limits.apps && total + corps <= limits.corps;
                if !expected.is_empty() || !fits {
                    expected.push(*n);
                    continue;
                }
                count += 1;
                total += corps;
            }
            expected.sort_unstable();
            assert_eq!(refused(&admission, 0..12), expected);
            for other in (0..12).filter(|other| *other != n || was_known) {
                if !apps.contains_key(&age(other)) {
                    continue;
                }
                let (was, is) = (before.contains(&other), expected.contains(&other));
                assert_eq!(moved.refused.contains(&app(other)), !was && is);
                assert_eq!(moved.served.contains(&app(other)), was && !is);
            }
        }
    }
}
