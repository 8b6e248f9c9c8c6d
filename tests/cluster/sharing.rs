//! One fetch for many: apps with the same credentials share a token.

use dingtalk_stub::Repeat;
use dingtalk_token_operator::api::DingTalkApp;
use dingtalk_token_operator::core::Data;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::api::PostParams;
use serde_json::json;
use std::collections::BTreeMap;

use crate::support::{CLIENT_ID, CLIENT_SECRET, Sandbox, shared_plane};

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
            // First: a token that was looked at before the last fetch may be revoked by it.
            if sandbox.stub.calls("ding1").len() != calls {
                return None;
            }
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
    sandbox.until_caught_up().await;
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
    sandbox.until_caught_up().await;
    assert_eq!(sandbox.token("wrong-token").await, None);
    let token = sandbox.token("right-token").await.expect("a token");
    assert!(sandbox.stub.accepts(&token.value));
}

/// An app that fetches nothing, and a Secret that pretends to hold its token.
async fn forge(sandbox: &Sandbox, manager: &str, requested_at: Timestamp) {
    sandbox
        .credentials("bait-credentials", CLIENT_ID, CLIENT_SECRET)
        .await;
    sandbox
        .app_with("bait", json!({"corpIds": ["ding1"], "suspend": true}))
        .await;
    let bait = sandbox.api::<DingTalkApp>().get("bait").await.expect("it");
    let credentials = sandbox.api::<Secret>().get("bait-credentials").await;
    let credentials = credentials.expect("it").metadata;
    let expires_at = requested_at + jiff::SignedDuration::from_hours(2);
    let data = BTreeMap::from([
        ("access_token", "forged".to_owned()),
        ("corp_id", "ding1".to_owned()),
        ("expires_at", expires_at.to_string()),
    ]);
    let group = "dingtalk-token-operator.github.io";
    let state = json!({
        "version": 1, "site": "global", "clientId": CLIENT_ID,
        "credentials": {"uid": credentials.uid, "resourceVersion": credentials.resource_version},
        "keys": data.keys().collect::<Vec<_>>(), "digest": digest(&data),
        "tokens": {"ding1": {"at": requested_at.as_second(), "for": 7200}},
    });
    let annotations = json!({
        format!("{group}/owner"): "DingTalkApp/bait",
        format!("{group}/site"): "global",
        format!("{group}/corp-id"): "ding1",
        format!("{group}/expires-at"): expires_at.to_string(),
        format!("{group}/state"): state.to_string(),
    });
    let labels = json!({
        "app.kubernetes.io/managed-by": "dingtalk-token-operator",
        format!("{group}/owner-uid"): bait.metadata.uid,
    });
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": "bait-token", "labels": labels, "annotations": annotations},
        "stringData": data,
    });
    let parameters = PostParams {
        field_manager: Some(manager.to_owned()),
        ..PostParams::default()
    };
    let secret = serde_json::from_value(secret).expect("a Secret");
    let created = sandbox.api::<Secret>().create(&parameters, &secret).await;
    created.expect("created");
}

/// The digest that the operator records of keys and values.
fn digest(data: &BTreeMap<&str, String>) -> String {
    let keys = data.keys().map(|key| (*key).to_owned());
    let value = |key: &str| Some(data.get(key)?.clone().into_bytes().into());
    Data::found(keys, value).digest()
}

#[tokio::test]
async fn a_forged_secret_is_never_believed_as_a_shared_token() {
    let plausible = Timestamp::now();
    let future: Timestamp = "2099-01-01T00:00:00Z".parse().expect("a time");
    for (name, elsewhere, manager, requested_at) in [
        ("forged-afar", true, "dingtalk-token-operator", plausible),
        ("forged-2099", false, "dingtalk-token-operator", future),
        ("forged-hand", false, "kubectl", plausible),
    ] {
        let mut a = Sandbox::without_operator(name, shared_plane().await).await;
        let b = Sandbox::without_operator(&format!("{name}-b"), shared_plane().await).await;
        b.grant_to(&a).await;
        forge(if elsewhere { &b } else { &a }, manager, requested_at).await;
        a.start_operator(&["--watch-namespace", &b.namespace]);
        a.until_watching().await;
        let of = if elsewhere { &b } else { &a };
        of.until("the bait seen", "bait", |app| app.status.clone())
            .await;
        a.ready_app("payroll").await;
        let token = a.token("payroll-token").await.expect("a token");
        assert!(a.stub.accepts(&token.value), "{name}: {}", token.value);
        assert_eq!(a.stub.calls("ding1").len(), 1, "{name}");
    }
}
