//! What is applied reads back as it was written: tools that compare find no difference.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::support::{CLIENT_ID, CLIENT_SECRET, Plane, Sandbox, kubectl, provided};

/// One of each field, for both kinds.
const EVERY_FIELD: &str = r#"
apiVersion: dingtalk-token-operator.github.io/v1alpha1
kind: DingTalkApp
metadata:
  name: every-field
spec:
  credentialsSecretRef:
    name: credentials
    clientIdKey: id
    clientSecretKey: secret
  corpIds: [ding1, Ding2]
  site: global
  target:
    name: every-token
    layout: Combined
    labels: {example.com/team: hr}
    annotations: {example.com/note: "x"}
    template:
      data: {tokens.json: "{{ corps|tojson }}"}
    propagation: Immediate
    deletionPolicy: Retain
  renewBefore: 1h30m
  referenceGrants:
    - namespace: web
  rolloutRestartTargets:
    - kind: Deployment
      name: api
  suspend: true
---
apiVersion: dingtalk-token-operator.github.io/v1alpha1
kind: DingTalkTokenReference
metadata:
  name: every-field
spec:
  appRef:
    namespace: hr
    name: payroll
  target:
    name: copy
    labels: {example.com/team: web}
    annotations: {example.com/note: "x"}
"#;

/// Runs kubectl; gives its exit code and what it said.
fn kubectl_of(sandbox: &Sandbox, arguments: &[&str], file: &Path) -> (i32, String) {
    let output = kubectl(sandbox.kubeconfig())
        .args(["--namespace", &sandbox.namespace])
        .args(arguments)
        .arg("-f")
        .arg(file)
        .output()
        .expect("kubectl");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    (output.status.code().unwrap_or(-1), said)
}

/// As `kubectl apply`, and as Argo CD and others that apply on the server's side.
fn applied_without_drift(sandbox: &Sandbox, file: &Path) {
    let server_side = [
        "--server-side",
        "--force-conflicts",
        "--field-manager=drift",
    ];
    for flags in [&[] as &[&str], &server_side] {
        let (code, said) = kubectl_of(sandbox, &[&["apply"], flags].concat(), file);
        assert_eq!(code, 0, "{}: {said}", file.display());
        let (code, said) = kubectl_of(sandbox, &[&["diff"], flags].concat(), file);
        assert_eq!(code, 0, "{} differs: {said}", file.display());
    }
}

#[tokio::test]
async fn crds_and_samples_read_back_as_they_were_applied() {
    let plane = Plane::start().await;
    let mut sandbox = Sandbox::without_operator("drift", &plane).await;
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let chart = sandbox.folder().join("chart.yaml");
    let templated = Command::new(provided("HELM"))
        .args(["template", "deploy/helm/dingtalk-token-operator"])
        .args(["--show-only", "templates/crds.yaml"])
        .current_dir(root)
        .output()
        .expect("helm");
    assert!(templated.status.success(), "{templated:?}");
    std::fs::write(&chart, templated.stdout).expect("written");
    let crds = std::fs::read_dir(root.join("crds")).expect("a folder");
    let crds = crds.flatten().map(|entry| entry.path());
    let is_crd = |path: &PathBuf| path.to_string_lossy().contains("github.io");
    for file in crds.filter(is_crd).chain([chart]) {
        applied_without_drift(&sandbox, &file);
    }

    // With an operator that writes statuses beside them.
    sandbox.stub.register(CLIENT_ID, CLIENT_SECRET, &["ding1"]);
    sandbox.start_operator(&[]);
    sandbox.ready_app("payroll").await;
    let every = sandbox.folder().join("every-field.yaml");
    std::fs::write(&every, EVERY_FIELD).expect("written");
    let samples = root.join("deploy/samples");
    for file in [
        samples.join("dingtalkapp.yaml"),
        samples.join("another-namespace/tokenreference.yaml"),
        every.clone(),
    ] {
        applied_without_drift(&sandbox, &file);
    }
    sandbox
        .eventually("a status", async || {
            let (_, app) = sandbox.kubectl(&["get", "dta", "every-field", "-o", "json"]);
            let app: serde_json::Value = serde_json::from_str(&app).ok()?;
            app["status"]["conditions"].is_array().then_some(())
        })
        .await;
    applied_without_drift(&sandbox, &every);

    // An explicit null is what is left out.
    let merge = json!({"spec": {"renewBefore": null, "referenceGrants": null}}).to_string();
    let (patched, said) =
        sandbox.kubectl(&["patch", "dta", "every-field", "--type=merge", "-p", &merge]);
    assert!(patched, "{said}");
}

#[tokio::test]
async fn people_find_apps_by_site_and_credentials() {
    let sandbox = Sandbox::new("selectable").await;
    sandbox.ready_app("payroll").await;
    let spec = json!({"corpIds": ["ding1"], "site": "china", "suspend": true});
    sandbox.app_with("expenses", spec).await;
    for (selector, found) in [
        ("spec.site=china", "expenses"),
        ("spec.site=global", "payroll"),
        (
            "spec.credentialsSecretRef.name=payroll-credentials",
            "payroll",
        ),
    ] {
        let (_, names) =
            sandbox.kubectl(&["get", "dta", "-o", "name", "--field-selector", selector]);
        assert_eq!(names.lines().count(), 1, "{selector}: {names}");
        assert!(names.trim_end().ends_with(&format!("/{found}")), "{names}");
    }
}
