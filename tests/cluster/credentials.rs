//! Changes of the credentials.

use std::time::Instant;

use dingtalk_stub::Repeat;
use dingtalk_token_operator::api::DingTalkApp;
use k8s_openapi::api::core::v1::Secret;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use crate::support::{CLIENT_ID, CLIENT_SECRET, Sandbox, condition};

#[tokio::test]
async fn changed_credentials_are_used_at_once_and_rejected_ones_leave_the_token() {
    let sandbox = Sandbox::new("credentials-changed").await;
    sandbox.ready_app("payroll").await;
    let old = sandbox.token("payroll-token").await;
    sandbox
        .credentials("payroll-credentials", CLIENT_ID, "rotated")
        .await;
    let message = sandbox.until_failing("payroll", "InvalidCredentials").await;
    assert!(
        message.contains("invalid.client") && message.contains("HTTP 400"),
        "{message}"
    );
    assert_eq!(
        sandbox.token("payroll-token").await,
        old,
        "a valid token is never taken away"
    );
    sandbox
        .until("still Ready", "payroll", |app| {
            condition(app, "Ready", "True")
        })
        .await;
    sandbox.stub.set_secrets(CLIENT_ID, &["rotated-again"]);
    sandbox
        .credentials("payroll-credentials", CLIENT_ID, "rotated-again")
        .await;
    sandbox.until_renewed("payroll").await;
    assert_eq!(
        sandbox.stub.calls("ding1").len(),
        3,
        "one call for each change"
    );
}

#[tokio::test]
async fn a_label_on_the_credentials_fetches_nothing() {
    let sandbox = Sandbox::new("credentials-label").await;
    sandbox.ready_app("payroll").await;
    sandbox
        .merge::<Secret>(
            "payroll-credentials",
            json!({"metadata": {"labels": {"a": "b"}}}),
        )
        .await;
    let version = |secret: &Secret| secret.metadata.resource_version.clone();
    sandbox
        .eventually("the new version in the record", async || {
            let credentials = sandbox
                .api::<Secret>()
                .get("payroll-credentials")
                .await
                .ok()?;
            let pointer = "/credentials/resourceVersion";
            let recorded = sandbox.state("payroll-token", pointer).await?;
            (recorded.as_str() == version(&credentials).as_deref()).then_some(())
        })
        .await;
    assert_eq!(sandbox.stub.calls("ding1").len(), 1);
}

#[tokio::test]
async fn missing_credentials_are_named_and_used_once_they_are_there() {
    let sandbox = Sandbox::new("credentials-missing").await;
    sandbox.app("payroll", "ding1").await;
    let message = sandbox
        .until_failing("payroll", "CredentialsNotFound")
        .await;
    assert!(message.contains("payroll-credentials"), "{message}");
    sandbox
        .credentials("payroll-credentials", CLIENT_ID, CLIENT_SECRET)
        .await;
    sandbox.until_renewed("payroll").await;
    sandbox
        .api::<Secret>()
        .delete("payroll-credentials", &DeleteParams::default())
        .await
        .expect("deleted");
    sandbox
        .until_failing("payroll", "CredentialsNotFound")
        .await;
    sandbox
        .until("still Ready", "payroll", |app| {
            condition(app, "Ready", "True")
        })
        .await;
}

#[tokio::test]
async fn a_missing_or_empty_key_is_named() {
    let sandbox = Sandbox::new("credentials-key").await;
    sandbox
        .credentials("payroll-credentials", CLIENT_ID, " \n")
        .await;
    sandbox.app("payroll", "ding1").await;
    let message = sandbox
        .until_failing("payroll", "CredentialsKeyMissing")
        .await;
    assert!(message.contains("\"client_secret\" is empty"), "{message}");
    sandbox
        .merge::<Secret>(
            "payroll-credentials",
            json!({"data": {"client_secret": null}}),
        )
        .await;
    sandbox
        .until("the missing key", "payroll", |app| {
            let (_, message) = condition(app, "Renewed", "False")?;
            message
                .contains("\"client_secret\" is missing")
                .then_some(())
        })
        .await;
    assert!(sandbox.stub.calls("ding1").is_empty());
    sandbox
        .credentials("payroll-credentials", CLIENT_ID, CLIENT_SECRET)
        .await;
    sandbox.until_renewed("payroll").await;
}

#[tokio::test]
async fn a_value_past_its_bound_is_refused_with_the_bound_and_nothing_of_the_value() {
    let sandbox = Sandbox::new("credentials-bound").await;
    let corp_ids: Vec<String> = (0..1000).map(|n| format!("ding{n}")).collect();
    let spec = json!({"corpIds": corp_ids, "target": {"layout": "Combined"}});
    let huge = "qz".repeat(350_000);
    for (id, secret, said) in [
        (
            huge.as_str(),
            CLIENT_SECRET,
            "\"client_id\" has 700000 bytes, but a client_id has at most 128",
        ),
        (
            CLIENT_ID,
            huge.as_str(),
            "\"client_secret\" has 700000 bytes, but a client_secret has at most 512",
        ),
        (
            CLIENT_ID,
            "two words",
            "\"client_secret\" contains characters other than visible ASCII",
        ),
    ] {
        sandbox.credentials("payroll-credentials", id, secret).await;
        sandbox.app_with("payroll", spec.clone()).await;
        sandbox
            .until("the bound", "payroll", |app| {
                let (reason, message) = condition(app, "Renewed", "False")?;
                (reason == "CredentialsInvalid" && message.contains(said)).then_some(())
            })
            .await;
        let (_, shown) = sandbox.kubectl(&["get", "dta", "payroll", "-o", "json"]);
        assert!(!shown.contains("qzqz") && !shown.contains("two words"));
    }
    assert_eq!(sandbox.stub.journal().len(), 0, "nothing was fetched");
    let logs = sandbox.logs();
    assert!(!logs.contains("qzqz") && !logs.contains("two words"));
    sandbox
        .credentials("payroll-credentials", CLIENT_ID, CLIENT_SECRET)
        .await;
    sandbox
        .until("no such reason", "payroll", |app| {
            let (reason, _) = condition(app, "Renewed", "False").unwrap_or_default();
            (reason != "CredentialsInvalid").then_some(())
        })
        .await;
}

#[tokio::test]
async fn white_space_at_the_end_is_cut_off_and_reported_once() {
    let sandbox = Sandbox::new("credentials-trimmed").await;
    let secret = format!("{CLIENT_SECRET}\n");
    sandbox
        .credentials("payroll-credentials", CLIENT_ID, &secret)
        .await;
    sandbox.app("payroll", "ding1").await;
    sandbox.until_ready("payroll").await;
    let notes = sandbox.until_event("CredentialsTrimmed").await;
    assert_eq!(notes.len(), 1);
    assert!(notes[0].contains("client_secret"), "{notes:?}");
}

#[tokio::test]
async fn other_keys_and_an_unknown_site() {
    let sandbox = Sandbox::new("credentials-keys").await;
    sandbox
        .apply::<Secret>(
            "shared",
            json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "shared"},
                "stringData": {"app-key": CLIENT_ID, "app-secret": CLIENT_SECRET},
            }),
        )
        .await;
    let reference =
        json!({"name": "shared", "clientIdKey": "app-key", "clientSecretKey": "app-secret"});
    let spec =
        |site: &str| json!({"credentialsSecretRef": reference, "corpIds": ["ding1"], "site": site});
    sandbox.app_with("payroll", spec("mars")).await;
    let message = sandbox.until_failing("payroll", "UnknownSite").await;
    assert!(message.contains("\"mars\""), "{message}");
    sandbox
        .until("Stalled", "payroll", |app| {
            condition(app, "Stalled", "True")
        })
        .await;
    assert!(
        sandbox
            .requests()
            .iter()
            .all(|request| !request.starts_with("get"))
    );
    sandbox.app_with("payroll", spec("global")).await;
    sandbox.until_renewed("payroll").await;
    sandbox.app_with("payroll", spec("mars")).await;
    sandbox.until_failing("payroll", "UnknownSite").await;
    let (ok, _) = sandbox.kubectl(&["get", "secret", "payroll-token"]);
    assert!(ok, "what is there is not taken away");
}

#[tokio::test]
async fn apps_that_share_credentials_all_follow_a_change() {
    let sandbox = Sandbox::new("credentials-shared").await;
    sandbox
        .credentials("credentials", CLIENT_ID, CLIENT_SECRET)
        .await;
    // Enough of them that some look at each other while none has the new token yet: what they hold
    // of the former credentials is nothing to share.
    let names: Vec<String> = (0..24).map(|n| format!("app{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for name in &names {
        let reference = json!({"name": "credentials"});
        sandbox
            .app_with(
                name,
                json!({"corpIds": ["ding1"], "credentialsSecretRef": reference}),
            )
            .await;
    }
    for name in &names {
        sandbox.until_ready(name).await;
    }
    sandbox.stub.set_secrets(CLIENT_ID, &["rotated"]);
    sandbox
        .stub
        .configure(|settings| settings.repeat = Repeat::NewRevoked);
    sandbox
        .credentials("credentials", CLIENT_ID, "rotated")
        .await;
    sandbox
        .eventually("a new token in each Secret", async || {
            for name in &names {
                let token = sandbox.token(&format!("{name}-token")).await?;
                let pointer = "/credentials/resourceVersion";
                let version = sandbox.state(&format!("{name}-token"), pointer).await?;
                let current = sandbox.version_of("credentials").await?;
                if !sandbox.stub.accepts(&token.value) || version != current {
                    return None;
                }
            }
            Some(())
        })
        .await;
    for name in &names {
        sandbox.until_renewed(name).await;
    }
    assert_eq!(sandbox.stub.calls("ding1").len(), 2, "one fetch for all");
}

/// Names other credentials; gives when that was done.
async fn refer_to(sandbox: &Sandbox, reference: Value) -> Instant {
    let spec = json!({"spec": {"credentialsSecretRef": reference}});
    sandbox.merge::<DingTalkApp>("payroll", spec).await;
    Instant::now()
}

#[tokio::test]
async fn a_reference_to_another_app_is_obeyed_at_once() {
    let sandbox = Sandbox::new("reference-moved").await;
    sandbox
        .stub
        .register("dingotherapp", "other-secret-1", &["ding1"]);
    // It is there before anything names it.
    sandbox
        .credentials("other", "dingotherapp", "other-secret-1")
        .await;
    sandbox.ready_app("payroll").await;
    let old = sandbox.token("payroll-token").await;
    let moved = refer_to(&sandbox, json!({"name": "other"})).await;
    sandbox
        .eventually("another app's token", async || {
            let client_id = sandbox.state("payroll-token", "/clientId").await?;
            (client_id == "dingotherapp").then_some(())
        })
        .await;
    println!("obeyed after {:?}", moved.elapsed());
    assert_ne!(sandbox.token("payroll-token").await, old);
    sandbox.until_renewed("payroll").await;
    assert_eq!(sandbox.stub.calls("ding1").len(), 2);
}

#[tokio::test]
async fn a_reference_to_rejected_credentials_leaves_the_token_and_says_whose_it_is() {
    let sandbox = Sandbox::new("reference-rejected").await;
    sandbox.credentials("wrong", CLIENT_ID, "guessed").await;
    sandbox.ready_app("payroll").await;
    let old = sandbox.token("payroll-token").await;
    refer_to(&sandbox, json!({"name": "wrong"})).await;
    sandbox.until_failing("payroll", "InvalidCredentials").await;
    until_former(&sandbox).await;
    assert_eq!(sandbox.token("payroll-token").await, old);
    // Back again: as it was.
    refer_to(&sandbox, json!({"name": "payroll-credentials"})).await;
    sandbox.until_renewed("payroll").await;
    sandbox
        .until("a token of its own", "payroll", |app| {
            let (_, message) = condition(app, "Ready", "True")?;
            (!message.contains("former")).then_some(())
        })
        .await;
}

#[tokio::test]
async fn a_reference_to_nothing_leaves_the_token_and_says_whose_it_is() {
    let sandbox = Sandbox::new("reference-missing").await;
    sandbox.ready_app("payroll").await;
    let old = sandbox.token("payroll-token").await;
    refer_to(&sandbox, json!({"name": "missing"})).await;
    let message = sandbox
        .until_failing("payroll", "CredentialsNotFound")
        .await;
    assert!(message.contains("missing"), "{message}");
    until_former(&sandbox).await;
    assert_eq!(sandbox.token("payroll-token").await, old);
    assert_eq!(sandbox.stub.calls("ding1").len(), 1);
    sandbox
        .credentials("missing", CLIENT_ID, CLIENT_SECRET)
        .await;
    sandbox.until_renewed("payroll").await;
    assert_eq!(
        sandbox.stub.calls("ding1").len(),
        1,
        "equal credentials under another name"
    );
}

#[tokio::test]
async fn another_key_of_the_same_secret_is_obeyed_at_once() {
    let sandbox = Sandbox::new("reference-key").await;
    let keys = json!({"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "next": "guessed"});
    sandbox
        .apply::<Secret>(
            "payroll-credentials",
            json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "payroll-credentials"},
                "stringData": keys,
            }),
        )
        .await;
    sandbox.app("payroll", "ding1").await;
    sandbox.until_ready("payroll").await;
    refer_to(&sandbox, json!({"clientSecretKey": "next"})).await;
    sandbox.until_failing("payroll", "InvalidCredentials").await;
    until_former(&sandbox).await;
    refer_to(&sandbox, json!({"clientSecretKey": "absent"})).await;
    sandbox
        .until_failing("payroll", "CredentialsKeyMissing")
        .await;
    until_former(&sandbox).await;
    assert_eq!(sandbox.stub.calls("ding1").len(), 2);
}

async fn until_former(sandbox: &Sandbox) {
    sandbox
        .until("whose token it is", "payroll", |app| {
            let (_, message) = condition(app, "Ready", "True")?;
            let said = format!("fetched with former credentials (client_id {CLIENT_ID})");
            message.contains(&said).then_some(())
        })
        .await;
}
