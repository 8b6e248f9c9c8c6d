//! Objects that users write, and objects that the operator writes.

use std::collections::BTreeMap;
use std::fmt::Debug;

use dingtalk_token_operator::api::{ANNOTATION_STATE, DingTalkApp, DingTalkTokenReference};
use jiff::Timestamp;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::events::v1::Event;
use kube::api::{Patch, PatchParams};
use kube::{Api, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{CLIENT_ID, CLIENT_SECRET, Sandbox};

/// An object in a namespace, of any kind.
pub trait Object:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + DeserializeOwned
    + Serialize
{
}

impl<K> Object for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Serialize
{
}

impl Sandbox {
    pub fn api<K: Object>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub async fn credentials(&self, name: &str, client_id: &str, client_secret: &str) {
        self.apply::<Secret>(
            name,
            json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name},
                "stringData": {"client_id": client_id, "client_secret": client_secret},
            }),
        )
        .await;
    }

    /// Applies an app with one corp.
    pub async fn app(&self, name: &str, corp_id: &str) {
        self.app_with(name, json!({"corpIds": [corp_id]})).await;
    }

    /// Applies an app with these fields in its spec. Its credentials are in the Secret `<name>-credentials`.
    pub async fn app_with(&self, name: &str, spec: Value) {
        let mut app = json!({
            "apiVersion": "dingtalk-token-operator.github.io/v1alpha1", "kind": "DingTalkApp",
            "metadata": {"name": name},
            "spec": {"credentialsSecretRef": {"name": format!("{name}-credentials")}, "site": "global"},
        });
        for (field, value) in spec.as_object().expect("an object") {
            app["spec"][field] = value.clone();
        }
        self.apply::<DingTalkApp>(name, app).await;
    }

    /// Applies a reference to an app.
    pub async fn reference(&self, name: &str, namespace: &str, app: &str) {
        let reference = json!({
            "apiVersion": "dingtalk-token-operator.github.io/v1alpha1",
            "kind": "DingTalkTokenReference", "metadata": {"name": name},
            "spec": {"appRef": {"namespace": namespace, "name": app}},
        });
        self.apply::<DingTalkTokenReference>(name, reference).await;
    }

    /// Applies an app `never` that gets no token, and a reference `copy` to an app that does not exist.
    pub async fn never_ready(&self) {
        let spec = json!({"corpIds": ["ding1"], "site": "nowhere"});
        self.app_with("never", spec).await;
        self.reference("copy", &self.namespace, "absent").await;
    }

    /// Applies an app with its credentials, and waits until it is ready.
    pub async fn ready_app(&self, name: &str) {
        self.credentials(&format!("{name}-credentials"), CLIENT_ID, CLIENT_SECRET)
            .await;
        self.app(name, "ding1").await;
        self.until_ready(name).await;
    }

    pub async fn apply<K: Object>(&self, name: &str, object: Value) {
        let apply = PatchParams::apply("test").force();
        self.api::<K>()
            .patch(name, &apply, &Patch::Apply(object))
            .await
            .expect("applied");
    }

    pub async fn merge<K: Object>(&self, name: &str, patch: Value) {
        let parameters = PatchParams {
            field_manager: Some("test".into()),
            ..Default::default()
        };
        self.api::<K>()
            .patch(name, &parameters, &Patch::Merge(patch))
            .await
            .expect("patched");
    }

    /// Requests a renewal of an app.
    pub async fn renew(&self, name: &str) {
        let at = Timestamp::now().to_string();
        let annotations = json!({"dingtalk-token-operator.github.io/renew-requested-at": at});
        self.merge::<DingTalkApp>(name, json!({"metadata": {"annotations": annotations}}))
            .await;
    }

    pub async fn token(&self, secret: &str) -> Option<Token> {
        let secret = self.api::<Secret>().get_opt(secret).await.ok()??;
        let text = |key: &str| {
            let value = secret.data.as_ref()?.get(key)?;
            String::from_utf8(value.0.clone()).ok()
        };
        Some(Token {
            value: text("access_token")?,
            expires_at: text("expires_at")?.parse().ok()?,
            corp_id: text("corp_id")?,
        })
    }

    /// Returns a part of a Secret's annotation `state`, by a JSON pointer.
    pub async fn state(&self, secret: &str, pointer: &str) -> Option<Value> {
        let secret = self.api::<Secret>().get_opt(secret).await.ok()??;
        let state = secret.metadata.annotations?.remove(ANNOTATION_STATE)?;
        let state: Value = serde_json::from_str(&state).ok()?;
        state.pointer(pointer).cloned()
    }

    pub async fn version_of(&self, secret: &str) -> Option<String> {
        let secret = self.api::<Secret>().get_opt(secret).await.ok()??;
        secret.metadata.resource_version
    }

    /// Returns all keys of a Secret with their values.
    pub async fn data(&self, secret: &str) -> Option<BTreeMap<String, String>> {
        let secret = self.api::<Secret>().get_opt(secret).await.ok()??;
        let text = |(key, value): (String, k8s_openapi::ByteString)| {
            (key, String::from_utf8_lossy(&value.0).into_owned())
        };
        Some(secret.data?.into_iter().map(text).collect())
    }

    pub async fn events(&self, reason: &str) -> Vec<String> {
        let events = self
            .api::<Event>()
            .list(&Default::default())
            .await
            .expect("events");
        events
            .into_iter()
            .filter(|event| event.reason.as_deref() == Some(reason))
            .map(|event| event.note.unwrap_or_default())
            .collect()
    }
}

/// Returns the reason and message of a condition; `None` if it does not have this status.
pub fn condition(app: &DingTalkApp, type_: &str, status: &str) -> Option<(String, String)> {
    app.status
        .as_ref()?
        .conditions
        .iter()
        .find(|condition| condition.type_ == type_ && condition.status == status)
        .map(|condition| (condition.reason.clone(), condition.message.clone()))
}

#[derive(Clone, Debug, PartialEq)]
pub struct Token {
    pub value: String,
    pub expires_at: Timestamp,
    pub corp_id: String,
}
