//! Checks the metadata of objects like the API server.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

use super::schema::{Fault, field, unknown_field};

const FIELDS: [&str; 15] = [
    "annotations",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "labels",
    "managedFields",
    "name",
    "namespace",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];
/// Length to which the API server cuts `generateName` before it adds a suffix.
const GENERATE_NAME_CUT: usize = 58;
/// Placeholder for the suffix that the API server adds to `generateName`; only its length matters.
const SUFFIX: &str = "xxxxx";
/// Maximum length of all annotations together, in bytes.
const ANNOTATIONS_MAX: usize = 256 << 10;

/// Returns the object's name, or one like the API server would generate; empty if there is neither `name` nor
/// `generateName`.
pub(super) fn name_of(metadata: &Value) -> String {
    match (text(metadata, "name"), text(metadata, "generateName")) {
        ("", "") => String::new(),
        ("", start) => start.get(..GENERATE_NAME_CUT).unwrap_or(start).to_owned() + SUFFIX,
        (name, _) => name.to_owned(),
    }
}

fn text<'a>(metadata: &'a Value, name: &str) -> &'a str {
    metadata[name].as_str().unwrap_or_default()
}

pub(super) fn metadata_faults(metadata: &Value) -> Vec<Fault> {
    let Some(fields) = metadata.as_object() else {
        return vec![unnamed()];
    };
    let unknown = fields.keys().filter(|it| !FIELDS.contains(&it.as_str()));
    let mut found: Vec<Fault> = unknown
        .map(|name| {
            let message = unknown_field(name, FIELDS.into_iter());
            Fault::new(&field("metadata", name), message)
        })
        .collect();
    let decoded: ObjectMeta = match serde_path_to_error::deserialize(metadata) {
        Ok(decoded) => decoded,
        Err(error) => {
            let path = field("metadata", &error.path().to_string());
            found.push(Fault::new(&path, error.inner().to_string()));
            return found;
        }
    };
    found.extend(name_faults(metadata));
    let namespace = text(metadata, "namespace");
    let is_namespace = is_dns_label(namespace) && namespace.len() <= 63;
    if !namespace.is_empty() && !is_namespace {
        let message = "not a namespace: use up to 63 lower-case letters, digits and '-', beginning and ending \
                       with a letter or digit";
        found.push(Fault::new("metadata.namespace", message));
    }
    found.extend(label_faults(&decoded.labels.unwrap_or_default()));
    found.extend(annotation_faults(&decoded.annotations.unwrap_or_default()));
    found
}

fn unnamed() -> Fault {
    let message = "Required value: name or generateName is required";
    Fault::new("metadata.name", message)
}

fn name_faults(metadata: &Value) -> Option<Fault> {
    let start = text(metadata, "generateName");
    let name = name_of(metadata);
    let is_generated = text(metadata, "name").is_empty();
    if name.is_empty() {
        return Some(unnamed());
    }
    // The API server checks generateName even if there is a name.
    let is_start = start.is_empty() || is_subdomain(&without_last_hyphen(start));
    if !is_start || (is_generated && !is_subdomain(&name)) {
        return Some(Fault::new(
            "metadata.generateName",
            "not the start of a name: use lower-case letters, digits, '-' and '.', beginning with a letter or \
             digit, and ending with one or with '-'",
        ));
    }
    (!is_subdomain(&name)).then(|| {
        Fault::new(
            "metadata.name",
            "not a name: use up to 253 lower-case letters, digits, '-' and '.', beginning and ending with a \
             letter or digit",
        )
    })
}

/// Returns the start of a name as the API server checks it: with a letter in place of a hyphen at its end and of the
/// character before that.
fn without_last_hyphen(start: &str) -> String {
    let mut kept = start.chars();
    match (kept.next_back(), kept.next_back()) {
        (Some('-'), Some(_)) => kept.as_str().to_owned() + "a",
        _ => start.to_owned(),
    }
}

fn label_faults(labels: &BTreeMap<String, String>) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (key, value) in labels {
        faults.extend(key_fault("metadata.labels", key, key));
        let is_value = value.is_empty() || is_qualified(value);
        if !is_value {
            let message = "not a label's value: use up to 63 letters, digits, '-', '_' and '.', beginning and \
                           ending with a letter or digit";
            faults.push(Fault::new(&field("metadata.labels", key), message));
        }
    }
    faults
}

fn annotation_faults(annotations: &BTreeMap<String, String>) -> Vec<Fault> {
    let path = "metadata.annotations";
    let keys = annotations.keys();
    let mut faults: Vec<Fault> = keys
        .filter_map(|key| key_fault(path, key, &key.to_lowercase()))
        .collect();
    let lengths = annotations
        .iter()
        .map(|(key, value)| key.len() + value.len());
    if lengths.sum::<usize>() > ANNOTATIONS_MAX {
        let message = format!("Too long: at most {ANNOTATIONS_MAX} bytes together");
        faults.push(Fault::new(path, message));
    }
    faults
}

/// Returns a fault if the key of a label or annotation is invalid. `checked` is the key as the API server checks it.
fn key_fault(path: &str, key: &str, checked: &str) -> Option<Fault> {
    let is_valid = match checked.split_once('/') {
        Some((prefix, name)) => is_subdomain(prefix) && is_qualified(name),
        None => is_qualified(checked),
    };
    let message = "not a key: use up to 63 letters, digits, '-', '_' and '.', beginning and ending with a letter \
                   or digit, perhaps after a domain and '/'";
    (!is_valid).then(|| Fault::new(&field(path, key), message))
}

/// Whether a text is the name in a label's key, or a label's value.
fn is_qualified(text: &str) -> bool {
    let is_end = |end: Option<char>| end.is_some_and(|it| it.is_ascii_alphanumeric());
    let is_inner = |it: char| it.is_ascii_alphanumeric() || matches!(it, '-' | '_' | '.');
    let mut inner = text.chars();
    let ends = is_end(text.chars().next()) && is_end(text.chars().next_back());
    text.len() <= 63 && ends && inner.all(is_inner)
}

fn is_subdomain(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(is_dns_label)
}

fn is_dns_label(name: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let ends = !name.starts_with('-') && !name.ends_with('-');
    !name.is_empty() && ends && name.bytes().all(is_inner)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn paths(metadata: &Value) -> Vec<String> {
        let faults = metadata_faults(metadata).into_iter();
        faults.map(|it| it.path).collect()
    }

    fn none() -> Vec<String> {
        Vec::new()
    }

    #[test]
    fn the_start_of_a_generated_name_is_checked() {
        let long = "x".repeat(253);
        for start in ["a-", "a--", "a", "a.b-", "1-", long.as_str()] {
            assert_eq!(paths(&json!({ "generateName": start })), none(), "{start}");
        }
        let too_long = long.clone() + "x";
        for start in [
            "A_",
            "-",
            "--",
            "a.",
            "a.-",
            "-a",
            "授权-",
            too_long.as_str(),
        ] {
            let found = paths(&json!({ "generateName": start }));
            assert_eq!(found, ["metadata.generateName"], "{start}");
        }
        let both = json!({"name": "a", "generateName": "A_"});
        assert_eq!(paths(&both), ["metadata.generateName"]);
        let both = json!({"name": "a", "generateName": "a.-"});
        assert_eq!(paths(&both), none(), "nothing is generated");
        let both = json!({"name": "A", "generateName": "a-"});
        assert_eq!(paths(&both), ["metadata.name"]);
        let empty = json!({"name": "", "generateName": ""});
        assert_eq!(paths(&empty), ["metadata.name"]);
    }

    #[test]
    fn a_generated_name_is_cut_before_its_suffix() {
        let name = |metadata: Value| name_of(&metadata);
        assert_eq!(name(json!({"generateName": "a-"})), "a-xxxxx");
        assert_eq!(name(json!({"name": "", "generateName": "a-"})), "a-xxxxx");
        assert_eq!(name(json!({"name": "b", "generateName": "a-"})), "b");
        assert_eq!(name(json!({})), "");
        let start = "x".repeat(253);
        assert_eq!(name(json!({ "generateName": start })).len(), 63);
    }

    #[test]
    fn labels_and_annotations_are_checked() {
        let longest = "x".repeat(63);
        let labels = json!({"app": "My.App_1", "example.com/Team": "", "x": longest});
        let annotations = json!({"Example.com/Note": "any text: 授权", "note": ""});
        let good = json!({"name": "a", "labels": labels, "annotations": annotations});
        assert_eq!(paths(&good), none());
        for labels in [
            json!({"x": "a b"}),
            json!({"x": "-a"}),
            json!({"x": longest.clone() + "x"}),
        ] {
            let found = paths(&json!({"name": "a", "labels": labels}));
            assert_eq!(found, ["metadata.labels.x"], "{labels}");
        }
        for key in ["a b", "", "/a", "a/", "a/b/c", "Example.com/a"] {
            let found = paths(&json!({"name": "a", "labels": {key: "x"}}));
            assert_eq!(found.len(), 1, "{key}");
        }
        let found = paths(&json!({"name": "a", "annotations": {"a b": "x"}}));
        assert_eq!(found, ["metadata.annotations.a b"]);
        let largest = "x".repeat(ANNOTATIONS_MAX - 1);
        let annotated = |text: &str| paths(&json!({"name": "a", "annotations": {"k": text}}));
        assert_eq!(annotated(&largest), none());
        assert_eq!(annotated(&(largest + "x")), ["metadata.annotations"]);
    }
}
