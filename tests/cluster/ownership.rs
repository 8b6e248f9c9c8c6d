//! Secrets of others, and apps that name the same one.

use dingtalk_token_operator::api::DingTalkApp;
use k8s_openapi::api::core::v1::Secret;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use crate::support::{CLIENT_ID, CLIENT_SECRET, Sandbox, until_next_second};

fn foreign(annotations: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": "payroll-token", "annotations": annotations},
        "stringData": {"access_token": "theirs", "other": "kept"},
    })
}

#[tokio::test]
async fn a_secret_of_others_is_not_touched_until_it_is_handed_over() {
    let sandbox = Sandbox::new("owner-foreign").await;
    sandbox
        .apply::<Secret>("payroll-token", foreign(&json!({})))
        .await;
    let before = sandbox
        .api::<Secret>()
        .get("payroll-token")
        .await
        .expect("a Secret");
    sandbox
        .credentials("payroll-credentials", CLIENT_ID, CLIENT_SECRET)
        .await;
    sandbox.app("payroll", "ding1").await;
    let message = sandbox.until_failing("payroll", "SecretConflict").await;
    assert!(
        message.contains("adopt-by=DingTalkApp/payroll"),
        "{message}"
    );
    let after = sandbox
        .api::<Secret>()
        .get("payroll-token")
        .await
        .expect("a Secret");
    assert_eq!(before, after);

    let adopt_by = |owner: &str| json!({"dingtalk-token-operator.github.io/adopt-by": owner});
    // A name alone could be meant for an app or for a reference.
    for owner in ["payroll", "DingTalkTokenReference/payroll"] {
        sandbox
            .apply::<Secret>("payroll-token", foreign(&adopt_by(owner)))
            .await;
    }
    // The operator has seen them once it has served another app.
    sandbox.app("marker", "ding2").await;
    sandbox.until_failing("marker", "CredentialsNotFound").await;
    let kept = sandbox.data("payroll-token").await.expect("a Secret");
    assert_eq!(kept["access_token"], "theirs");
    sandbox
        .apply::<Secret>("payroll-token", foreign(&adopt_by("DingTalkApp/payroll")))
        .await;
    sandbox.until_renewed("payroll").await;
    let adopted = sandbox
        .api::<Secret>()
        .get("payroll-token")
        .await
        .expect("a Secret");
    assert_eq!(adopted.data.expect("data")["other"].0, b"kept");
    let token = sandbox.token("payroll-token").await.expect("a token");
    assert!(sandbox.stub.accepts(&token.value));
    assert_eq!(sandbox.stub.calls("ding1").len(), 1, "fetched once");
}

#[tokio::test]
async fn the_conflict_ends_with_the_secret_in_the_way() {
    let sandbox = Sandbox::new("owner-removed").await;
    sandbox
        .apply::<Secret>("payroll-token", foreign(&json!({})))
        .await;
    sandbox
        .credentials("payroll-credentials", CLIENT_ID, CLIENT_SECRET)
        .await;
    sandbox.app("payroll", "ding1").await;
    sandbox.until_failing("payroll", "SecretConflict").await;
    sandbox
        .api::<Secret>()
        .delete("payroll-token", &DeleteParams::default())
        .await
        .expect("deleted");
    sandbox.until_renewed("payroll").await;
    assert_eq!(
        sandbox.stub.calls("ding1").len(),
        1,
        "the token was kept for it"
    );
}

#[tokio::test]
async fn of_two_apps_that_name_one_secret_the_older_has_it() {
    let sandbox = Sandbox::new("owner-two").await;
    for name in ["old", "young"] {
        sandbox
            .credentials(&format!("{name}-credentials"), CLIENT_ID, CLIENT_SECRET)
            .await;
    }
    let spec = json!({"corpIds": ["ding1"], "target": {"name": "the-token"}});
    sandbox.app_with("old", spec.clone()).await;
    sandbox.until_ready("old").await;
    // Creation times have whole seconds.
    until_next_second().await;
    sandbox.app_with("young", spec).await;
    let message = sandbox.until_failing("young", "SecretConflict").await;
    assert!(message.contains("older DingTalkApp old"), "{message}");
    assert_eq!(
        sandbox.stub.calls("ding1").len(),
        1,
        "nothing is fetched for the loser"
    );
    sandbox
        .api::<DingTalkApp>()
        .delete("old", &DeleteParams::default())
        .await
        .expect("deleted");
    sandbox.until_renewed("young").await;
    let app = sandbox
        .api::<DingTalkApp>()
        .get("young")
        .await
        .expect("the app");
    sandbox
        .eventually("its own Secret", async || {
            let secret = sandbox.api::<Secret>().get_opt("the-token").await.ok()??;
            (secret.metadata.owner_references?.first()?.uid == *app.metadata.uid.as_ref()?)
                .then_some(())
        })
        .await;
}
