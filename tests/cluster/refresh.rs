//! Pods are told of a Secret that was written. (That the kubelet heeds it is shown end to end.)

use dingtalk_token_operator::api::DingTalkApp;
use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use crate::support::{CLIENT_ID, CLIENT_SECRET, Sandbox, shared_plane, until_next_second};

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

    /// Pods that mount `payroll-token` as a directory, and the right to tell them of it.
    pub async fn readers(&self, names: &[&str]) {
        let role = include_str!("../../deploy/opt-in/immediate-propagation.yaml");
        let role = self.install_role(role).await;
        self.bind("ClusterRole", &role).await;
        let mount = json!({"volumeMounts": [{"name": "token", "mountPath": "/token"}]});
        for name in names {
            self.reader(name, mount.clone()).await;
        }
    }

    /// Starts the operator, and has it tell the readers of a first token.
    pub async fn tell_readers(&mut self) {
        self.start_operator(&[]);
        self.credentials("payroll-credentials", CLIENT_ID, CLIENT_SECRET)
            .await;
        let spec = json!({"corpIds": ["ding1"], "target": {"propagation": "Immediate"}});
        self.app_with("payroll", spec).await;
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
    until_next_second().await;
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

/// Refuses any change of the status of the pod `refused`.
async fn refuse_a_pod(sandbox: &Sandbox) {
    let name = &sandbox.namespace;
    let policy = json!({
        "metadata": {"name": name},
        "spec": {
            "matchConstraints": {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}},
                "resourceRules": [{
                    "apiGroups": [""], "apiVersions": ["v1"], "operations": ["UPDATE"],
                    "resources": ["pods/status"],
                }],
            },
            "validations": [{"expression": "object.metadata.name != 'refused'"}],
        },
    });
    let binding = json!({
        "metadata": {"name": name},
        "spec": {"policyName": name, "validationActions": ["Deny"]},
    });
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(sandbox.client.clone());
    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(sandbox.client.clone());
    let policy = serde_json::from_value(policy).expect("a policy");
    let policy = policies.create(&PostParams::default(), &policy).await;
    policy.expect("created");
    let binding = serde_json::from_value(binding).expect("a binding");
    let binding = bindings.create(&PostParams::default(), &binding).await;
    binding.expect("created");
    sandbox
        .eventually("the policy", async || {
            let probe = json!({"metadata": {"annotations": {"probe": "x"}}});
            let pods = sandbox.api::<Pod>();
            let patched = pods
                .patch_status("refused", &PatchParams::default(), &Patch::Merge(probe))
                .await;
            patched.is_err().then_some(())
        })
        .await;
}

#[tokio::test]
async fn a_pod_that_cannot_be_told_keeps_the_news_from_no_other() {
    let mut sandbox = Sandbox::without_operator("refresh-refused", shared_plane().await).await;
    // They are told in the order of their names.
    sandbox.readers(&["first", "refused", "second"]).await;
    refuse_a_pod(&sandbox).await;
    sandbox.tell_readers().await;
    sandbox
        .eventually("the annotation", async || sandbox.told("second").await)
        .await;
    assert!(sandbox.told("first").await.is_some());
    assert_eq!(sandbox.told("refused").await, None);
    assert!(sandbox.logs().contains("pod annotation refused"));
}
