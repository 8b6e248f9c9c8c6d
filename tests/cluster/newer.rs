//! Objects that a newer version of the CRDs let in: this version cannot decode them.

use dingtalk_token_operator::api::DingTalkApp;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use crate::support::{CLIENT_ID, CLIENT_SECRET, Plane, Sandbox, condition};

/// How many apps go on beside the one that cannot be decoded.
const OTHERS: usize = 50;

/// The CRDs of a version that knows one more deletion policy, and references to something other than an app.
async fn newer_crds(sandbox: &Sandbox) {
    let crds: Api<CustomResourceDefinition> = Api::all(sandbox.client.clone());
    let spec = "/spec/versions/0/schema/openAPIV3Schema/properties/spec";
    let policy = format!("{spec}/properties/target/properties/deletionPolicy/enum/-");
    let policy = json!([{"op": "add", "path": policy, "value": "Archive"}]);
    let required = json!([{"op": "remove", "path": format!("{spec}/required")}]);
    for (kind, newer) in [
        ("dingtalkapps", policy),
        ("dingtalktokenreferences", required),
    ] {
        let name = format!("{kind}.dingtalk-token-operator.github.io");
        let newer: Patch<()> = Patch::Json(serde_json::from_value(newer).expect("a patch"));
        crds.patch(&name, &PatchParams::default(), &newer)
            .await
            .expect("a newer CRD");
    }
}

/// Sends a request that our types cannot express.
async fn send(
    sandbox: &Sandbox,
    request: http::request::Builder,
    path: &str,
    body: &Value,
) -> Option<Value> {
    let url = format!(
        "/apis/dingtalk-token-operator.github.io/v1alpha1/namespaces/{}/{path}",
        sandbox.namespace
    );
    let request = request
        .uri(url)
        .body(body.to_string().into_bytes())
        .expect("a request");
    sandbox.client.request::<Value>(request).await.ok()
}

async fn patch_app(sandbox: &Sandbox, name: &str, patch: &Value) -> Option<Value> {
    let request = http::Request::builder()
        .method("PATCH")
        .header("content-type", "application/merge-patch+json");
    send(sandbox, request, &format!("dingtalkapps/{name}"), patch).await
}

async fn create_reference(sandbox: &Sandbox, name: &str, spec: &Value) -> Option<Value> {
    let request = http::Request::builder()
        .method("POST")
        .header("content-type", "application/json");
    let reference = json!({
        "apiVersion": "dingtalk-token-operator.github.io/v1alpha1",
        "kind": "DingTalkTokenReference",
        "metadata": {"name": name},
        "spec": spec,
    });
    send(sandbox, request, "dingtalktokenreferences", &reference).await
}

async fn read_app(sandbox: &Sandbox, name: &str) -> Value {
    patch_app(sandbox, name, &json!({})).await.expect("an app")
}

async fn until_unsupported(sandbox: &Sandbox) -> Value {
    sandbox
        .eventually("UnsupportedSpec", async || {
            let app = read_app(sandbox, "odd").await;
            let conditions = app["status"]["conditions"].as_array()?;
            let says_so = |it: &Value| it["reason"] == "UnsupportedSpec";
            conditions.iter().all(says_so).then_some(app)
        })
        .await
}

async fn renew_all(sandbox: &Sandbox, request: &str) {
    let asked = json!({"metadata": {"annotations":
        {"dingtalk-token-operator.github.io/renew-requested-at": request}}});
    for n in 0..OTHERS {
        sandbox
            .merge::<DingTalkApp>(&format!("other{n}"), asked.clone())
            .await;
    }
    for n in 0..OTHERS {
        sandbox
            .until("renewed", &format!("other{n}"), |app| {
                let handled = app.status.as_ref()?.last_handled_renew_request.as_deref();
                (handled == Some(request)).then_some(())
            })
            .await;
    }
}

#[tokio::test]
async fn one_object_that_cannot_be_decoded_keeps_its_secret_and_holds_up_nobody() {
    let plane = Plane::start().await;
    let sandbox = Sandbox::without_operator("newer", &plane).await;
    newer_crds(&sandbox).await;
    let corps: Vec<String> = (0..OTHERS).map(|n| format!("other{n}")).collect();
    let mut names: Vec<&str> = corps.iter().map(String::as_str).collect();
    names.push("ding1");
    sandbox.stub.register(CLIENT_ID, CLIENT_SECRET, &names);
    let mut first = sandbox.standing("127.0.0.1").await;
    sandbox.ready_app("odd").await;
    let credentials = json!({"name": "odd-credentials"});
    for corp_id in &corps {
        let spec = json!({"corpIds": [corp_id], "credentialsSecretRef": credentials});
        sandbox.app_with(corp_id, spec).await;
    }
    for corp_id in &corps {
        sandbox.until_ready(corp_id).await;
    }
    let before = sandbox.data("odd-token").await.expect("a token");

    // By watch.
    let archive = json!({"spec": {"target": {"deletionPolicy": "Archive"}}});
    sandbox
        .eventually("the newer value", async || {
            patch_app(&sandbox, "odd", &archive).await
        })
        .await;
    let odd = until_unsupported(&sandbox).await;
    let message = odd["status"]["conditions"][0]["message"].as_str();
    let message = message.expect("a message");
    for part in [
        "spec.target.deletionPolicy",
        "Archive",
        "upgrade the operator",
    ] {
        assert!(message.contains(part), "{part} in {message}");
    }
    assert_eq!(
        odd["status"]["corps"][0]["corpId"], "ding1",
        "what the other version wrote stays"
    );
    sandbox
        .eventually("the newer kind of reference", async || {
            create_reference(&sandbox, "odd-copy", &json!({})).await
        })
        .await;
    for name in ["odd", "odd-copy"] {
        let series = format!(
            r#"name="{name}",condition="Ready",status="False",reason="UnsupportedSpec"}} 1"#
        );
        sandbox
            .eventually("its condition as a metric", async || {
                let (_, metrics) = first.health("/metrics").await?;
                metrics.contains(&series).then_some(())
            })
            .await;
    }
    renew_all(&sandbox, "by watch").await;

    // By list, as a standby that takes over, and told once.
    let standby = sandbox.standing("localhost").await;
    first.signal("TERM");
    sandbox.until_ended(&mut first).await;
    sandbox
        .eventually("a leader", async || {
            standby.log().contains("leading").then_some(())
        })
        .await;
    renew_all(&sandbox, "by list").await;
    assert!(!standby.log().contains("watch failed"), "{}", standby.log());
    let again = read_app(&sandbox, "odd").await;
    assert_eq!(again["status"], odd["status"]);
    assert_eq!(
        again["metadata"]["resourceVersion"], odd["metadata"]["resourceVersion"],
        "no write without a change"
    );
    assert_eq!(sandbox.data("odd-token").await, Some(before.clone()));
    let calls = sandbox.stub.calls("ding1").len();
    assert_eq!(calls, 1, "nothing was fetched for it");

    // Rolled back, it goes on where it was.
    let delete = json!({"spec": {"target": {"deletionPolicy": "Delete"}}});
    patch_app(&sandbox, "odd", &delete).await.expect("patched");
    sandbox.until_renewed("odd").await;
    sandbox
        .until("no Stalled", "odd", |app| {
            condition(app, "Stalled", "True").is_none().then_some(())
        })
        .await;
    assert_eq!(sandbox.data("odd-token").await, Some(before));
    assert_eq!(sandbox.stub.calls("ding1").len(), calls);
    sandbox.renew("odd").await;
    sandbox
        .eventually("a renewal", async || {
            (sandbox.stub.calls("ding1").len() > calls).then_some(())
        })
        .await;
    let secret: Secret = sandbox.api().get("odd-token").await.expect("a Secret");
    assert_eq!(secret.owner_references().len(), 1);
    standby.signal("TERM");
}
