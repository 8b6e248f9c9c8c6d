//! Objects of `deploy`.

use serde_json::Value;

/// Returns the admission policies, with the account's name in a [`super::Sandbox`].
pub fn policies() -> Vec<Value> {
    let deployed = include_str!("../../../deploy/base/admission-policy.yaml");
    let account = ":dingtalk-token-operator$";
    assert!(deployed.contains(account));
    documents(&deployed.replace(account, ":operator$"))
}

/// Returns an object of `deploy/rbac/role.yaml`.
pub(super) fn deployed(kind: &str) -> Value {
    document(include_str!("../../../deploy/rbac/role.yaml"), kind)
}

/// Returns the objects of a YAML text.
pub fn documents(text: &str) -> Vec<Value> {
    use serde::Deserialize as _;
    serde_yaml_ng::Deserializer::from_str(text)
        .map(|document| Value::deserialize(document).expect("YAML"))
        .collect()
}

/// Returns the first object of a kind in a YAML text.
pub fn document(text: &str, kind: &str) -> Value {
    documents(text)
        .into_iter()
        .find(|object| object["kind"] == kind)
        .expect("deployed")
}
