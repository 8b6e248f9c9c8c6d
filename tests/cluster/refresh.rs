//! Pods are told of a Secret that was written. (That the kubelet heeds it is shown end to end.)

use dingtalk_token_operator::api::DingTalkApp;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use serde_json::{Value, json};

use crate::support::Sandbox;

const TOLD: &str = "dingtalk-token-operator.github.io/token-written-at";

impl Sandbox {
    /// A pod that uses `payroll-token` in this way, and is never scheduled.
    pub async fn reader(&self, name: &str, container: Value) {
        let mut container = container;
        container["name"] = json!("reader");
        container["image"] = json!("reader");
        self.apply::<Pod>(
            name,
            json!({
                "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
                "spec": {
                    "serviceAccountName": "operator",
                    "automountServiceAccountToken": false,
                    "containers": [container],
                    "volumes": [{"name": "token", "secret": {"secretName": "payroll-token"}}],
                },
            }),
        )
        .await;
    }

    pub async fn told(&self, pod: &str) -> Option<String> {
        let pod = self.api::<Pod>().get(pod).await.ok()?;
        pod.annotations().get(TOLD).cloned()
    }
}

#[tokio::test]
async fn pods_that_mount_the_secret_are_told_and_those_that_never_see_it_are_named() {
    let sandbox = Sandbox::new("refresh").await;
    // So that each renewal is a write.
    sandbox
        .stub
        .configure(|settings| settings.repeat = dingtalk_stub::Repeat::NewOverlap);
    let mount = |more: &str| {
        let mut mount = json!({"name": "token", "mountPath": "/token"});
        if !more.is_empty() {
            mount["subPath"] = json!(more);
        }
        json!({"volumeMounts": [mount]})
    };
    sandbox.reader("directory", mount("")).await;
    sandbox.reader("sub-path", mount("access_token")).await;
    sandbox.ready_app("payroll").await;
    assert_eq!(sandbox.told("directory").await, None, "nobody asked for it");

    // Asked for, but not granted.
    sandbox
        .merge::<DingTalkApp>(
            "payroll",
            json!({"spec": {"target": {"propagation": "Immediate"}}}),
        )
        .await;
    sandbox.renew("payroll").await;
    let events = sandbox.until_event("PropagationFailed").await;
    assert!(
        events[0].contains("deploy/opt-in/immediate-propagation.yaml"),
        "{events:?}"
    );

    let role = include_str!("../../deploy/opt-in/immediate-propagation.yaml");
    let role = sandbox.install_role(role).await;
    sandbox.bind("ClusterRole", &role).await;
    // A missing role is looked at again after minutes, or at the next start.
    let mut sandbox = sandbox;
    sandbox.stop_operator();
    sandbox.start_operator(&[]);
    // Requests and tokens have times in seconds.
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    sandbox.renew("payroll").await;
    sandbox
        .eventually("the annotation", async || sandbox.told("directory").await)
        .await;
    assert_eq!(sandbox.told("sub-path").await, None);
    let events = sandbox.until_event("PodsNeverUpdated").await;
    assert!(events[0].contains("sub-path;"), "{events:?}");
    // Through the status alone: the operator may not touch pods themselves.
    let touched = sandbox
        .requests()
        .into_iter()
        .filter(|request| request.contains("pods"));
    let touched: std::collections::BTreeSet<String> = touched.collect();
    assert_eq!(
        touched.into_iter().collect::<Vec<_>>(),
        ["patch pods/status"]
    );
}
