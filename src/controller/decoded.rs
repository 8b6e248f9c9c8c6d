//! Objects of a list or a watch, each decoded on its own.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use kube::Resource;
use kube::runtime::watcher::Event;
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer};
use serde_json::{Map, Value};

use super::metadata::Metadata;
use crate::dingtalk::Redactor;

/// An object, or what is known about one that this version cannot decode, for example because a
/// newer version wrote it. Such an object must not end the list or watch of all others.
#[derive(Clone, Debug)]
pub(super) enum Decoded<K> {
    /// The object.
    Object(K),
    /// What is known about an object that cannot be decoded.
    Unsupported(Box<Unsupported>),
}

/// What is known about an object that cannot be decoded.
#[derive(Clone, Debug)]
pub(super) struct Unsupported {
    /// The metadata that is needed.
    pub metadata: ObjectMeta,
    /// The conditions of its status, if they can be decoded.
    pub conditions: Vec<Condition>,
    /// Where and why decoding failed.
    pub error: String,
}

#[derive(Deserialize)]
struct Envelope {
    metadata: Metadata,
    #[serde(flatten)]
    others: Map<String, Value>,
}

impl<'de, K: Resource + DeserializeOwned> Deserialize<'de> for Decoded<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let envelope = Envelope::deserialize(deserializer)?;
        let Metadata(metadata) = envelope.metadata;
        let mut value = envelope.others;
        value.insert("metadata".to_owned(), Value::Object(Map::new()));
        let value = Value::Object(value);
        let error = match serde_path_to_error::deserialize::<_, K>(&value) {
            Ok(mut object) => {
                *object.meta_mut() = metadata;
                return Ok(Self::Object(object));
            }
            Err(error) => error,
        };
        let conditions = value.pointer("/status/conditions");
        let conditions = conditions.and_then(|conditions| Vec::deserialize(conditions).ok());
        Ok(Self::Unsupported(Box::new(Unsupported {
            metadata: bare(metadata),
            conditions: conditions.unwrap_or_default(),
            error: described(&error),
        })))
    }
}

/// Keeps only the metadata that is needed of an object that is not handled: a tenant can make the
/// rest large.
fn bare(metadata: ObjectMeta) -> ObjectMeta {
    ObjectMeta {
        name: metadata.name,
        namespace: metadata.namespace,
        uid: metadata.uid,
        resource_version: metadata.resource_version,
        generation: metadata.generation,
        creation_timestamp: metadata.creation_timestamp,
        deletion_timestamp: metadata.deletion_timestamp,
        ..ObjectMeta::default()
    }
}

/// Returns the error without characters that hide or reorder text, because it may quote the object.
fn described(error: &serde_path_to_error::Error<serde_json::Error>) -> String {
    let path = error.path().to_string();
    let nothing = Redactor::new(std::iter::empty(), []);
    nothing
        .clean(&error.to_string())
        .or_else(|| nothing.clean(&path))
        .unwrap_or_default()
}

impl<K> Decoded<K> {
    /// Returns the object, if it could be decoded.
    pub(super) fn object(&self) -> Option<&K> {
        match self {
            Self::Object(object) => Some(object),
            Self::Unsupported(_) => None,
        }
    }
}

impl<K: Resource> Decoded<K> {
    /// Returns only the metadata.
    pub(super) fn into_metadata(mut self) -> ObjectMeta {
        std::mem::take(self.meta_mut())
    }
}

impl<K: Resource> Resource for Decoded<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(dynamic: &Self::DynamicType) -> Cow<'_, str> {
        K::kind(dynamic)
    }

    fn group(dynamic: &Self::DynamicType) -> Cow<'_, str> {
        K::group(dynamic)
    }

    fn version(dynamic: &Self::DynamicType) -> Cow<'_, str> {
        K::version(dynamic)
    }

    fn plural(dynamic: &Self::DynamicType) -> Cow<'_, str> {
        K::plural(dynamic)
    }

    fn metadata_api() -> bool {
        K::metadata_api()
    }

    fn meta(&self) -> &ObjectMeta {
        match self {
            Self::Object(object) => object.meta(),
            Self::Unsupported(unsupported) => &unsupported.metadata,
        }
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        match self {
            Self::Object(object) => object.meta_mut(),
            Self::Unsupported(unsupported) => &mut unsupported.metadata,
        }
    }
}

/// Converts an event's object.
pub(super) fn map_object<A, B>(event: Event<A>, map: impl FnOnce(A) -> B) -> Event<B> {
    match event {
        Event::Apply(object) => Event::Apply(map(object)),
        Event::Delete(object) => Event::Delete(map(object)),
        Event::Init => Event::Init,
        Event::InitApply(object) => Event::InitApply(map(object)),
        Event::InitDone => Event::InitDone,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{DingTalkApp, DingTalkTokenReference};
    use k8s_openapi::api::core::v1::Secret;
    use kube::core::{ObjectList, PartialObjectMeta};
    use serde_json::json;

    fn app(name: &str, layout: &str) -> Value {
        json!({
            "apiVersion": "dingtalk-token-operator.github.io/v1alpha1", "kind": "DingTalkApp",
            "metadata": {"name": name, "namespace": "hr", "uid": "u1"},
            "spec": {
                "credentialsSecretRef": {"name": "credentials"}, "site": "global",
                "corpIds": ["ding1"], "target": {"layout": layout},
            },
            "status": {"corps": 1, "conditions": [{
                "type": "Ready", "status": "True", "reason": "TokensValid", "message": "",
                "lastTransitionTime": "2026-11-23T02:06:38Z",
            }]},
        })
    }

    #[test]
    fn one_that_cannot_be_decoded_says_where_and_leaves_the_others_of_a_list() {
        let mut good = app("good", "Single");
        good["status"] = json!({});
        let list = json!({
            "apiVersion": "dingtalk-token-operator.github.io/v1alpha1", "kind": "DingTalkAppList",
            "metadata": {"resourceVersion": "1"},
            "items": [app("odd", "Rou\u{202e}nd"), good],
        });
        let list: ObjectList<Decoded<DingTalkApp>> = serde_json::from_value(list).expect("a list");
        let [Decoded::Unsupported(odd), Decoded::Object(good)] = list.items.as_slice() else {
            panic!("{list:?}");
        };
        assert!(
            odd.error.starts_with("spec.target.layout: unknown variant"),
            "{}",
            odd.error
        );
        assert!(!odd.error.contains('\u{202e}'), "{}", odd.error);
        assert_eq!(odd.metadata.uid.as_deref(), Some("u1"));
        assert_eq!(odd.conditions[0].reason, "TokensValid");
        assert_eq!(good.spec.site, "global");
    }

    #[test]
    fn of_one_that_cannot_be_decoded_nothing_heavy_is_kept() {
        let heavy = "x".repeat(100_000);
        let mut odd = app("odd", "Round");
        odd["metadata"] = json!({
            "name": "odd", "namespace": "hr", "uid": "u1", "resourceVersion": "7", "generation": 3,
            "creationTimestamp": "2026-11-23T02:06:38Z", "labels": {"a": heavy},
            "annotations": {"a": heavy}, "finalizers": [heavy], "managedFields": [{"manager": heavy}],
            "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": heavy, "uid": "x"}],
        });
        let decoded: Decoded<DingTalkApp> = serde_json::from_value(odd).expect("decoded");
        let kept = serde_json::to_value(decoded.meta()).expect("JSON");
        let expected = json!({
            "name": "odd", "namespace": "hr", "uid": "u1", "resourceVersion": "7", "generation": 3,
            "creationTimestamp": "2026-11-23T02:06:38Z",
        });
        assert_eq!(kept, expected);
    }

    #[test]
    fn managed_fields_that_cannot_be_decoded_are_left_out() {
        let deep = format!("{}{{}}{}", r#"{"f:x":"#.repeat(200), "}".repeat(200));
        let odd = [
            r#""time": "9999-12-31T23:59:59Z""#.to_owned(),
            r#""time": "10000-01-01T11:59:59Z""#.to_owned(),
            r#""time": "-0001-12-31T12:00:00Z""#.to_owned(),
            format!(r#""fieldsV1": {deep}"#),
        ];
        for odd in odd {
            let managed = format!(r#"[{{"manager": "a"}}, {{"manager": "b", {odd}}}]"#);
            let mut item = app("payroll", "Single");
            item["status"] = json!({});
            item["metadata"]["managedFields"] = "?".into();
            let item = item.to_string().replace(r#""?""#, &managed);
            let head = r#""kind": "List", "apiVersion": "v1", "metadata": {}"#;
            let list = format!(r#"{{{head}, "items": [{item}]}}"#);
            let apps: ObjectList<Decoded<DingTalkApp>> =
                serde_json::from_str(&list).expect("a list");
            let Decoded::Object(app) = &apps.items[0] else {
                panic!("{odd}: {apps:?}");
            };
            assert_eq!(app.metadata.uid.as_deref(), Some("u1"));
            // Keeping only the other entry would make somebody else's fields look like nobody's.
            assert_eq!(app.metadata.managed_fields, None);
            let secrets: ObjectList<Decoded<PartialObjectMeta<Secret>>> =
                serde_json::from_str(&list).expect("a list");
            assert_eq!(secrets.items[0].meta().managed_fields, None);
            assert_eq!(secrets.items[0].meta().uid.as_deref(), Some("u1"));
        }
        let fine =
            json!([{"manager": "a", "time": "2026-11-23T02:06:38Z", "fieldsV1": {"f:x": {}}}]);
        let mut item = app("payroll", "Single");
        item["metadata"]["managedFields"] = fine.clone();
        let kept: Decoded<PartialObjectMeta<Secret>> =
            serde_json::from_value(item).expect("metadata");
        let kept = serde_json::to_value(&kept.meta().managed_fields).expect("JSON");
        assert_eq!(kept, fine);
    }

    #[test]
    fn a_reference_is_decoded_for_itself_too() {
        let reference = json!({
            "apiVersion": "dingtalk-token-operator.github.io/v1alpha1",
            "kind": "DingTalkTokenReference", "metadata": {"name": "copy", "namespace": "web"},
            "spec": {"appRef": {"namespace": "hr", "name": "payroll", }, "target": {"name": 1}},
        });
        let decoded: Decoded<DingTalkTokenReference> =
            serde_json::from_value(reference).expect("decoded");
        let Decoded::Unsupported(odd) = &decoded else {
            panic!("{decoded:?}");
        };
        assert!(
            odd.error.starts_with("spec.target.name: invalid type"),
            "{}",
            odd.error
        );
        assert_eq!(decoded.meta().name.as_deref(), Some("copy"));
    }
}
