//! `managedFields` that no type here can hold. Whoever may write an object may write them.

use k8s_openapi::api::core::v1::Secret;
use serde_json::{Value, json};

use crate::support::{CLIENT_ID, CLIENT_SECRET, Plane, Sandbox};

/// A parser goes no deeper than this.
const DEEP: usize = 200;

/// What a tenant can make of an entry's fields: the API server takes years that RFC 3339 has no way to
/// write, and fields at any depth.
fn odd() -> [(&'static str, Value); 4] {
    let deep = (0..DEEP).fold(json!({}), |fields, _| json!({"f:x": fields}));
    [
        ("time", json!("9999-12-31T23:59:59Z")),
        ("time", json!("9999-12-31T23:59:59-12:00")),
        ("time", json!("0000-01-01T00:00:00+12:00")),
        ("fieldsV1", deep),
    ]
}

/// Writes this field of the managed fields of an object, as a tenant would; not by types, which cannot
/// read it back.
async fn manage(sandbox: &Sandbox, path: &str, field: &str, value: &Value) {
    let url = format!("{path}?fieldManager=tenant");
    let request = |method: &str, body: Vec<u8>| {
        let request = http::Request::builder().method(method).uri(&url);
        let request = request.header("content-type", "application/json");
        request.body(body).expect("a request")
    };
    let read = sandbox.client.request_text(request("GET", Vec::new()));
    let mut object: Value = serde_json::from_str(&read.await.expect("it")).expect("JSON");
    let entries = object["metadata"]["managedFields"].as_array_mut();
    entries.expect("managed fields")[0][field] = value.clone();
    // A time alone is no change to the API server.
    object["metadata"]["labels"]["changed"] = rand::random::<u32>().to_string().into();
    let body = serde_json::to_vec(&object).expect("JSON");
    let written = sandbox.client.request_text(request("PUT", body)).await;
    written.expect("written");
}

fn secret(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"a": "b"},
    })
}

#[tokio::test]
async fn managed_fields_that_cannot_be_decoded_hold_up_nobody() {
    // Not the one that others share: the API server itself may stumble over them.
    let plane = Plane::start().await;
    let mut sandbox = Sandbox::without_operator("managed", &plane).await;
    sandbox
        .credentials("payroll-credentials", CLIENT_ID, CLIENT_SECRET)
        .await;
    sandbox.app("payroll", "ding1").await;
    let namespace = sandbox.namespace.clone();
    let group = "dingtalk-token-operator.github.io/v1alpha1";
    for (number, (field, value)) in odd().into_iter().enumerate() {
        let name = format!("odd{number}");
        sandbox.apply::<Secret>(&name, secret(&name)).await;
        let spec = json!({"corpIds": ["ding1"], "suspend": true});
        sandbox.app_with(&name, spec).await;
        for path in [
            format!("/api/v1/namespaces/{namespace}/secrets/{name}"),
            format!("/apis/{group}/namespaces/{namespace}/dingtalkapps/{name}"),
        ] {
            manage(&sandbox, &path, field, &value).await;
        }
    }
    sandbox.start_operator(&[]);
    // By list, then by watch.
    sandbox.until_ready("payroll").await;
    for (number, (field, value)) in odd().into_iter().enumerate() {
        // Another one: what was made odd before cannot be written again.
        let name = format!("later{number}");
        sandbox.apply::<Secret>(&name, secret(&name)).await;
        let path = format!("/api/v1/namespaces/{namespace}/secrets/{name}");
        manage(&sandbox, &path, field, &value).await;
    }
    let calls = sandbox.stub.calls("ding1").len();
    sandbox.renew("payroll").await;
    sandbox
        .eventually("a renewal", async || {
            (sandbox.stub.calls("ding1").len() > calls).then_some(())
        })
        .await;
    let log = sandbox.logs();
    assert!(!log.contains("watch failed"), "{log}");
}

#[tokio::test]
async fn a_pod_with_such_managed_fields_keeps_the_news_from_no_pod() {
    let plane = Plane::start().await;
    let mut sandbox = Sandbox::without_operator("managed-pods", &plane).await;
    sandbox
        .readers(&["odd0", "odd1", "odd2", "odd3", "plain"])
        .await;
    for (number, (field, value)) in odd().into_iter().enumerate() {
        let path = format!("/api/v1/namespaces/{}/pods/odd{number}", sandbox.namespace);
        manage(&sandbox, &path, field, &value).await;
    }
    sandbox.tell_readers().await;
    sandbox
        .eventually("the annotation", async || sandbox.told("plain").await)
        .await;
}
