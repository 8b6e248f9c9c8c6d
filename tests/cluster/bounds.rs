//! What a tenant makes large stays small in the operator.

use futures::StreamExt;
use k8s_openapi::api::core::v1::Secret;
use kube::api::PostParams;
use serde_json::{Value, json};

use crate::support::{CLIENT_ID, CLIENT_SECRET, Sandbox, shared_plane};

/// The most that the operator may have used at any time, in KiB: half of its container's limit. It
/// uses about 50,000 in these tests; without a bound, several times this.
const PEAK_MAX: u64 = 128 * 1024;
/// Annotations of one Secret, in bytes; the API server takes 256 KiB.
const HEAVY: usize = 250_000;

/// Creates Secrets with heavy annotations, and with what `more` adds to their metadata.
async fn heavy_secrets(sandbox: &Sandbox, name: &str, count: usize, more: &Value) {
    let secrets = sandbox.api::<Secret>();
    let create = |n: usize| {
        let mut secret = json!({"metadata": {"name": format!("{name}-{n}")}});
        for (field, value) in more.as_object().expect("an object") {
            secret["metadata"][field] = value.clone();
        }
        secret["metadata"]["annotations"]["heavy"] = "x".repeat(HEAVY).into();
        let secrets = secrets.clone();
        async move {
            let secret: Secret = serde_json::from_value(secret).expect("a Secret");
            let created = secrets.create(&PostParams::default(), &secret).await;
            created.expect("created");
        }
    };
    futures::stream::iter((0..count).map(create))
        .buffer_unordered(8)
        .collect::<Vec<()>>()
        .await;
}

/// Fails where the operator used more memory than it may; prints what it used.
fn assert_peak(sandbox: &Sandbox, what: &str) {
    let operator = sandbox.operator.as_ref().expect("running");
    let peak = operator.peak_memory();
    println!("{what}: {peak} KiB at most");
    assert!(peak < PEAK_MAX, "{what}: {peak} KiB");
}

#[tokio::test]
async fn lists_of_heavy_secrets_take_no_memory() {
    let mut sandbox = Sandbox::without_operator("bounds-lists", shared_plane().await).await;
    heavy_secrets(&sandbox, "unrelated", 400, &json!({})).await;
    sandbox
        .credentials("payroll-credentials", CLIENT_ID, CLIENT_SECRET)
        .await;
    sandbox.app("payroll", "ding1").await;
    sandbox.start_operator(&[]);
    sandbox.until_ready("payroll").await;
    assert_peak(&sandbox, "400 heavy Secrets");
}

#[tokio::test]
async fn heavy_secrets_with_our_label_take_no_memory() {
    let mut sandbox = Sandbox::new("bounds-labelled").await;
    sandbox.ready_app("payroll").await;
    let (_, uid) = sandbox.kubectl(&["get", "dta", "payroll", "-o", "jsonpath={.metadata.uid}"]);
    for (name, uid) in [("forged", "no-such-uid"), ("claimed", uid.as_str())] {
        let labels = json!({
            "app.kubernetes.io/managed-by": "dingtalk-token-operator",
            "dingtalk-token-operator.github.io/app-uid": uid,
        });
        let adopt = json!({"dingtalk-token-operator.github.io/adopt-by": "payroll"});
        let more = json!({"labels": labels, "annotations": adopt});
        heavy_secrets(&sandbox, name, 300, &more).await;
    }
    assert_peak(&sandbox, "600 heavy Secrets with our label, watched");
    sandbox.stop_operator();
    sandbox.start_operator(&[]);
    sandbox.until_watching().await;
    assert_peak(&sandbox, "600 heavy Secrets with our label, listed");
    assert_eq!(sandbox.stub.calls("ding1").len(), 1);
}
