//! The chart's values: each of them is in one of `ci/`'s files, and does what it says.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{CHART, NAME, helm, helm_command, objects, template};
use crate::support::documents;

/// Values that are not for the templates.
const FOR_UMBRELLAS: [&str; 2] = ["/enabled", "/global"];

/// The files of values for tests.
pub(super) fn files() -> Vec<PathBuf> {
    let folder = std::fs::read_dir(Path::new(CHART).join("ci")).expect("a folder");
    let mut files: Vec<_> = folder.flatten().map(|entry| entry.path()).collect();
    files.sort();
    files
}

/// What the chart renders with a file of values.
pub(super) fn rendered(file: &Path) -> String {
    template(&[&format!("--values={}", file.display())])
}

/// The values that can be set, as JSON pointers.
fn pointers(schema: &Value, above: &str, found: &mut BTreeSet<String>) {
    let Some(properties) = schema["properties"].as_object() else {
        found.insert(above.to_owned());
        return;
    };
    for (name, property) in properties {
        pointers(property, &format!("{above}/{name}"), found);
    }
}

fn schema() -> BTreeSet<String> {
    let text = std::fs::read_to_string(Path::new(CHART).join("values.schema.json"));
    let schema: Value = serde_json::from_str(&text.expect("a file")).expect("JSON");
    let mut found = BTreeSet::new();
    pointers(&schema, "", &mut found);
    found
}

#[test]
fn every_value_is_in_a_file_of_ci_and_changes_what_is_rendered() {
    let all = schema();
    let mut seen: BTreeSet<String> = BTreeSet::new();
    let folder = tempfile::tempdir().expect("a folder");
    let fewer = folder.path().join("values.json");
    for file in files() {
        helm(&[
            "lint",
            "--strict",
            CHART,
            &format!("--values={}", file.display()),
        ]);
        let values = documents(&std::fs::read_to_string(&file).expect("a file")).remove(0);
        let with = rendered(&file);
        for pointer in &all {
            let (above, name) = pointer.rsplit_once('/').expect("a pointer");
            let mut without = values.clone();
            let section = without.pointer_mut(above).and_then(Value::as_object_mut);
            if section.and_then(|section| section.remove(name)).is_none() {
                continue;
            }
            seen.insert(pointer.clone());
            if FOR_UMBRELLAS.contains(&pointer.as_str()) {
                continue;
            }
            std::fs::write(&fewer, without.to_string()).expect("written");
            let values = format!("--values={}", fewer.display());
            let mut command =
                helm_command(&["template", NAME, CHART, "--namespace", NAME, &values]);
            // Without it the chart may be refused, which is another result, too.
            let output = command.output().expect("started").stdout;
            let without = String::from_utf8_lossy(&output);
            assert_ne!(with, without, "{}: {pointer}", file.display());
        }
    }
    assert_eq!(seen, all);
}

/// An object and what stands in it somewhere, of what a file of `ci/` renders.
fn assert_rendered(file: &str, key: &str, expected: &[(&str, Value)]) {
    let all = objects(&rendered(&Path::new(CHART).join("ci").join(file)));
    for (pointer, value) in expected {
        let found = all.get(key).unwrap_or_else(|| panic!("{file}: no {key}"));
        assert_eq!(
            found.pointer(pointer),
            Some(value),
            "{file}: {key}{pointer}"
        );
    }
}

const OPERATOR: &str = "dingtalk-token-operator/dingtalk-token-operator";
const CONTAINER: &str = "/spec/template/spec/containers/0";

#[test]
fn a_private_network_needs_no_patch() {
    let digest = format!("sha256:{}", "0a".repeat(32));
    let image = format!("registry.example.com/platform/operators/dingtalk-token-operator@{digest}");
    let ca = "/etc/dingtalk-token-operator/ca";
    let container = |field: &str| format!("{CONTAINER}/{field}");
    let volumes = json!([{"name": "ca-bundle", "configMap": {"name": "company-ca"}}]);
    assert_rendered(
        "private-values.yaml",
        &format!("Deployment/{OPERATOR}"),
        &[
            (&container("image"), json!(image)),
            (
                &container("args"),
                json!([
                    "run",
                    "--builtin-sites=false",
                    "--site=sandbox=https://dingtalk.example.com:8444",
                    format!("--ca-bundle={ca}/bundle.pem"),
                ]),
            ),
            (
                &container("env"),
                json!([
                    {"name": "HTTPS_PROXY", "value": "http://proxy.example.com:3128"},
                    {"name": "NO_PROXY", "value": ".example.com,10.0.0.0/8"},
                ]),
            ),
            (&container("volumeMounts/0/mountPath"), json!(ca)),
            ("/spec/template/spec/volumes", volumes),
        ],
    );
    let ports = [443, 8443, 3128, 8444].map(|port| json!({"protocol": "TCP", "port": port}));
    let policy = format!("NetworkPolicy/{OPERATOR}");
    assert_rendered(
        "private-values.yaml",
        &policy,
        &[("/spec/egress/1/ports", json!(ports))],
    );
    let elsewhere = [(
        "/spec/egress",
        json!([{"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}]),
    )];
    assert_rendered("pod-values.yaml", &policy, &elsewhere);
}

#[test]
fn a_port_of_the_proxy_that_is_not_written_is_that_of_its_scheme() {
    for (proxy, port) in [
        ("http://proxy.example.com", 80),
        ("http://user:pass@proxy.example.com:8080/", 8080),
        ("http://[fd00::3128]", 80),
        ("http://[fd00::1]:3128", 3128),
    ] {
        let set = format!("--set=proxy.httpsProxy={proxy}");
        let policy = &objects(&template(&[&set]))[&format!("NetworkPolicy/{OPERATOR}")];
        let ports = policy.pointer("/spec/egress/1/ports");
        let ports = ports.and_then(Value::as_array).expect("ports");
        let ports: Vec<_> = ports.iter().map(|port| port["port"].clone()).collect();
        assert_eq!(ports, [json!(443), json!(6443), json!(port)], "{proxy}");
    }
}

#[test]
fn one_replica_holds_back_no_drain_and_is_placed_as_its_values_say() {
    let pod = "/spec/template/spec";
    let arguments = [
        "run",
        "--log-level=info,dingtalk_token_operator=debug",
        "--log-format=json",
        "--site-requests-per-second=100",
    ];
    let image = "dingtalk-token-operator.invalid/dingtalk-token-operator:v0.1.0-rc.1";
    assert_rendered(
        "pod-values.yaml",
        &format!("Deployment/{OPERATOR}"),
        &[
            ("/spec/replicas", json!(1)),
            (&format!("{CONTAINER}/image"), json!(image)),
            (&format!("{CONTAINER}/args"), json!(arguments)),
            (
                &format!("{pod}/securityContext"),
                json!({"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}}),
            ),
            // Another part, but still the selector's labels.
            (
                "/spec/template/metadata/labels/app.kubernetes.io~1part-of",
                json!("platform"),
            ),
            (
                "/spec/template/metadata/labels/app.kubernetes.io~1instance",
                json!("dingtalk-token-operator"),
            ),
        ],
    );
    let budget = objects(&template(&["--set=replicaCount=1"]));
    let budget = &budget[&format!("PodDisruptionBudget/{OPERATOR}")]["spec"];
    assert_eq!(budget["maxUnavailable"], 1);
    assert_eq!(budget["minAvailable"], Value::Null);
}

#[test]
fn monitors_and_rules_have_the_labels_by_which_prometheus_selects_them() {
    for kind in ["ServiceMonitor", "PrometheusRule"] {
        assert_rendered(
            "monitoring-values.yaml",
            &format!("{kind}/monitoring/dingtalk-token-operator"),
            &[
                ("/metadata/labels/release", json!("kube-prometheus-stack")),
                ("/metadata/annotations", json!({"example.com/team": "sre"})),
            ],
        );
    }
    assert_rendered(
        "monitoring-values.yaml",
        "ServiceMonitor/monitoring/dingtalk-token-operator",
        &[
            ("/spec/endpoints/0/interval", json!("15s")),
            ("/spec/endpoints/0/honorLabels", json!(true)),
            (
                "/spec/namespaceSelector/matchNames",
                json!(["dingtalk-token-operator"]),
            ),
        ],
    );
}

#[test]
fn a_platforms_names_reach_the_policies() {
    let file = "platform-values.yaml";
    let account =
        "request.userInfo.username.matches('^system:serviceaccount:[^:]+:platform[.]tokens$')";
    assert_rendered(
        file,
        "ValidatingAdmissionPolicy//platform-tokens-secrets",
        &[("/spec/matchConditions/0/expression", json!(account))],
    );
    assert_rendered(
        file,
        "ValidatingAdmissionPolicyBinding//platform-tokens-secrets",
        &[("/spec/policyName", json!("platform-tokens-secrets"))],
    );
    assert_rendered(
        file,
        "ClusterRoleBinding//platform-tokens-field-manager",
        &[("/subjects/0/name", json!("platform.tokens"))],
    );
}
