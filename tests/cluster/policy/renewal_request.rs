//! deploy/opt-in/renewal-request.yaml: a workload may request a renewal, and change nothing else.

use dingtalk_token_operator::api::DingTalkApp;
use k8s_openapi::api::core::v1::ServiceAccount;
use serde_json::{Value, json};

use super::{Account, allowed, refused};
use crate::support::Sandbox;

const FILE: &str = "deploy/opt-in/renewal-request.yaml";
const ONLY_THE_ANNOTATION: &str = "renew-requested-at only";

fn annotated(name: &str, value: Option<&str>) -> Value {
    json!({"metadata": {"annotations": {name: value}}})
}

fn requested(value: &str) -> Value {
    annotated(
        "dingtalk-token-operator.github.io/renew-requested-at",
        Some(value),
    )
}

#[tokio::test]
async fn a_workload_asks_for_a_renewal_and_changes_nothing_else() {
    let sandbox = Sandbox::new("policy-renewal-request").await;
    let account =
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "payroll"}});
    sandbox.apply::<ServiceAccount>("payroll", account).await;
    sandbox.ready_app("payroll").await;
    sandbox
        .merge::<DingTalkApp>("payroll", annotated("a", Some("1")))
        .await;
    let (done, said) = sandbox.kubectl(&["apply", "-f", FILE]);
    assert!(done, "{said}");

    let payroll = Account::of(&sandbox, "payroll").await;
    let merge = async |patch: Value| {
        payroll
            .merge::<DingTalkApp>("workload", "payroll", patch)
            .await
    };
    payroll
        .until_refused(ONLY_THE_ANNOTATION, async || {
            // Another value each time: a patch without effect is not refused.
            let now = jiff::Timestamp::now().to_string();
            merge(annotated("probe", Some(&now))).await
        })
        .await;
    for (what, patch) in [
        ("the spec", json!({"spec": {"suspend": true}})),
        (
            "a request and the spec",
            json!({"metadata": requested("x")["metadata"], "spec": {"suspend": true}}),
        ),
        ("a label", json!({"metadata": {"labels": {"a": "1"}}})),
        (
            "a finalizer",
            json!({"metadata": {"finalizers": ["example.invalid/a"]}}),
        ),
        ("another's annotation", annotated("a", Some("2"))),
        ("its removal", annotated("a", None)),
    ] {
        refused(what, ONLY_THE_ANNOTATION, merge(patch).await);
    }
    allowed("a request", merge(requested("first")).await);
    let handled = async || {
        let app = sandbox
            .api::<DingTalkApp>()
            .get("payroll")
            .await
            .expect("an app");
        let handled = app.status?.last_handled_renew_request?;
        (handled == "first").then_some(())
    };
    sandbox.eventually("the request was handled", handled).await;
    let read = payroll.api::<DingTalkApp>().get("payroll").await;
    assert!(read.is_err(), "the workload reads the app");
    // The policy does not apply to accounts that may update.
    sandbox
        .merge::<DingTalkApp>("payroll", annotated("a", Some("2")))
        .await;
}
