//! Credentials with an owner, as External Secrets, Sealed Secrets and Vault's operator make them: deleted and
//! created anew, and gone with their owner.

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::ResourceExt;
use kube::api::{DeleteParams, PostParams};
use serde_json::{Value, json};

use crate::support::{CLIENT_ID, CLIENT_SECRET, Sandbox};

const NAME: &str = "payroll-credentials";

/// What the owner of the Secret would be, an ExternalSecret for example; any object is as good.
async fn owner(sandbox: &Sandbox) -> Value {
    let owner: ConfigMap =
        serde_json::from_value(json!({"metadata": {"name": "provider"}})).expect("a ConfigMap");
    let owner = sandbox
        .api::<ConfigMap>()
        .create(&PostParams::default(), &owner)
        .await
        .expect("created");
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "name": "provider", "uid": owner.uid(),
        "controller": true, "blockOwnerDeletion": true,
    })
}

fn secret(owner: &Value, client_secret: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": {
            "name": NAME, "ownerReferences": [owner],
            "labels": {"reconcile.external-secrets.io/managed": "true"},
            "annotations": {"reconcile.external-secrets.io/data-hash": client_secret.len().to_string()},
        },
        "stringData": {"client_id": CLIENT_ID, "client_secret": client_secret, "unused": "more"},
    })
}

async fn create(sandbox: &Sandbox, secret: &Value) -> String {
    let secret: Secret = serde_json::from_value(secret.clone()).expect("a Secret");
    let created = sandbox
        .api::<Secret>()
        .create(&PostParams::default(), &secret)
        .await
        .expect("created");
    created.uid().expect("a UID")
}

async fn delete(sandbox: &Sandbox) {
    sandbox
        .api::<Secret>()
        .delete(NAME, &DeleteParams::default())
        .await
        .expect("deleted");
}

/// Waits until the token was fetched with the credentials as they are now.
async fn until_used(sandbox: &Sandbox) {
    sandbox
        .eventually("the present credentials in the record", async || {
            let version = sandbox.version_of(NAME).await?;
            let recorded = sandbox
                .state("payroll-token", "/credentials/resourceVersion")
                .await?;
            (recorded == json!(version)).then_some(())
        })
        .await;
    sandbox.until_renewed("payroll").await;
}

#[tokio::test]
async fn credentials_deleted_and_created_anew_are_used_and_equal_ones_fetch_nothing() {
    let sandbox = Sandbox::new("providers-anew").await;
    let owner = owner(&sandbox).await;
    let first = create(&sandbox, &secret(&owner, CLIENT_SECRET)).await;
    sandbox.app("payroll", "ding1").await;
    sandbox.until_ready("payroll").await;

    // The same values under another UID, as after a Secret that was deleted by mistake.
    delete(&sandbox).await;
    let second = create(&sandbox, &secret(&owner, CLIENT_SECRET)).await;
    assert_ne!(first, second);
    until_used(&sandbox).await;
    assert_eq!(sandbox.stub.calls("ding1").len(), 1, "nothing is new");

    // Others.
    sandbox.stub.set_secrets(CLIENT_ID, &["rotated"]);
    delete(&sandbox).await;
    create(&sandbox, &secret(&owner, "rotated")).await;
    until_used(&sandbox).await;
    let token = sandbox.token("payroll-token").await.expect("a token");
    assert!(sandbox.stub.accepts(&token.value));
    assert_eq!(sandbox.stub.calls("ding1").len(), 2);
    let credentials = sandbox.api::<Secret>().get(NAME).await.expect("there");
    assert_eq!(
        json!(credentials.owner_references()),
        json!([owner]),
        "the operator never writes it"
    );
}

#[tokio::test]
async fn a_secret_whose_owner_goes_leaves_the_token_until_there_are_credentials_again() {
    let sandbox = Sandbox::new("providers-owner").await;
    let provider = owner(&sandbox).await;
    create(&sandbox, &secret(&provider, CLIENT_SECRET)).await;
    sandbox.app("payroll", "ding1").await;
    sandbox.until_ready("payroll").await;
    let old = sandbox.token("payroll-token").await;
    sandbox
        .api::<ConfigMap>()
        .delete("provider", &DeleteParams::background())
        .await
        .expect("deleted");
    // The garbage collector takes the credentials.
    sandbox
        .until_failing("payroll", "CredentialsNotFound")
        .await;
    sandbox.until_ready("payroll").await;
    assert_eq!(sandbox.token("payroll-token").await, old);
    let provider = owner(&sandbox).await;
    create(&sandbox, &secret(&provider, CLIENT_SECRET)).await;
    until_used(&sandbox).await;
    assert_eq!(sandbox.stub.calls("ding1").len(), 1);
}

/// As the documentation has it for a Secret that the External Secrets Operator made.
#[tokio::test]
async fn a_secret_with_a_controller_is_handed_over_and_outlives_it() {
    let sandbox = Sandbox::new("providers-handover").await;
    let owner = owner(&sandbox).await;
    let theirs = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": {
            "name": "payroll-token", "ownerReferences": [owner],
            "annotations": {"dingtalk-token-operator.github.io/adopt-by": "DingTalkApp/payroll"},
        },
        "stringData": {"access_token": "theirs"},
    });
    let handed_over = create(&sandbox, &theirs).await;
    sandbox.credentials(NAME, CLIENT_ID, CLIENT_SECRET).await;
    sandbox.app("payroll", "ding1").await;
    sandbox.until_renewed("payroll").await;
    let owners = async || -> Option<Vec<String>> {
        let secret = sandbox.api::<Secret>().get_opt("payroll-token").await;
        let secret = secret.ok()??;
        assert_eq!(secret.uid().as_ref(), Some(&handed_over));
        let owners = secret.owner_references().iter();
        Some(owners.map(|owner| owner.kind.clone()).collect())
    };
    assert_eq!(owners().await.expect("there"), ["ConfigMap", "DingTalkApp"]);
    sandbox
        .api::<ConfigMap>()
        .delete("provider", &DeleteParams::background())
        .await
        .expect("deleted");
    // The garbage collector takes its reference away.
    sandbox
        .eventually("one owner", async || {
            (owners().await? == ["DingTalkApp"]).then_some(())
        })
        .await;
}
