//! What a tenant makes large stays small in the operator.

use futures::StreamExt;
use k8s_openapi::api::core::v1::Secret;
use kube::api::PostParams;
use serde_json::{Value, json};

use crate::support::{CLIENT_ID, CLIENT_SECRET, Sandbox, shared_plane, until_next_second};

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
            "dingtalk-token-operator.github.io/owner-uid": uid,
        });
        let adopt = json!({"dingtalk-token-operator.github.io/adopt-by": "DingTalkApp/payroll"});
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

/// Regression: it was taken for an annotation of Kubernetes' own, and written without end.
#[tokio::test]
async fn an_annotation_that_only_looks_like_one_of_kubernetes_is_written_once() {
    let flag = ["--target-metadata-prefix", "mykubernetes.io/"];
    let sandbox = Sandbox::with_flags("bounds-annotation", &flag).await;
    sandbox
        .credentials("payroll-credentials", CLIENT_ID, CLIENT_SECRET)
        .await;
    let target = json!({"annotations": {"mykubernetes.io/team": "hr"}});
    sandbox
        .app_with("payroll", json!({"corpIds": ["ding1"], "target": target}))
        .await;
    sandbox.until_ready("payroll").await;
    sandbox.until_event("FirstTokenWritten").await;
    let (_, written) = sandbox.kubectl(&["get", "secret", "payroll-token", "-o", "yaml"]);
    assert!(written.contains("mykubernetes.io/team: hr"), "{written}");
    let writes = sandbox.requests();
    let writes = writes.iter().filter(|it| *it == "patch secrets").count();
    assert_eq!(writes, 0, "it was created as it is to be");
}

#[tokio::test]
async fn a_target_that_others_made_heavy_is_named_and_served_once_it_is_light() {
    let sandbox = Sandbox::new("bounds-target").await;
    sandbox.ready_app("payroll").await;
    let annotations: serde_json::Map<String, Value> = (0..300)
        .map(|n| (format!("other/{n}"), Value::from("x")))
        .collect();
    let marks = |value: &Value| json!({"metadata": {"annotations": value}});
    sandbox
        .merge::<Secret>("payroll-token", marks(&annotations.clone().into()))
        .await;
    let message = sandbox
        .until_failing("payroll", "TargetMetadataTooLarge")
        .await;
    assert!(message.contains("256 labels and annotations"), "{message}");
    let none = annotations.into_iter().map(|(key, _)| (key, Value::Null));
    let none: serde_json::Map<String, Value> = none.collect();
    sandbox
        .merge::<Secret>("payroll-token", marks(&none.into()))
        .await;
    sandbox.until_renewed("payroll").await;
    assert_eq!(sandbox.stub.calls("ding1").len(), 1, "its token was known");
}

#[tokio::test]
async fn the_youngest_apps_of_a_namespace_wait_for_room() {
    let mut sandbox = Sandbox::without_operator("bounds-apps", shared_plane().await).await;
    sandbox
        .credentials("credentials", CLIENT_ID, CLIENT_SECRET)
        .await;
    sandbox.stub.register(
        CLIENT_ID,
        CLIENT_SECRET,
        &["ding1", "ding2", "ding3", "ding4"],
    );
    let app = async |sandbox: &Sandbox, name: &str, corp_ids: &[&str]| {
        let reference = json!({"name": "credentials"});
        let target = json!({"layout": "Combined"});
        let spec =
            json!({"credentialsSecretRef": reference, "corpIds": corp_ids, "target": target});
        sandbox.app_with(name, spec).await;
    };
    // By name, the youngest come first, and times have whole seconds.
    for (name, corp_id) in [("z", "ding1"), ("y", "ding2"), ("x", "ding3")] {
        app(&sandbox, name, &[corp_id]).await;
        until_next_second().await;
    }
    let limits = ["--max-apps-per-namespace=2", "--max-corps-per-namespace=3"];
    sandbox.start_operator(&limits);
    let message = sandbox.until_failing("x", "NamespaceLimitExceeded").await;
    assert!(
        message.contains("2 DingTalkApps (--max-apps-per-namespace)"),
        "{message}"
    );
    for name in ["z", "y"] {
        sandbox.until_ready(name).await;
    }
    assert!(sandbox.stub.calls("ding3").is_empty(), "it fetches nothing");

    // Room: served without delay, and again after a restart.
    sandbox.kubectl(&["delete", "dta", "y"]);
    sandbox.until_ready("x").await;
    let token = sandbox.data("x-token").await;
    sandbox.stop_operator();
    sandbox.start_operator(&limits);
    sandbox.until_renewed("x").await;

    // An older one that grows takes the room; the token of the younger stays, and is not fetched
    // again once there is room.
    app(&sandbox, "z", &["ding1", "ding2", "ding4"]).await;
    let message = sandbox.until_failing("x", "NamespaceLimitExceeded").await;
    assert!(
        message.contains("3 corpIds in all DingTalkApps together (--max-corps-per-namespace)"),
        "{message}"
    );
    let (_, app_x) = sandbox.kubectl(&["get", "dta", "x", "-o", "json"]);
    let app_x: Value = serde_json::from_str(&app_x).expect("JSON");
    assert_eq!(app_x["status"]["corps"], Value::Null);
    assert_eq!(app_x["status"]["expirationTime"], Value::Null);
    assert_eq!(sandbox.data("x-token").await, token);
    app(&sandbox, "z", &["ding1"]).await;
    sandbox.until_ready("x").await;
    sandbox.until_renewed("x").await;
    assert_eq!(sandbox.data("x-token").await, token);
    assert_eq!(sandbox.stub.calls("ding3").len(), 1);
    app(&sandbox, "x", &["ding3", "ding4"]).await;
    sandbox
        .until("both", "x", |app| {
            (app.status.as_ref()?.tokens.as_deref() == Some("2/2")).then_some(())
        })
        .await;
}
