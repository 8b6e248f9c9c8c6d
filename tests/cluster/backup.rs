//! A backup that is restored: the same names and contents, other UIDs, no status.

use dingtalk_token_operator::api::{DingTalkApp, DingTalkTokenReference, LABEL_OWNER_UID};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::{DeleteParams, PostParams};
use serde_json::{Value, json};

use crate::support::{CLIENT_ID, CLIENT_SECRET, Object, Sandbox};

const RENEW: &str = "dingtalk-token-operator.github.io/renew-requested-at";

/// As a program for backups writes it, which leaves out what the old cluster gave. An owner that does
/// not exist would have the garbage collector take the Secret away.
fn backed_up<K: Object>(object: &K) -> K {
    let mut object = serde_json::to_value(object).expect("JSON");
    object.as_object_mut().expect("an object").remove("status");
    let metadata = object["metadata"].as_object_mut().expect("metadata");
    metadata.retain(|field, _| ["name", "labels", "annotations"].contains(&field.as_str()));
    serde_json::from_value(object).expect("an object")
}

/// All objects of a kind that match, deleted and created anew.
struct Kind<K>(Vec<K>);

impl<K: Object> Kind<K> {
    async fn back_up(sandbox: &Sandbox) -> Self {
        let all = sandbox.api::<K>().list(&Default::default()).await;
        Self(all.expect("a list").into_iter().collect())
    }

    async fn delete(&self, sandbox: &Sandbox) {
        for object in &self.0 {
            // A target may be collected by now.
            let _ = sandbox
                .api::<K>()
                .delete(&object.name_any(), &DeleteParams::default())
                .await;
        }
        sandbox
            .eventually("all deleted", async || {
                let left = sandbox.api::<K>().list(&Default::default()).await.ok()?;
                left.items.is_empty().then_some(())
            })
            .await;
    }

    async fn restore(&self, sandbox: &Sandbox) {
        for object in &self.0 {
            let parameters = PostParams {
                field_manager: Some("backup".to_owned()),
                ..PostParams::default()
            };
            let created = sandbox
                .api::<K>()
                .create(&parameters, &backed_up(object))
                .await;
            created.expect("restored");
        }
    }
}

async fn app(sandbox: &Sandbox, name: &str, corp_ids: &[&str], target: Value) {
    let spec = json!({
        "credentialsSecretRef": {"name": "credentials"}, "corpIds": corp_ids, "target": target,
        "referenceGrants": [{"namespace": sandbox.namespace}],
    });
    sandbox.app_with(name, spec).await;
    sandbox.until_renewed(name).await;
}

async fn until_copied(sandbox: &Sandbox) {
    let references = sandbox.api::<DingTalkTokenReference>();
    sandbox
        .eventually("the copy", async || {
            let status = references.get("copy").await.ok()?.status?;
            let conditions = status.conditions.iter();
            let mut ready = conditions.filter(|it| it.type_ == "Ready" && it.status == "True");
            ready.next().map(drop)
        })
        .await;
}

#[tokio::test]
async fn a_restored_backup_fetches_nothing_that_is_valid() {
    let mut sandbox = Sandbox::new("backup").await;
    let corp_ids = ["ding1", "ding2", "ding3", "ding4", "ding5"];
    sandbox.stub.register(CLIENT_ID, CLIENT_SECRET, &corp_ids);
    sandbox
        .credentials("credentials", CLIENT_ID, CLIENT_SECRET)
        .await;
    app(&sandbox, "single", &corp_ids[..1], json!({})).await;
    let combined = json!({"layout": "Combined", "template": {"data": {"id": "{{ client_id }}"}}});
    app(&sandbox, "combined", &corp_ids[1..3], combined).await;
    let per_corp = json!({"layout": "PerCorp"});
    app(&sandbox, "per-corp", &corp_ids[3..], per_corp).await;
    sandbox
        .reference("copy", &sandbox.namespace, "single")
        .await;
    until_copied(&sandbox).await;
    // No time, so that only what is recorded with the token can tell that it was done.
    let request = "for the audit";
    for name in ["single", "combined"] {
        let annotations = json!({"metadata": {"annotations": {RENEW: request}}});
        sandbox.merge::<DingTalkApp>(name, annotations).await;
    }
    let is_handled = |app: &DingTalkApp| {
        let handled = app.status.as_ref()?.last_handled_renew_request.as_deref()?;
        (handled == request).then_some(())
    };
    for name in ["single", "combined"] {
        sandbox
            .patiently(150, "handled", async || {
                let app = sandbox.api::<DingTalkApp>().get(name).await.ok()?;
                is_handled(&app)
            })
            .await;
    }
    let calls = || corp_ids.map(|corp_id| sandbox.stub.calls(corp_id).len());
    let called = calls();
    assert_eq!(called, [2, 2, 2, 1, 1]);

    // The copy has the new token, too.
    sandbox
        .eventually("the copy", async || {
            let (copy, token) = (
                sandbox.token("copy-token").await,
                sandbox.token("single-token").await,
            );
            (copy.is_some() && copy == token).then_some(())
        })
        .await;
    sandbox.stop_operator();
    let secrets = Kind::<Secret>::back_up(&sandbox).await;
    let apps = Kind::<DingTalkApp>::back_up(&sandbox).await;
    let references = Kind::<DingTalkTokenReference>::back_up(&sandbox).await;
    references.delete(&sandbox).await;
    apps.delete(&sandbox).await;
    secrets.delete(&sandbox).await;
    secrets.restore(&sandbox).await;
    apps.restore(&sandbox).await;
    references.restore(&sandbox).await;
    sandbox.start_operator(&[]);
    for name in ["single", "combined", "per-corp"] {
        sandbox.until_renewed(name).await;
    }
    until_copied(&sandbox).await;
    for name in ["single", "combined"] {
        sandbox.until("handled", name, is_handled).await;
    }
    assert_eq!(
        corp_ids.map(|corp_id| sandbox.stub.calls(corp_id).len()),
        called
    );
    for secret in secrets.0 {
        let name = secret.name_any();
        let restored = sandbox.api::<Secret>().get(&name).await.expect("it");
        assert_eq!(restored.data, secret.data, "{name}");
        let owner = |secret: &Secret| secret.labels().get(LABEL_OWNER_UID).cloned();
        assert!(
            name == "credentials" || owner(&restored) != owner(&secret),
            "{name}"
        );
    }
}
