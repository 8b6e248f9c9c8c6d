//! Credentials that another tool writes, each in its own way.

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::support::{CLIENT_ID, Sandbox};

const NAME: &str = "payroll-credentials";

/// How tools write a Secret.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// As External Secrets Operator does, in its own name.
    Apply,
    /// As Sealed Secrets' controller does.
    Replace,
    /// Anew, with another UID.
    DeleteAndCreate,
    /// Values that can only be changed by another Secret of the name.
    Immutable,
    /// As `kubectl patch` and Vault Secrets Operator do.
    Patch,
}

fn secret(client_secret: &str, is_immutable: bool) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "immutable": is_immutable,
        "metadata": {"name": NAME, "labels": {"app.kubernetes.io/managed-by": "another-tool"}},
        "stringData": {"client_id": CLIENT_ID, "client_secret": client_secret},
    })
}

async fn write(secrets: &Api<Secret>, way: Way, client_secret: &str) {
    let is_immutable = matches!(way, Way::Immutable);
    let wanted = secret(client_secret, is_immutable);
    let object: Secret = serde_json::from_value(wanted.clone()).expect("a Secret");
    let parameters = PostParams::default();
    match way {
        Way::Apply => {
            let parameters = PatchParams::apply("another-tool").force();
            let written = secrets
                .patch(NAME, &parameters, &Patch::Apply(&wanted))
                .await;
            written.expect("applied");
        }
        Way::Replace => {
            let written = secrets.replace(NAME, &parameters, &object).await;
            written.expect("replaced");
        }
        Way::Patch => {
            let change = json!({"stringData": {"client_secret": client_secret}});
            let parameters = PatchParams::default();
            let written = secrets
                .patch(NAME, &parameters, &Patch::Merge(&change))
                .await;
            written.expect("patched");
        }
        Way::DeleteAndCreate | Way::Immutable => {
            let deleted = secrets.delete(NAME, &DeleteParams::default()).await;
            deleted.expect("deleted");
            secrets.create(&parameters, &object).await.expect("created");
        }
    }
}

#[tokio::test]
async fn credentials_are_followed_however_another_tool_writes_them() {
    let sandbox = Sandbox::new("credentials-others").await;
    sandbox.ready_app("payroll").await;
    let secrets = sandbox.api::<Secret>();
    let ways = [
        Way::Apply,
        Way::Replace,
        Way::Patch,
        Way::DeleteAndCreate,
        Way::Immutable,
        Way::DeleteAndCreate,
    ];
    for (number, way) in ways.into_iter().enumerate() {
        let next = format!("rotated-{number}");
        sandbox.stub.set_secrets(CLIENT_ID, &[&next]);
        write(&secrets, way, &next).await;
        let calls = number + 2;
        let what = format!("a fetch with what {way:?} wrote");
        sandbox
            .eventually(&what, async || {
                (sandbox.stub.calls("ding1").len() == calls).then_some(())
            })
            .await;
        sandbox.until_ready("payroll").await;
    }
    let calls = sandbox.stub.calls("ding1");
    assert_eq!(calls.len(), ways.len() + 1, "one for each change");
}
