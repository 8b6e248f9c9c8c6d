//! A namespace whose objects are slow to write holds up no other.

use std::net::TcpListener;

use dingtalk_token_operator::api::{DingTalkApp, DingTalkTokenReference};
use futures::StreamExt as _;
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use kube::Api;
use kube::api::PostParams;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::support::{Object, Operator, Plane, Sandbox};

/// If they took everything that the operator works with, everybody else would wait for twice as long
/// as these tests do.
const OBJECTS: usize = 1200;
/// How long the API server takes for a write, which fails then.
const SECONDS: u8 = 10;
const SLOW: &str = "slow";
const API: &str = "dingtalk-token-operator.github.io/v1alpha1";

/// A namespace of which writes of these resources hang, and an operator for all namespaces.
struct Ground {
    sandbox: Sandbox,
    operator: Operator,
    _webhook: TcpListener,
    /// Last: it ends after all that needs it.
    _plane: Plane,
}

impl Ground {
    async fn new(resources: &[&str], flags: &[&str]) -> Self {
        let plane = Plane::start().await;
        let sandbox = Sandbox::without_operator("prompt", &plane).await;
        create_in_cluster::<Namespace>(&sandbox, json!({"metadata": {"name": SLOW}})).await;
        let rights = json!({
            "metadata": {"name": "dingtalk-token-operator"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
                "name": "dingtalk-token-operator"},
            "subjects": [{"kind": "ServiceAccount", "name": "operator",
                "namespace": sandbox.namespace}],
        });
        create_in_cluster::<ClusterRoleBinding>(&sandbox, rights).await;
        // Connections are taken by the kernel, and never looked at.
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let webhook = json!({
            "metadata": {"name": SLOW},
            "webhooks": [{
                "name": "slow.example.com",
                "clientConfig": {"url": format!("https://{address}/")},
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": SLOW}},
                "rules": [{"apiGroups": ["*"], "apiVersions": ["*"], "resources": resources,
                    "operations": ["CREATE", "UPDATE"]}],
                "timeoutSeconds": SECONDS, "failurePolicy": "Fail",
                "sideEffects": "None", "admissionReviewVersions": ["v1"],
            }],
        });
        create_in_cluster::<ValidatingWebhookConfiguration>(&sandbox, webhook).await;
        let site = format!("global={}", sandbox.stub.url());
        let arguments = [&["--leader-elect=false", "--allow-plain-http"], flags].concat();
        let operator = sandbox.launch(&[], &site, &arguments, &[]);
        Self {
            sandbox,
            operator,
            _webhook: listener,
            _plane: plane,
        }
    }

    /// Creates objects of these specs in the slow namespace.
    async fn fill<K: Object>(&self, kind: &str, spec: &Value) {
        let api: Api<K> = Api::namespaced(self.sandbox.client.clone(), SLOW);
        let create = |number: usize| {
            let object = json!({
                "apiVersion": API, "kind": kind, "metadata": {"name": format!("slow{number}")},
                "spec": spec,
            });
            let api = api.clone();
            async move {
                let object = serde_json::from_value(object).expect("an object");
                let created = api.create(&PostParams::default(), &object).await;
                created.expect("created");
            }
        };
        let creations = futures::stream::iter((0..OBJECTS).map(create)).buffer_unordered(8);
        creations.collect::<Vec<()>>().await;
    }

    /// Waits until the operator waits for the API server.
    async fn until_slow(&self) {
        self.sandbox
            .eventually("a write that fails", async || {
                let log = self.operator.log();
                log.contains("write failed").then_some(())
            })
            .await;
    }
}

async fn create_in_cluster<K>(sandbox: &Sandbox, object: Value)
where
    K: kube::Resource<DynamicType = ()> + Clone + std::fmt::Debug + Serialize + DeserializeOwned,
{
    let object: K = serde_json::from_value(object).expect("an object");
    let api: Api<K> = Api::all(sandbox.client.clone());
    let created = api.create(&PostParams::default(), &object).await;
    created.expect("created");
}

#[tokio::test]
async fn copies_that_are_slow_to_write_hold_up_no_others() {
    let ground = Ground::new(&["secrets"], &[]).await;
    let sandbox = &ground.sandbox;
    sandbox.ready_app("payroll").await;
    let grants = json!([{"namespace": SLOW}, {"namespace": sandbox.namespace}]);
    let grants = json!({"spec": {"referenceGrants": grants}});
    sandbox.merge::<DingTalkApp>("payroll", grants).await;
    let spec = json!({"appRef": {"namespace": sandbox.namespace, "name": "payroll"}});
    ground
        .fill::<DingTalkTokenReference>("DingTalkTokenReference", &spec)
        .await;
    ground.until_slow().await;
    let reference = json!({
        "apiVersion": API, "kind": "DingTalkTokenReference", "metadata": {"name": "copy"},
        "spec": spec,
    });
    sandbox
        .apply::<DingTalkTokenReference>("copy", reference)
        .await;
    sandbox
        .eventually("the copy", async || sandbox.token("copy-token").await)
        .await;
}

#[tokio::test]
async fn refusals_that_are_slow_to_write_hold_up_nobody() {
    let resources = ["dingtalkapps/status", "dingtalktokenreferences/status"];
    let flags = ["--max-apps-per-namespace=1"];
    let ground = Ground::new(&resources, &flags).await;
    let spec = json!({
        "credentialsSecretRef": {"name": "credentials"}, "site": "global", "corpIds": ["ding1"],
    });
    ground.fill::<DingTalkApp>("DingTalkApp", &spec).await;
    ground.until_slow().await;
    ground.sandbox.ready_app("payroll").await;
}
