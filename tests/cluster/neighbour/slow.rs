//! Writes that the API server is slow to take: a webhook of the hostile namespace never answers.

use std::net::TcpListener;

use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};

use super::ground::{Ground, HOSTILE, HOSTILE_SECRET, app, credentials};

/// More than the operator works on at once, several times: if they took all its workers, everybody
/// else would wait for longer than a token has left when it is renewed.
const APPS: usize = 300;
/// Each write of theirs takes so long, and then fails.
const SECONDS: u8 = 10;
const NAME: &str = "slow";

/// Returns what the API server calls in vain.
pub async fn begin(ground: &Ground) -> TcpListener {
    // Connections are taken by the kernel, and never looked at.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let webhook: ValidatingWebhookConfiguration = serde_json::from_value(json!({
        "metadata": {"name": NAME},
        "webhooks": [{
            "name": "slow.example.com",
            "clientConfig": {"url": format!("https://{address}/")},
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": HOSTILE}},
            // The targets of these apps alone: other attacks are not to wait.
            "matchConditions": [{"name": "targets",
                "expression": format!("object.metadata.name.startsWith('{NAME}-')")}],
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["secrets"],
                "operations": ["CREATE", "UPDATE"]}],
            "timeoutSeconds": SECONDS, "failurePolicy": "Fail",
            "sideEffects": "None", "admissionReviewVersions": ["v1"],
        }],
    }))
    .expect("a webhook");
    let webhooks: Api<ValidatingWebhookConfiguration> = Api::all(ground.client());
    let created = webhooks.create(&PostParams::default(), &webhook).await;
    created.expect("the webhook");
    ground.stub().register(NAME, HOSTILE_SECRET, &[NAME]);
    ground
        .attempt_all([credentials(NAME, NAME, HOSTILE_SECRET)])
        .await;
    // One token for all of them: it is the writing that is slow.
    let apps =
        (0..APPS).map(|number| app(&format!("slow-{number}"), NAME, &json!({"corpIds": [NAME]})));
    ground.attempt_all(apps.collect::<Vec<Value>>()).await;
    listener
}
