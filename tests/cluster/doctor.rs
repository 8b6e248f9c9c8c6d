//! `doctor`: what it says, and what it says with few rights.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::api::{DeleteParams, PostParams};
use serde_json::{Value, json};

use crate::support::{Sandbox, shared_plane};

impl Sandbox {
    /// Runs `doctor` by a kubeconfig; its exit code, and the verdicts.
    fn doctor(&self, kubeconfig: &Path) -> (Option<i32>, Value) {
        self.doctor_with(kubeconfig, &["-n", &self.namespace])
    }

    fn doctor_with(&self, kubeconfig: &Path, arguments: &[&str]) -> (Option<i32>, Value) {
        let site = format!("global={}", self.stub.url());
        let output = Command::new(env!("CARGO_BIN_EXE_dingtalk-token-operator"))
            .args(["doctor", "--operator-namespace", &self.namespace])
            .args(arguments)
            .args([
                "--builtin-sites=false",
                "--allow-plain-http",
                "--site",
                &site,
                "-o",
                "json",
            ])
            // A proxy of the environment would be the way to the site.
            .env_clear()
            .env("KUBECONFIG", kubeconfig)
            .output()
            .expect("the program");
        let verdicts = serde_json::from_slice(&output.stdout).expect("JSON");
        (output.status.code(), verdicts)
    }
}

/// A kubeconfig of an account.
async fn kubeconfig(sandbox: &Sandbox, account: &str) -> PathBuf {
    let path = sandbox
        .folder()
        .join(format!("{account}.doctor.kubeconfig"));
    let kubeconfig = sandbox.kubeconfig_of(account).await;
    fs::write(&path, kubeconfig.to_string()).expect("written");
    path
}

/// The state of what has this subject, and what was said.
pub fn state<'a>(verdicts: &'a Value, subject: &str) -> (&'a str, &'a str) {
    let mut items = verdicts["items"].as_array().expect("items").iter();
    let found = items.find(|item| item["subject"] == subject);
    let found = found.unwrap_or_else(|| panic!("{subject} in {verdicts}"));
    let text = |name: &str| found[name].as_str().expect("a text");
    (text("state"), text("message"))
}

async fn deploy(sandbox: &Sandbox, image: &str) {
    let labels = json!({"app.kubernetes.io/name": "dingtalk-token-operator"});
    let container = json!({"name": "operator", "image": image});
    let pod = json!({"serviceAccountName": "operator", "containers": [container]});
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "dingtalk-token-operator", "labels": labels},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    });
    sandbox
        .apply::<Deployment>("dingtalk-token-operator", deployment)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_says_what_stands_in_the_way_with_few_rights_as_well() {
    let sandbox = Sandbox::without_operator("doctor", shared_plane().await).await;
    let _operator = sandbox.replica(&format!("global={}", sandbox.stub.url()));
    sandbox.ready_app("payroll").await;
    let namespace = sandbox.namespace.clone();
    let rights = format!("rights to serve {namespace}");
    // The API server publishes a schema a moment after its definition was created.
    sandbox
        .eventually("a published schema", async || {
            let (_, verdicts) = sandbox.doctor(sandbox.kubeconfig());
            (state(&verdicts, "CRD DingTalkApp").0 == "ok").then_some(())
        })
        .await;
    // Nobody has deployed it: the operator of the tests is a process.
    let (code, verdicts) = sandbox.doctor(sandbox.kubeconfig());
    assert_eq!(code, Some(3), "{verdicts}");
    assert_eq!(state(&verdicts, "operator").0, "fails");
    assert_eq!(state(&verdicts, "CRD DingTalkApp").0, "ok", "{verdicts}");
    assert_eq!(
        state(&verdicts, "CRD DingTalkTokenReference").0,
        "ok",
        "{verdicts}"
    );
    assert_eq!(state(&verdicts, "site global, HTTP").0, "ok", "{verdicts}");
    assert_eq!(state(&verdicts, "leader").0, "ok", "{verdicts}");
    assert_eq!(state(&verdicts, "allow-list").0, "ok", "{verdicts}");
    deploy(&sandbox, "registry.example:5000/operator:v9.9.9").await;
    let (_, verdicts) = sandbox.doctor(sandbox.kubeconfig());
    let (version, said) = state(&verdicts, "Deployment dingtalk-token-operator, version");
    assert!(version == "warn" && said.contains("v9.9.9"), "{verdicts}");
    assert_eq!(state(&verdicts, &rights).0, "ok", "{verdicts}");
    assert_eq!(state(&verdicts, "rights to lead").0, "ok", "{verdicts}");
    // As the operator sees it in its pod.
    let (code, verdicts) = sandbox.doctor(&kubeconfig(&sandbox, "operator").await);
    assert_eq!(code, Some(0), "{verdicts}");
    assert_eq!(state(&verdicts, &rights).0, "ok", "{verdicts}");
    assert_eq!(state(&verdicts, "leader").0, "ok", "{verdicts}");
    assert_eq!(state(&verdicts, "operator").0, "notChecked", "{verdicts}");
    // Without -n it would have to list all namespaces, which its Role does not allow.
    let (code, verdicts) = sandbox.doctor_with(&kubeconfig(&sandbox, "operator").await, &[]);
    assert_eq!(code, Some(0), "{verdicts}");
    assert_eq!(
        state(&verdicts, "rights to serve").0,
        "notChecked",
        "{verdicts}"
    );
    // As somebody of another namespace, without any right.
    let elsewhere = Sandbox::without_operator("doctor-elsewhere", shared_plane().await).await;
    let nobody = serde_json::from_value(json!({"metadata": {"name": "nobody"}})).expect("it");
    let accounts = elsewhere.api::<ServiceAccount>();
    accounts
        .create(&PostParams::default(), &nobody)
        .await
        .expect("created");
    let (code, verdicts) = sandbox.doctor(&kubeconfig(&elsewhere, "nobody").await);
    assert_eq!(code, Some(0), "{verdicts}");
    for subject in [
        "operator",
        "leader",
        "rights to lead",
        &rights,
        "allow-list",
    ] {
        assert_eq!(state(&verdicts, subject).0, "notChecked", "{verdicts}");
    }
    assert_eq!(state(&verdicts, "CRD DingTalkApp").0, "ok", "{verdicts}");
    // What is taken away is named.
    let bindings = sandbox.api::<RoleBinding>();
    let role = "dingtalk-token-operator";
    bindings
        .delete(role, &DeleteParams::default())
        .await
        .expect("deleted");
    let missing = sandbox
        .eventually("the right is gone", async || {
            let (_, verdicts) = sandbox.doctor(sandbox.kubeconfig());
            let (state, said) = state(&verdicts, &rights);
            (state == "fails").then(|| said.to_owned())
        })
        .await;
    assert!(missing.contains("get secrets"), "{missing}");
}
