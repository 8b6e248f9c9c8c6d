//! What `deploy/` holds, as the API server and Helm see it.

mod applied;
mod chart;
mod page;
mod values;

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::{assets, documents, provided};

const CHART: &str = "deploy/helm/dingtalk-token-operator";
const NAME: &str = "dingtalk-token-operator";

fn helm(arguments: &[&str]) -> String {
    said(&mut helm_command(arguments))
}

fn helm_command(arguments: &[&str]) -> Command {
    let mut command = Command::new(provided("HELM"));
    command
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    command
}

fn kustomize(folder: &str) -> String {
    said(Command::new(assets().kubectl).args(["kustomize", folder]))
}

fn said(command: &mut Command) -> String {
    let command = command
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::null());
    let output = command.output().expect("started");
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout).expect("text")
}

fn template(arguments: &[&str]) -> String {
    let release = ["template", NAME, CHART, "--namespace", NAME];
    helm(&[release.as_slice(), arguments].concat())
}

/// The objects of a YAML text, by kind, namespace and name.
///
/// Kustomize gives the policies a namespace, which they do not have: the API server ignores it.
fn objects(yaml: &str) -> BTreeMap<String, Value> {
    let objects = documents(yaml)
        .into_iter()
        .filter(|object| !object.is_null());
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    objects
        .map(|object| {
            let metadata = &object["metadata"];
            let [kind, mut namespace, name] =
                [&object["kind"], &metadata["namespace"], &metadata["name"]].map(text);
            if kind.starts_with("ValidatingAdmissionPolicy") {
                namespace.clear();
            }
            ([kind, namespace, name].join("/"), object)
        })
        .collect()
}

#[test]
fn the_namespaced_overlay_grants_nothing_over_secrets_to_all_namespaces() {
    let overlay = objects(&kustomize("deploy/namespaced"));
    let over_secrets = |object: &&Value| {
        let rules = object["rules"].as_array().into_iter().flatten();
        rules
            .into_iter()
            .any(|rule| rule["resources"].to_string().contains("secrets"))
    };
    let granting: Vec<_> = overlay.values().filter(over_secrets).collect();
    assert_eq!(granting.len(), 2);
    assert!(granting.iter().all(|object| object["kind"] == "Role"));
    let bound: Vec<_> = overlay
        .keys()
        .filter(|key| key.starts_with("ClusterRoleBinding/"))
        .collect();
    // It grants a path that leads nowhere.
    let field_manager = "ClusterRoleBinding//dingtalk-token-operator-field-manager";
    assert_eq!(bound, [field_manager]);
    let operator = &overlay["Deployment/dingtalk-token-operator/dingtalk-token-operator"];
    let arguments = &operator["spec"]["template"]["spec"]["containers"][0]["args"];
    assert_eq!(
        *arguments,
        json!(["run", "--watch-namespace=hr", "--watch-namespace=payroll"])
    );
}

/// As the header of deploy/namespaced/kustomization.yaml says.
#[test]
fn the_namespaced_overlay_can_be_copied_elsewhere() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir_in(root.join("target")).expect("a folder");
    said(
        Command::new("cp")
            .args(["-R", "deploy/namespaced/."])
            .arg(folder.path()),
    );
    for (file, path, clone) in [
        ("kustomization.yaml", "../base", "../../deploy/base"),
        (
            "hr/kustomization.yaml",
            "../../rbac-namespaced",
            "../../../deploy/rbac-namespaced",
        ),
        (
            "payroll/kustomization.yaml",
            "../../rbac-namespaced",
            "../../../deploy/rbac-namespaced",
        ),
    ] {
        let file = folder.path().join(file);
        let text = std::fs::read_to_string(&file).expect("a file");
        let [path, clone] = [path, clone].map(|path| format!("  - {path}\n"));
        assert!(text.contains(&path), "{text}");
        std::fs::write(&file, text.replace(&path, &clone)).expect("written");
    }
    let copied = kustomize(&folder.path().display().to_string());
    assert_eq!(objects(&copied), objects(&kustomize("deploy/namespaced")));
}

const POLICIES: [&str; 4] = ["field-manager", "pods", "secrets", "workloads"];

fn policies(objects: &BTreeMap<String, Value>) -> Vec<String> {
    let prefix = "ValidatingAdmissionPolicy//dingtalk-token-operator-";
    let policies = objects.keys().filter_map(|key| key.strip_prefix(prefix));
    let policies: Vec<String> = policies.map(str::to_owned).collect();
    let bound = |key: &&String| key.starts_with("ValidatingAdmissionPolicyBinding/");
    assert_eq!(objects.keys().filter(bound).count(), policies.len());
    let marks = |key: &&String| key.ends_with("-field-manager") && key.starts_with("ClusterRole");
    let marked = objects.keys().filter(marks).count();
    assert_eq!(marked, if policies.is_empty() { 0 } else { 2 });
    policies
}

/// What kustomize makes of an overlay with these fields, beside those in `deploy/`.
fn overlay(fields: &Value) -> BTreeMap<String, Value> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir_in(root.join("target")).expect("a folder");
    std::fs::write(folder.path().join("kustomization.yaml"), fields.to_string()).expect("written");
    objects(&kustomize(&folder.path().display().to_string()))
}

#[test]
fn the_admission_policies_are_there_unless_they_are_taken_out() {
    assert_eq!(policies(&objects(&template(&[]))), POLICIES);
    assert_eq!(
        policies(&objects(&kustomize("deploy/namespaced"))),
        POLICIES
    );
    let off = objects(&template(&["--set=admissionPolicy.enabled=false"]));
    assert!(policies(&off).is_empty());
    for base in ["cluster-wide", "namespaced"] {
        let off = overlay(&json!({
            "resources": [format!("../../deploy/{base}")],
            "components": ["../../deploy/without-admission-policy"],
        }));
        assert!(policies(&off).is_empty());
        let deployment = "Deployment/dingtalk-token-operator/dingtalk-token-operator";
        assert!(off.contains_key(deployment), "the rest stays");
    }
}

/// The policies name the operator's account without its namespace, and a binding with it.
#[test]
fn in_another_namespace_the_policies_concern_the_same_account() {
    let elsewhere = ["template", NAME, CHART, "--namespace", "tokens"];
    let chart = objects(&helm(&elsewhere));
    // As docs/installing.md has it.
    let transformer = json!({
        "apiVersion": "builtin", "kind": "NamespaceTransformer",
        "metadata": {"name": "tokens", "namespace": "tokens"},
        "setRoleBindingSubjects": "allServiceAccounts",
        "fieldSpecs": [
            {"path": "metadata/namespace", "create": true},
            {"path": "metadata/name", "kind": "Namespace"},
        ],
    });
    let wide = overlay(&json!({
        "resources": ["../../deploy/cluster-wide"],
        "transformers": [transformer.to_string()],
    }));
    for all in [chart, wide] {
        assert_eq!(policies(&all), POLICIES);
        let account = all.keys().find(|key| key.starts_with("ServiceAccount/"));
        let account = account.expect("an account");
        assert_eq!(account, "ServiceAccount/tokens/dingtalk-token-operator");
        let binding = "ClusterRoleBinding//dingtalk-token-operator-field-manager";
        assert_eq!(all[binding]["subjects"][0]["namespace"], "tokens");
        for policy in ["pods", "secrets", "workloads"] {
            let policy = format!("ValidatingAdmissionPolicy//dingtalk-token-operator-{policy}");
            let condition = &all[&policy]["spec"]["matchConditions"][0]["expression"];
            let condition = condition.as_str().expect("CEL");
            let by_name = "request.userInfo.username.matches('^system:serviceaccount:[^:]+:dingtalk-token-operator$')";
            assert_eq!(condition, by_name);
        }
    }
}

#[test]
fn metrics_are_for_prometheus_alone_and_the_image_is_nobodys() {
    let install = objects(include_str!("../../../deploy/install.yaml"));
    let policy = "NetworkPolicy/dingtalk-token-operator/dingtalk-token-operator";
    let ingress = |objects: &BTreeMap<String, Value>| objects[policy]["spec"]["ingress"].clone();
    let from = |labels: Value| {
        json!([{
            "from": [{"namespaceSelector": {"matchLabels": labels}}],
            "ports": [{"port": "metrics", "protocol": "TCP"}],
        }])
    };
    let monitoring = from(json!({"kubernetes.io/metadata.name": "monitoring"}));
    assert_eq!(ingress(&install), monitoring);
    let labels = "networkPolicy.metricsFrom[0].namespaceSelector.matchLabels.team=sre";
    let chart = objects(&template(&[&format!("--set={labels}")]));
    assert_eq!(ingress(&chart), from(json!({"team": "sre"})));

    let image = |objects: &BTreeMap<String, Value>| {
        let deployment = &objects["Deployment/dingtalk-token-operator/dingtalk-token-operator"];
        deployment["spec"]["template"]["spec"]["containers"][0]["image"].clone()
    };
    let version = env!("CARGO_PKG_VERSION");
    let nobodys = format!("dingtalk-token-operator.invalid/dingtalk-token-operator:v{version}");
    assert_eq!(image(&install), json!(nobodys));
    let digest = format!("sha256:{}", "0a".repeat(32));
    let set = format!("--set=image.repository=registry.example/operator,image.digest={digest}");
    let chart = objects(&template(&[&set]));
    assert_eq!(
        image(&chart),
        json!(format!("registry.example/operator@{digest}"))
    );
}
