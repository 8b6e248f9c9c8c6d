//! The ValidatingAdmissionPolicies: what the operator's account may not do although a role grants it,
//! and that nobody else writes in its name.

mod account;
mod field_manager;
mod renewal_request;

use std::fmt::Debug;

use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::support::{Object, Sandbox, shared_plane};

const MANAGER: &str = "dingtalk-token-operator";

/// A sandbox in whose namespace the operator's account may do everything, as far as RBAC goes, and
/// another account, `tenant`, as well; both may write Secrets of kube-system.
async fn sandbox(name: &str) -> Sandbox {
    let sandbox = Sandbox::without_operator(name, shared_plane().await).await;
    let tenant =
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "tenant"}});
    sandbox.apply::<ServiceAccount>("tenant", tenant).await;
    for namespace in [sandbox.namespace.as_str(), "kube-system"] {
        let name = format!("everything-{}", sandbox.namespace);
        let subject = |account: &str| json!({"kind": "ServiceAccount", "name": account, "namespace": sandbox.namespace});
        let role = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
            "metadata": {"name": name},
            "rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}],
        });
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
            "subjects": [subject("operator"), subject("tenant")],
        });
        let apply = PatchParams::apply("test").force();
        Api::<Role>::namespaced(sandbox.client.clone(), namespace)
            .patch(&name, &apply, &Patch::Apply(role))
            .await
            .expect("a role");
        Api::<RoleBinding>::namespaced(sandbox.client.clone(), namespace)
            .patch(&name, &apply, &Patch::Apply(binding))
            .await
            .expect("a binding");
    }
    sandbox
}

/// One account's calls in the sandbox's namespace.
struct Account<'a> {
    sandbox: &'a Sandbox,
    client: Client,
    namespace: String,
}

impl<'a> Account<'a> {
    async fn of(sandbox: &'a Sandbox, name: &str) -> Self {
        Self {
            sandbox,
            client: sandbox.as_account(name).await,
            namespace: sandbox.namespace.clone(),
        }
    }

    fn in_kube_system(&self) -> Self {
        Self {
            sandbox: self.sandbox,
            client: self.client.clone(),
            namespace: "kube-system".to_owned(),
        }
    }

    fn api<K: Object>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    async fn create<K: Object>(&self, manager: &str, object: Value) -> kube::Result<K> {
        let parameters = PostParams {
            field_manager: Some(manager.to_owned()),
            dry_run: false,
        };
        let object = serde_json::from_value(object).expect("an object");
        self.api().create(&parameters, &object).await
    }

    async fn merge<K: Object>(&self, manager: &str, name: &str, patch: Value) -> kube::Result<K> {
        let parameters = PatchParams {
            field_manager: Some(manager.to_owned()),
            ..Default::default()
        };
        self.api()
            .patch(name, &parameters, &Patch::Merge(patch))
            .await
    }

    async fn status(&self, name: &str, patch: Value) -> kube::Result<Pod> {
        let parameters = PatchParams::default();
        self.api::<Pod>()
            .patch_status(name, &parameters, &Patch::Merge(patch))
            .await
    }

    async fn delete<K: Object>(&self, name: &str) -> kube::Result<()> {
        let parameters = DeleteParams::default();
        self.api::<K>().delete(name, &parameters).await.map(drop)
    }

    /// A policy is enforced some seconds after it was made: waits for that of this forbidden call.
    async fn until_refused<T>(&self, words: &str, call: impl AsyncFn() -> kube::Result<T>) {
        let refused = async || match call().await {
            Err(kube::Error::Api(status)) => {
                let told = status.message.contains(words);
                assert!(
                    told || !status.message.contains("ValidatingAdmissionPolicy"),
                    "{}",
                    status.message
                );
                told.then_some(())
            }
            _ => None,
        };
        self.sandbox.eventually(words, refused).await;
    }
}

#[track_caller]
fn refused<T: Debug>(what: &str, words: &str, result: kube::Result<T>) {
    match result {
        Err(kube::Error::Api(status)) => {
            let message = &status.message;
            assert!(
                message.contains("ValidatingAdmissionPolicy"),
                "{what}: {message}"
            );
            assert!(message.contains(words), "{what}: {message}");
        }
        other => panic!("{what} was not refused: {other:?}"),
    }
}

#[track_caller]
fn allowed<T>(what: &str, result: kube::Result<T>) -> T {
    result.unwrap_or_else(|error| panic!("{what}: {error}"))
}

fn secret(name: &str, managed_by: Option<&str>) -> Value {
    let labels = managed_by.map(|manager| json!({"app.kubernetes.io/managed-by": manager}));
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": {"name": name, "labels": labels, "annotations": {"a": "1"}},
        "data": {"access_token": "dG9rZW4="},
    })
}

fn labelled(manager: Option<&str>) -> Value {
    json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": manager}}})
}

/// Another value of its token.
fn change() -> Value {
    json!({"data": {"access_token": "b3RoZXI="}})
}
