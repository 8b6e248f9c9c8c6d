//! Objects of a list or a watch, each decoded for itself.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use kube::Resource;
use kube::runtime::watcher::Event;
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error};
use serde_json::Value;

use crate::dingtalk::Redactor;

/// An object, or what can be said of one that this version cannot decode, such as one with a value
/// that a newer version wrote. It must not end the list or the watch of all others.
#[derive(Clone, Debug)]
pub enum Decoded<K> {
    /// The object.
    Object(K),
    /// What is known of one that cannot be decoded.
    Unsupported(Box<Unsupported>),
}

/// See [`Decoded`].
#[derive(Clone, Debug)]
pub struct Unsupported {
    /// Its metadata.
    pub metadata: ObjectMeta,
    /// The conditions of its status, where those can be decoded.
    pub conditions: Vec<Condition>,
    /// Where it cannot be decoded, and why.
    pub error: String,
}

#[derive(Deserialize)]
struct Envelope {
    metadata: ObjectMeta,
}

impl<'de, K: DeserializeOwned> Deserialize<'de> for Decoded<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let error = match serde_path_to_error::deserialize(&value) {
            Ok(object) => return Ok(Self::Object(object)),
            Err(error) => error,
        };
        let envelope = Envelope::deserialize(&value).map_err(D::Error::custom)?;
        let conditions = value.pointer("/status/conditions");
        let conditions = conditions.and_then(|conditions| Vec::deserialize(conditions).ok());
        Ok(Self::Unsupported(Box::new(Unsupported {
            metadata: envelope.metadata,
            conditions: conditions.unwrap_or_default(),
            error: described(&error),
        })))
    }
}

/// The error without characters that hide or reorder what is read: it may quote the object.
fn described(error: &serde_path_to_error::Error<serde_json::Error>) -> String {
    let path = error.path().to_string();
    let nothing = Redactor::new(std::iter::empty(), []);
    nothing
        .clean(&error.to_string())
        .or_else(|| nothing.clean(&path))
        .unwrap_or_default()
}

impl<K> Decoded<K> {
    /// Changes an object that could be decoded.
    pub fn modify(&mut self, change: impl FnOnce(&mut K)) {
        if let Self::Object(object) = self {
            change(object);
        }
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

/// The same event, of another type of object.
pub fn map_object<A, B>(event: Event<A>, map: impl FnOnce(A) -> B) -> Event<B> {
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
    use kube::core::ObjectList;
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
