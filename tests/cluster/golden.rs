//! What releases of the operator left is gone on with: nothing is fetched, no Secret is written.

use std::collections::BTreeMap;

use dingtalk_token_operator::api::{DingTalkApp, LABEL_MANAGED_BY, MANAGER};
use golden_objects::{Golden, Recorded, names};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::{
    ApiResource, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams, PostParams,
    TypeMeta,
};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use crate::support::{Sandbox, shared_plane};

/// Creates the objects of this name; returns the statuses of the apps, by name.
async fn leave(sandbox: &Sandbox, name: &str) -> BTreeMap<String, Value> {
    let namespaces: Api<Namespace> = Api::all(sandbox.client.clone());
    let namespace = namespaces.get(&sandbox.namespace).await.expect("it");
    let uid = namespace.metadata.uid.expect("a UID");
    let golden = Golden::load(name, (&sandbox.namespace, &uid), Timestamp::now());
    let mut golden = golden.expect("golden objects");
    let mut statuses = BTreeMap::new();
    while let Some(recorded) = golden.next_object().expect("golden objects") {
        let created = create(sandbox, &recorded).await;
        let version = created.resource_version().expect("a version");
        golden.created(&recorded, &created.uid().expect("a UID"), &version);
        if recorded.object["kind"] == "DingTalkApp" {
            let status = recorded.status.expect("a status");
            statuses.insert(created.name_any(), status);
        }
    }
    statuses
}

/// As the operator itself, if the Secret is its own.
async fn create(sandbox: &Sandbox, recorded: &Recorded) -> DynamicObject {
    let object = &recorded.object;
    let types: TypeMeta = serde_json::from_value(object.clone()).expect("types");
    let kind = ApiResource::from_gvk(&GroupVersionKind::try_from(&types).expect("a kind"));
    let api =
        Api::<DynamicObject>::namespaced_with(sandbox.client.clone(), &sandbox.namespace, &kind);
    let is_ours = object["metadata"]["labels"][LABEL_MANAGED_BY] == MANAGER;
    let parameters = PostParams {
        field_manager: Some(if is_ours { MANAGER } else { "test" }.to_owned()),
        ..PostParams::default()
    };
    let object: DynamicObject = serde_json::from_value(object.clone()).expect("an object");
    let created = api.create(&parameters, &object).await.expect("created");
    if let Some(status) = &recorded.status {
        let patch = Patch::Merge(json!({"status": status}));
        api.patch_status(&created.name_any(), &PatchParams::default(), &patch)
            .await
            .expect("a status");
    }
    created
}

async fn versions(sandbox: &Sandbox) -> BTreeMap<String, Option<String>> {
    let ours = ListParams::default().labels(&format!("{LABEL_MANAGED_BY}={MANAGER}"));
    let secrets = sandbox.api::<Secret>().list(&ours).await.expect("a list");
    let versions = secrets.into_iter();
    versions
        .map(|secret| (secret.name_any(), secret.metadata.resource_version))
        .collect()
}

/// Changes a spec without a consequence, and waits until the operator has looked at it.
async fn until_looked_at(sandbox: &Sandbox, name: &str) -> DingTalkApp {
    let app = sandbox.api::<DingTalkApp>().get(name).await.expect("it");
    let mut grants = serde_json::to_value(&app.spec.reference_grants).expect("JSON");
    let grant = json!({"namespace": "nowhere"});
    grants.as_array_mut().expect("a list").push(grant);
    let patch = json!({"spec": {"referenceGrants": grants}});
    sandbox.merge::<DingTalkApp>(name, patch).await;
    let is_seen = |app: &DingTalkApp| {
        let seen = app.status.as_ref()?.observed_generation?;
        (seen == 2).then(|| app.clone())
    };
    sandbox.until("a look", name, is_seen).await
}

/// What a process reads back from a status, which no release may lose. Messages, and what is stalled,
/// may be told otherwise.
fn kept(status: &Value) -> Value {
    let conditions = status["conditions"].as_array().into_iter().flatten();
    let conditions = conditions.filter(|it| it["type"] != "Stalled");
    let conditions = conditions.map(|it| {
        let fields = ["type", "status", "reason", "lastTransitionTime"];
        fields.map(|field| it[field].clone())
    });
    let corps = status["corps"].as_array().into_iter().flatten();
    let corps = corps.map(|corp| {
        let error = &corp["error"];
        let fields = ["reason", "scope", "code", "httpStatus", "sinceTime"];
        let next = match error.is_null() {
            // It depends on the UID.
            true => &Value::Null,
            false => &corp["nextAttemptTime"],
        };
        json!([
            corp["corpId"],
            corp["expirationTime"],
            next,
            fields.map(|field| error[field].clone())
        ])
    });
    json!({
        "conditions": conditions.collect::<Vec<_>>(),
        "corps": corps.collect::<Vec<_>>(),
        "request": status["lastHandledRenewRequest"],
        "granted": status["grantedNamespaces"],
    })
}

/// What was written, but for statuses.
fn writes(sandbox: &Sandbox) -> Vec<String> {
    let requests = sandbox.requests().into_iter();
    requests
        .filter(|request| !request.starts_with("get ") && !request.ends_with("/status"))
        .collect()
}

fn calls(sandbox: &Sandbox) -> usize {
    let corp_ids = ('a'..='m').map(|letter| format!("ding{letter}"));
    corp_ids
        .map(|corp_id| sandbox.stub.calls(&corp_id).len())
        .sum()
}

#[tokio::test]
async fn what_an_earlier_release_left_costs_no_fetch_and_no_write() {
    let mut sandbox = Sandbox::without_operator("golden", shared_plane().await).await;
    let mut statuses = BTreeMap::new();
    for name in names().filter(|name| *name != "renamed") {
        statuses.extend(leave(&sandbox, name).await);
    }
    let before = versions(&sandbox).await;
    assert_eq!(before.len(), 10);
    sandbox.start_operator(&[]);
    sandbox
        .eventually("a look at the reference", async || {
            let requests = sandbox.requests();
            requests
                .iter()
                .any(|request| request == "get namespaces")
                .then_some(())
        })
        .await;
    for (name, status) in &statuses {
        let app = until_looked_at(&sandbox, name).await;
        let now = serde_json::to_value(app.status).expect("JSON");
        assert_eq!(kept(&now), kept(status), "{name}");
    }
    assert_eq!(versions(&sandbox).await, before);
    assert_eq!(writes(&sandbox), [""; 0]);
    // One if this release says the same in other words, and one for the look.
    let requests = sandbox.requests();
    let statuses_written = requests.iter().filter(|it| it.ends_with("/status"));
    assert!(
        statuses_written.count() <= 2 * statuses.len() + 1,
        "{requests:?}"
    );
    assert_eq!(calls(&sandbox), 0);
}

#[tokio::test]
async fn a_target_that_was_renamed_before_an_upgrade_is_carried_over() {
    let mut sandbox = Sandbox::without_operator("golden-renamed", shared_plane().await).await;
    leave(&sandbox, "renamed").await;
    let token = sandbox.token("renamed-before").await;
    assert!(token.is_some());
    sandbox.start_operator(&[]);
    sandbox
        .eventually("the new Secret alone", async || {
            (sandbox.managed_secrets().await == ["renamed-now"]).then_some(())
        })
        .await;
    assert_eq!(sandbox.token("renamed-now").await, token);
    assert_eq!(calls(&sandbox), 0);
}

/// A release that skips a version of `state` finds one that it cannot read.
#[tokio::test]
async fn a_state_of_a_newer_version_is_written_anew_without_a_fetch() {
    let mut sandbox = Sandbox::without_operator("golden-newer", shared_plane().await).await;
    let names = ["single", "template", "combined", "per-corp"];
    for name in names {
        leave(&sandbox, name).await;
    }
    let newer = json!({"version": 2, "unknown": ["to", "this", "release"]}).to_string();
    let key = dingtalk_token_operator::api::ANNOTATION_STATE;
    let patch = json!({"metadata": {"annotations": {key: newer}}, "stringData": {"added": "x"}});
    let as_operator = PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let mut before = BTreeMap::new();
    for name in versions(&sandbox).await.into_keys() {
        before.insert(name.clone(), sandbox.data(&name).await);
        let patched = sandbox
            .api::<Secret>()
            .patch(&name, &as_operator, &Patch::Merge(&patch))
            .await;
        patched.expect("patched");
    }
    sandbox.start_operator(&[]);
    for (name, data) in &before {
        sandbox
            .eventually("version 1 again", async || {
                let version = sandbox.state(name, "/version").await?;
                (version == 1).then_some(())
            })
            .await;
        assert_eq!(sandbox.data(name).await, *data, "{name}: as it was before");
    }
    for name in names {
        sandbox.until_renewed(name).await;
    }
    assert_eq!(calls(&sandbox), 0);
}
