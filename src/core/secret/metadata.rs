//! Which labels and annotations of a target a spec may set.

use std::collections::BTreeMap;

/// Returns the first key without an allowed prefix. Other controllers act on labels and annotations
/// of Secrets: replicators copy a Secret into other namespaces, past `spec.referenceGrants`, and
/// others read their own configuration from it.
pub(crate) fn forbidden_key<'a>(
    labels: &'a BTreeMap<String, String>,
    annotations: &'a BTreeMap<String, String>,
    allowed: &[String],
) -> Option<&'a str> {
    let is_allowed = |key: &str| allowed.iter().any(|prefix| key.starts_with(prefix));
    let mut keys = labels.keys().chain(annotations.keys());
    keys.find(|key| !is_allowed(key)).map(String::as_str)
}

/// Drops the labels and annotations of a spec that is refused because of one of them: its key
/// suffices for the message, and a spec may carry 128 KiB of others.
pub(crate) fn forget_forbidden(
    labels: &mut BTreeMap<String, String>,
    annotations: &mut BTreeMap<String, String>,
    allowed: &[String],
) {
    let Some(forbidden) = forbidden_key(labels, annotations, allowed).map(str::to_owned) else {
        return;
    };
    for map in [labels, annotations] {
        map.retain(|key, _| *key == forbidden);
        for value in map.values_mut() {
            *value = String::new();
        }
    }
}

/// Explains what to do about a key that is not allowed.
pub(crate) fn forbidden_message(key: &str, allowed: &[String]) -> String {
    let allowed = match allowed {
        [] => "it allows none now".to_owned(),
        some => format!("it allows {} now", some.join(", ")),
    };
    format!(
        "spec.target sets the label or annotation {key}, which this operator does not allow: remove \
         it, or have a prefix of it allowed by the operator's flag --target-metadata-prefix ({allowed})"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(key: &str) -> BTreeMap<String, String> {
        BTreeMap::from([(key.to_owned(), "x".to_owned())])
    }

    #[test]
    fn only_keys_with_an_allowed_prefix_may_be_set() {
        let none = BTreeMap::new();
        let example = ["example.com/".to_owned(), "team".to_owned()];
        let key = "reflector.v1.k8s.emberstack.com/reflection-allowed";
        assert_eq!(forbidden_key(&none, &none, &[]), None);
        assert_eq!(forbidden_key(&map("team"), &none, &[]), Some("team"));
        assert_eq!(forbidden_key(&none, &map(key), &example), Some(key));
        let (labels, annotations) = (map("team"), map("example.com/a"));
        assert_eq!(forbidden_key(&labels, &annotations, &example), None);
        // A prefix matches only at the key's beginning.
        let inside = map("not.example.com/");
        assert!(forbidden_key(&inside, &none, &example).is_some());
        let message = forbidden_message(key, &example);
        for part in [key, "--target-metadata-prefix", "example.com/, team"] {
            assert!(message.contains(part), "{message}");
        }
        assert!(forbidden_message(key, &[]).contains("allows none"));
    }

    #[test]
    fn of_metadata_that_is_refused_only_the_key_that_is_named_is_kept() {
        let large = |count: usize| -> BTreeMap<String, String> {
            let keys = (0..count).map(|number| format!("example.com/{number}"));
            keys.map(|key| (key, "x".repeat(4096))).collect()
        };
        let (mut labels, mut annotations) = (BTreeMap::new(), large(32));
        forget_forbidden(&mut labels, &mut annotations, &["example.com/".to_owned()]);
        assert_eq!(
            (&labels, &annotations),
            (&BTreeMap::new(), &large(32)),
            "allowed"
        );
        let named = forbidden_key(&labels, &annotations, &[]).map(str::to_owned);
        forget_forbidden(&mut labels, &mut annotations, &[]);
        let kept: Vec<_> = annotations.iter().collect();
        assert_eq!(kept.len(), 1);
        assert_eq!((Some(kept[0].0), kept[0].1.as_str()), (named.as_ref(), ""));
        assert_eq!(forbidden_key(&labels, &annotations, &[]), named.as_deref());
    }
}
