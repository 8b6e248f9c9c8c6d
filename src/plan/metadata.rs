//! Which labels and annotations of a target a spec may set.

use std::collections::BTreeMap;

/// The first key that begins with none of the prefixes that the operator allows. Other controllers act
/// on labels and annotations of Secrets: replicators copy a Secret into other namespaces, past
/// `spec.referenceGrants`, and others read their own configuration from it.
pub fn forbidden_key<'a>(
    labels: &'a BTreeMap<String, String>,
    annotations: &'a BTreeMap<String, String>,
    allowed: &[String],
) -> Option<&'a str> {
    let is_allowed = |key: &&String| {
        allowed
            .iter()
            .any(|prefix| key.starts_with(prefix.as_str()))
    };
    let mut keys = labels.keys().chain(annotations.keys());
    keys.find(|key| !is_allowed(key)).map(String::as_str)
}

/// What to do about a key that is not allowed.
pub fn forbidden_message(key: &str, allowed: &[String]) -> String {
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
        // A prefix counts from the key's beginning only.
        let inside = map("not.example.com/");
        assert!(forbidden_key(&inside, &none, &example).is_some());
        let message = forbidden_message(key, &example);
        for part in [key, "--target-metadata-prefix", "example.com/, team"] {
            assert!(message.contains(part), "{message}");
        }
        assert!(forbidden_message(key, &[]).contains("allows none"));
    }
}
