//! Writes that are refused, and changes by other writers.

use k8s_openapi::api::core::v1::{Namespace, ResourceQuota, Secret};
use kube::Api;
use kube::api::DeleteParams;
use serde_json::json;

use crate::support::{CLIENT_ID, CLIENT_SECRET, Sandbox, condition};

#[tokio::test]
async fn a_write_that_a_quota_refuses_is_repeated_without_a_second_fetch() {
    let sandbox = Sandbox::new("write-quota").await;
    sandbox
        .credentials("payroll-credentials", CLIENT_ID, CLIENT_SECRET)
        .await;
    sandbox
        .apply::<ResourceQuota>(
            "few",
            json!({
                "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few"},
                "spec": {"hard": {"count/secrets": "1"}},
            }),
        )
        .await;
    sandbox
        .eventually("the quota in force", async || {
            let quota = sandbox.api::<ResourceQuota>().get("few").await.ok()?;
            quota
                .status?
                .used?
                .get("count/secrets")
                .filter(|used| used.0 == "1")
                .map(drop)
        })
        .await;
    sandbox.app("payroll", "ding1").await;
    let message = sandbox.until_failing("payroll", "SecretWriteFailed").await;
    assert!(message.contains("exceeded quota"), "{message}");
    sandbox
        .api::<ResourceQuota>()
        .delete("few", &DeleteParams::default())
        .await
        .expect("deleted");
    sandbox.until_renewed("payroll").await;
    assert_eq!(sandbox.stub.calls("ding1").len(), 1);
}

#[tokio::test]
async fn a_deleted_target_is_restored_without_a_fetch() {
    let sandbox = Sandbox::new("write-deleted").await;
    sandbox.ready_app("payroll").await;
    let token = sandbox.token("payroll-token").await;
    sandbox
        .api::<Secret>()
        .delete("payroll-token", &DeleteParams::default())
        .await
        .expect("deleted");
    sandbox
        .eventually("the same token", async || {
            (sandbox.token("payroll-token").await == token).then_some(())
        })
        .await;
    sandbox.until_event("SecretRestored").await;
    assert_eq!(sandbox.stub.calls("ding1").len(), 1);
}

#[tokio::test]
async fn an_edited_target_is_restored_and_a_second_writer_is_slowed_down() {
    let sandbox = Sandbox::new("write-edited").await;
    sandbox.ready_app("payroll").await;
    let token = sandbox.token("payroll-token").await.expect("a token");
    for attempt in 0..3 {
        sandbox
            .merge::<Secret>(
                "payroll-token",
                json!({"stringData": {"access_token": format!("edit-{attempt}")}}),
            )
            .await;
        sandbox
            .eventually("the token again", async || {
                (sandbox.token("payroll-token").await.as_ref() == Some(&token)).then_some(())
            })
            .await;
    }
    sandbox
        .merge::<Secret>(
            "payroll-token",
            json!({"stringData": {"access_token": "edit-4"}}),
        )
        .await;
    sandbox.until_failing("payroll", "SecretContested").await;
    sandbox
        .until("not Ready", "payroll", |app| {
            condition(app, "Ready", "False")
        })
        .await;
    assert_eq!(
        sandbox.events("SecretRestored").await.len(),
        1,
        "reported once"
    );
    sandbox
        .eventually("the token again", async || {
            (sandbox.token("payroll-token").await.as_ref() == Some(&token)).then_some(())
        })
        .await;
    assert_eq!(sandbox.stub.calls("ding1").len(), 1);
}

#[tokio::test]
async fn labels_annotations_and_owner_that_others_remove_come_back() {
    let sandbox = Sandbox::new("write-metadata").await;
    sandbox.ready_app("payroll").await;
    let before = sandbox
        .api::<Secret>()
        .get("payroll-token")
        .await
        .expect("a Secret")
        .metadata;
    sandbox
        .merge::<Secret>("payroll-token", json!({"metadata": {
            "labels": {"dingtalk-token-operator.github.io/owner-uid": null},
            "annotations": {"dingtalk-token-operator.github.io/expires-at": "2099-01-01T00:00:00Z"},
            "ownerReferences": null,
        }}))
        .await;
    sandbox
        .eventually("the metadata again", async || {
            let after = sandbox
                .api::<Secret>()
                .get("payroll-token")
                .await
                .ok()?
                .metadata;
            (after.labels == before.labels
                && after.annotations == before.annotations
                && after.owner_references == before.owner_references)
                .then_some(())
        })
        .await;
    sandbox
        .merge::<Secret>("payroll-token", json!({"metadata": {
            "annotations": {"dingtalk-token-operator.github.io/expires-at": "2099-01-01T00:00:00Z"},
            "ownerReferences": null,
        }}))
        .await;
    sandbox
        .eventually("the metadata again", async || {
            let after = sandbox
                .api::<Secret>()
                .get("payroll-token")
                .await
                .ok()?
                .metadata;
            (after.annotations == before.annotations
                && after.owner_references == before.owner_references)
                .then_some(())
        })
        .await;
    assert_eq!(sandbox.stub.calls("ding1").len(), 1);
}

#[tokio::test]
async fn an_edit_while_the_operator_was_away_is_found_out() {
    let mut sandbox = Sandbox::new("write-away").await;
    sandbox.ready_app("payroll").await;
    sandbox.stop_operator();
    sandbox
        .merge::<Secret>(
            "payroll-token",
            json!({"stringData": {"access_token": "edited"}}),
        )
        .await;
    sandbox.start_operator(&[]);
    sandbox
        .eventually("a token that works", async || {
            let token = sandbox.token("payroll-token").await?;
            sandbox.stub.accepts(&token.value).then_some(())
        })
        .await;
    sandbox.until_renewed("payroll").await;
}

#[tokio::test]
async fn an_immutable_target_is_created_anew_when_it_has_to_change() {
    let sandbox = Sandbox::new("write-immutable").await;
    sandbox.stub.configure(|settings| {
        settings.expires_in = 15;
        settings.repeat = dingtalk_stub::Repeat::NewOverlap;
    });
    sandbox.ready_app("payroll").await;
    let old = sandbox
        .api::<Secret>()
        .get("payroll-token")
        .await
        .expect("a Secret");
    sandbox
        .merge::<Secret>("payroll-token", json!({"immutable": true}))
        .await;
    let new = sandbox
        .eventually("another Secret", async || {
            let new = sandbox
                .api::<Secret>()
                .get_opt("payroll-token")
                .await
                .ok()??;
            (new.metadata.uid != old.metadata.uid).then_some(new)
        })
        .await;
    assert_eq!(new.immutable, None);
    sandbox.until_renewed("payroll").await;
    assert_eq!(
        sandbox.stub.calls("ding1").len(),
        2,
        "one issue, one renewal"
    );
}

#[tokio::test]
async fn a_terminating_namespace_gets_no_retry_storm() {
    let sandbox = Sandbox::new("write-terminating").await;
    sandbox.ready_app("payroll").await;
    // Something keeps the namespace from going; the operator keeps its rights through a binding
    // that is not deleted with it.
    let finalizer = json!({"metadata": {"finalizers": ["example.com/keep"]}});
    sandbox
        .merge::<dingtalk_token_operator::api::DingTalkApp>("payroll", finalizer.clone())
        .await;
    sandbox
        .merge::<k8s_openapi::api::rbac::v1::RoleBinding>(
            "dingtalk-token-operator",
            finalizer.clone(),
        )
        .await;
    sandbox
        .merge::<k8s_openapi::api::core::v1::ServiceAccount>("operator", finalizer)
        .await;
    let namespaces: Api<Namespace> = Api::all(sandbox.client.clone());
    let before = sandbox.requests().len();
    namespaces
        .delete(&sandbox.namespace, &DeleteParams::default())
        .await
        .expect("deleted");
    sandbox
        .eventually("the target's end", async || {
            sandbox
                .api::<Secret>()
                .get_opt("payroll-token")
                .await
                .ok()?
                .is_none()
                .then_some(())
        })
        .await;
    tokio::time::sleep(std::time::Duration::from_secs(10)).await;
    // For what is seen to be gone, credentials and target, in either order: one read or write, one
    // status, and one event.
    let requests = sandbox.requests().split_off(before);
    assert!(requests.len() <= 6, "{requests:?}");
    let creates = requests.iter().filter(|it| *it == "create secrets");
    assert!(creates.count() <= 1, "{requests:?}");
    assert_eq!(sandbox.stub.calls("ding1").len(), 1);
    let nothing = json!({"metadata": {"finalizers": null}});
    sandbox
        .merge::<dingtalk_token_operator::api::DingTalkApp>("payroll", nothing.clone())
        .await;
    sandbox
        .merge::<k8s_openapi::api::rbac::v1::RoleBinding>(
            "dingtalk-token-operator",
            nothing.clone(),
        )
        .await;
    sandbox
        .merge::<k8s_openapi::api::core::v1::ServiceAccount>("operator", nothing)
        .await;
}
