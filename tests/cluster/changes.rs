//! Changes of mind: the new Secret is complete before the old one goes, and nothing is left over.

use dingtalk_token_operator::api::DingTalkApp;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, PropagationPolicy};
use serde_json::{Value, json};

use crate::support::{ALLOW_METADATA, CLIENT_ID, CLIENT_SECRET, Sandbox};

const CORPS: [&str; 2] = ["ding1", "ding2"];

async fn sandbox(name: &str) -> Sandbox {
    let sandbox = Sandbox::with_flags(name, &ALLOW_METADATA).await;
    sandbox.stub.register(CLIENT_ID, CLIENT_SECRET, &CORPS);
    sandbox
        .credentials("payroll-credentials", CLIENT_ID, CLIENT_SECRET)
        .await;
    sandbox
}

/// Applies the target; waits until exactly these Secrets are ours and each holds what it should.
async fn change(sandbox: &Sandbox, corps: &[&str], target: Value, expected: &[&str]) {
    let spec = json!({"corpIds": corps, "target": target});
    sandbox.app_with("payroll", spec).await;
    sandbox
        .until("the new spec observed", "payroll", |app| {
            let observed = app.status.as_ref()?.observed_generation;
            (observed == app.metadata.generation).then_some(())
        })
        .await;
    sandbox
        .eventually(&format!("only {expected:?}"), async || {
            let mut names = sandbox.managed_secrets().await;
            names.sort();
            (names == expected).then_some(())
        })
        .await;
    sandbox.until_renewed("payroll").await;
}

#[tokio::test]
async fn a_renamed_target_and_a_changed_layout_carry_the_tokens_over_without_a_fetch() {
    let mut sandbox = sandbox("change-layout").await;
    let single = ["ding1"];
    change(&sandbox, &single, json!({"name": "a"}), &["a"]).await;
    let first = sandbox.token("a").await.expect("a token");
    change(&sandbox, &single, json!({"name": "b"}), &["b"]).await;
    assert_eq!(sandbox.token("b").await, Some(first.clone()));
    // A new process has only the Secrets to go by.
    sandbox.stop_operator();
    sandbox.start_operator(&[]);
    let shared = json!({"name": "b", "layout": "Combined"});
    change(&sandbox, &single, shared, &["b"]).await;
    let data = sandbox.data("b").await.expect("a Secret");
    assert_eq!(data.len(), 2, "{data:?}");
    assert_eq!(data["ding1.access_token"], first.value);
    sandbox.kill_operator();
    sandbox.start_operator(&[]);
    let each = json!({"name": "b", "layout": "PerCorp"});
    change(&sandbox, &CORPS, each, &["b-ding1", "b-ding2"]).await;
    assert_eq!(sandbox.token("b-ding1").await, Some(first.clone()));
    let shared = json!({"name": "c", "layout": "Combined"});
    change(&sandbox, &CORPS, shared, &["c"]).await;
    change(&sandbox, &single, json!({"name": "a"}), &["a"]).await;
    assert_eq!(sandbox.token("a").await, Some(first));
    assert_eq!(sandbox.stub.calls("ding1").len(), 1);
    assert_eq!(sandbox.stub.calls("ding2").len(), 1);
}

#[tokio::test]
async fn a_change_while_the_operator_is_away_is_finished_by_the_next() {
    let mut sandbox = sandbox("change-away").await;
    change(&sandbox, &["ding1"], json!({"name": "a"}), &["a"]).await;
    sandbox.kill_operator();
    let spec = json!({"corpIds": ["ding1"], "target": {"name": "b"}});
    sandbox.app_with("payroll", spec).await;
    sandbox.start_operator(&[]);
    sandbox
        .eventually("only b", async || {
            (sandbox.managed_secrets().await == ["b"]).then_some(())
        })
        .await;
    assert_eq!(sandbox.stub.calls("ding1").len(), 1);
}

#[tokio::test]
async fn the_old_secret_stays_until_the_new_one_is_complete() {
    let sandbox = sandbox("change-blocked").await;
    change(&sandbox, &["ding1"], json!({"name": "a"}), &["a"]).await;
    let foreign = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "b"},
        "stringData": {"mine": "x"},
    });
    sandbox.apply::<Secret>("b", foreign).await;
    let spec = json!({"corpIds": ["ding1"], "target": {"name": "b"}});
    sandbox.app_with("payroll", spec).await;
    sandbox.until_failing("payroll", "SecretConflict").await;
    assert!(
        sandbox.token("a").await.is_some(),
        "the pods keep reading it"
    );
    sandbox
        .merge::<Secret>(
            "b",
            json!({"metadata": {"annotations":
                {"dingtalk-token-operator.github.io/adopt-by": "DingTalkApp/payroll"}}}),
        )
        .await;
    sandbox
        .eventually("the old one gone", async || {
            (sandbox.managed_secrets().await == ["b"]).then_some(())
        })
        .await;
    let data = sandbox.data("b").await.expect("a Secret");
    assert_eq!(data["mine"], "x", "what was there stays");
    assert_eq!(sandbox.stub.calls("ding1").len(), 1);
}

#[tokio::test]
async fn a_copy_that_somebody_made_of_our_secret_is_theirs() {
    let sandbox = sandbox("change-copy").await;
    change(&sandbox, &["ding1"], json!({"name": "a"}), &["a"]).await;
    let secret = sandbox.api::<Secret>().get("a").await.expect("a Secret");
    let copy = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {
            "name": "backup", "labels": secret.metadata.labels,
            "annotations": secret.metadata.annotations,
        },
        "data": secret.data,
    });
    sandbox.apply::<Secret>("backup", copy).await;
    sandbox
        .app_with(
            "payroll",
            json!({"corpIds": ["ding1"], "target": {"name": "b"}}),
        )
        .await;
    sandbox
        .eventually("a gone", async || {
            let mut names = sandbox.managed_secrets().await;
            names.sort();
            (names == ["b", "backup"]).then_some(())
        })
        .await;
    sandbox.until_renewed("payroll").await;
    sandbox.until_caught_up().await;
    assert!(sandbox.token("backup").await.is_some());
}

#[tokio::test]
async fn retain_keeps_the_secret_and_delete_lets_it_go() {
    let mut sandbox = sandbox("change-retain").await;
    let owners = async |sandbox: &Sandbox| -> Option<usize> {
        let secret = sandbox.api::<Secret>().get_opt("a").await.ok()??;
        Some(secret.metadata.owner_references.unwrap_or_default().len())
    };
    let retain = json!({"name": "a", "deletionPolicy": "Retain"});
    change(&sandbox, &["ding1"], retain.clone(), &["a"]).await;
    assert_eq!(owners(&sandbox).await, Some(0), "from the start");
    change(&sandbox, &["ding1"], json!({"name": "a"}), &["a"]).await;
    sandbox
        .eventually("an owner", async || {
            (owners(&sandbox).await == Some(1)).then_some(())
        })
        .await;
    change(&sandbox, &["ding1"], retain.clone(), &["a"]).await;
    sandbox
        .eventually("no owner", async || {
            (owners(&sandbox).await == Some(0)).then_some(())
        })
        .await;
    let deletion = DeleteParams {
        propagation_policy: Some(PropagationPolicy::Foreground),
        ..DeleteParams::default()
    };
    let apps = sandbox.api::<DingTalkApp>();
    apps.delete("payroll", &deletion).await.expect("deleted");
    sandbox
        .eventually("the app gone", async || {
            apps.get_opt("payroll").await.ok()?.is_none().then_some(())
        })
        .await;
    let token = sandbox.token("a").await;
    assert!(token.is_some(), "it stays");
    // Recreated, while the operator is away: the token is taken over.
    sandbox.stop_operator();
    sandbox.start_operator(&[]);
    change(&sandbox, &["ding1"], retain, &["a"]).await;
    assert_eq!(sandbox.token("a").await, token);
    assert_eq!(sandbox.stub.calls("ding1").len(), 1);
}

#[tokio::test]
async fn labels_and_annotations_that_are_not_wanted_any_more_go() {
    let sandbox = sandbox("change-labels").await;
    let target = json!({"name": "a", "labels": {"team": "hr"}, "annotations": {"note": "x"}});
    change(&sandbox, &["ding1"], target, &["a"]).await;
    sandbox
        .merge::<Secret>("a", json!({"metadata": {"labels": {"others": "stay"}}}))
        .await;
    change(&sandbox, &["ding1"], json!({"name": "a"}), &["a"]).await;
    sandbox
        .eventually("no label of ours", async || {
            let secret = sandbox.api::<Secret>().get("a").await.ok()?;
            let labels = secret.metadata.labels?;
            let annotations = secret.metadata.annotations?;
            let are_gone = !labels.contains_key("team") && !annotations.contains_key("note");
            (are_gone && labels["others"] == "stay").then_some(())
        })
        .await;
    assert_eq!(sandbox.stub.calls("ding1").len(), 1);
}
