//! Maps whose values are collections or sums.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

/// Takes something away from the value under a key, and the key as well if nothing is left.
pub(super) fn take_away<K, Q, V, T>(
    map: &mut HashMap<K, V>,
    key: &Q,
    take: impl FnOnce(&mut V) -> T,
) where
    K: Borrow<Q> + Eq + Hash,
    Q: Eq + Hash + ?Sized,
    V: Default + PartialEq,
{
    if let Some(value) = map.get_mut(key) {
        take(value);
        if *value == V::default() {
            map.remove(key);
        }
    }
}
