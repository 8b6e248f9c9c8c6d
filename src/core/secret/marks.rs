//! What is kept of a Secret only for comparison: fingerprints, such as those of the keys and values of
//! its labels and annotations.
//!
//! Whoever may edit a Secret can give it 256 KiB of annotations, whose text is not needed.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::LazyLock;

/// Keyed differently in each process, so that nobody can prepare two values with one fingerprint.
static HASH: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// Fingerprints of labels or annotations.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Marks(Box<[(u64, u64)]>);

impl Marks {
    /// Returns the fingerprints of a map.
    pub(crate) fn of(map: &BTreeMap<String, String>) -> Self {
        let marks = map
            .iter()
            .map(|(key, value)| (fingerprint(key), fingerprint(value)));
        let mut marks: Box<[_]> = marks.collect();
        marks.sort_unstable();
        Self(marks)
    }

    /// Whether the key exists.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.value_of(key).is_some()
    }

    /// Whether a key has this value, or is absent if `value` is `None`.
    pub(crate) fn agrees(&self, key: &str, value: Option<&str>) -> bool {
        self.value_of(key) == value.map(fingerprint)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    fn value_of(&self, key: &str) -> Option<u64> {
        let key = fingerprint(key);
        let found = self.0.binary_search_by_key(&key, |(of, _)| *of).ok()?;
        self.0.get(found).map(|(_, value)| *value)
    }
}

/// Returns a number that stands for a value in comparisons within this process.
pub(crate) fn fingerprint<T: Hash + ?Sized>(value: &T) -> u64 {
    HASH.hash_one(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_is_told_from_another_by_key_and_value() {
        let map = [("a", "1"), ("b", ""), ("c", "3")];
        let map = map.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let marks = Marks::of(&map.into());
        assert!(marks.agrees("a", Some("1")) && marks.agrees("b", Some("")));
        assert!(!marks.agrees("a", Some("2")) && !marks.agrees("a", None));
        assert!(marks.agrees("d", None) && !marks.agrees("d", Some("")));
        assert!(marks.has("c") && !marks.has("1"));
        assert_eq!(marks.len(), 3);
    }
}
