//! One mint for many: apps with the same credentials share a token.

use std::time::Duration;

use dingtalk_stub::Repeat;
use dingtalk_token_operator::api::DingTalkApp;
use serde_json::json;

use crate::support::{CLIENT_ID, CLIENT_SECRET, Sandbox};

const RENEW: &str = "dingtalk-token-operator.github.io/renew-requested-at";

async fn apps(sandbox: &Sandbox, names: &[&str]) {
    for name in names {
        sandbox
            .credentials(&format!("{name}-credentials"), CLIENT_ID, CLIENT_SECRET)
            .await;
        sandbox.app(name, "ding1").await;
    }
    for name in names {
        sandbox.until_ready(name).await;
    }
}

async fn all_hold_a_working_token(sandbox: &Sandbox, names: &[&str], calls: usize) {
    sandbox
        .eventually("a working token in each", async || {
            for name in names {
                let token = sandbox.token(&format!("{name}-token")).await?;
                if !sandbox.stub.accepts(&token.value) {
                    return None;
                }
            }
            (sandbox.stub.calls("ding1").len() == calls).then_some(())
        })
        .await;
}

#[tokio::test]
async fn a_renewal_that_revokes_reaches_every_secret() {
    let mut sandbox = Sandbox::new("share-revoked").await;
    let revoke = |sandbox: &Sandbox| {
        sandbox
            .stub
            .configure(|settings| settings.repeat = Repeat::NewRevoked);
    };
    revoke(&sandbox);
    let names = ["one", "two", "three"];
    apps(&sandbox, &names).await;
    all_hold_a_working_token(&sandbox, &names, 1).await;
    // One is asked to renew: the others' token is revoked by that, and replaced.
    sandbox
        .merge::<DingTalkApp>("two", json!({"metadata": {"annotations": {RENEW: "1"}}}))
        .await;
    all_hold_a_working_token(&sandbox, &names, 2).await;
    // After a restart it is not known who shares, until it matters.
    sandbox.kill_operator();
    sandbox.start_operator(&[]);
    sandbox.until_watching().await;
    sandbox
        .merge::<DingTalkApp>("three", json!({"metadata": {"annotations": {RENEW: "2"}}}))
        .await;
    all_hold_a_working_token(&sandbox, &names, 3).await;
    sandbox
        .until("the request handled", "three", |app| {
            let handled = app.status.as_ref()?.last_handled_renew_request.as_deref();
            (handled == Some("2")).then_some(())
        })
        .await;
    // A newcomer after another restart takes what is there instead of revoking it.
    sandbox.kill_operator();
    sandbox.start_operator(&[]);
    sandbox.until_watching().await;
    apps(&sandbox, &["four"]).await;
    all_hold_a_working_token(&sandbox, &["one", "two", "three", "four"], 3).await;
}

#[tokio::test]
async fn an_app_with_a_wrong_secret_gets_nothing() {
    let sandbox = Sandbox::new("share-wrong").await;
    apps(&sandbox, &["right"]).await;
    sandbox
        .credentials("wrong-credentials", CLIENT_ID, "guessed")
        .await;
    sandbox.app("wrong", "ding1").await;
    sandbox.until_failing("wrong", "InvalidCredentials").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(sandbox.token("wrong-token").await, None);
    // Nor when the right one renews.
    sandbox
        .merge::<DingTalkApp>("right", json!({"metadata": {"annotations": {RENEW: "1"}}}))
        .await;
    sandbox
        .eventually("a renewal", async || {
            (sandbox.stub.calls("ding1").len() == 3).then_some(())
        })
        .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(sandbox.token("wrong-token").await, None);
    let token = sandbox.token("right-token").await.expect("a token");
    assert!(sandbox.stub.accepts(&token.value));
}
