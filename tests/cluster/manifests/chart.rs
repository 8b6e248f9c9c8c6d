//! The Helm chart beside the other manifests, and how it is used.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::{CHART, NAME, helm, helm_command, kustomize, objects, said, template};
use crate::support::documents;

/// What Helm adds to the labels.
const HELM_LABELS: [&str; 3] = [
    "app.kubernetes.io/managed-by",
    "app.kubernetes.io/version",
    "helm.sh/chart",
];
const KEEP: &str = "helm.sh/resource-policy";

type Objects = BTreeMap<String, Value>;

/// What the chart renders, without what Helm adds.
fn chart(arguments: &[&str]) -> Objects {
    let mut chart = objects(&template(arguments));
    for (name, object) in &mut chart {
        let labels = object.pointer_mut("/metadata/labels");
        let labels = labels.and_then(Value::as_object_mut);
        let labels = labels.unwrap_or_else(|| panic!("{name} has no labels"));
        for label in HELM_LABELS {
            assert!(labels.remove(label).is_some(), "{name} lacks {label}");
        }
        // An uninstall keeps the CRDs, and the apps with them.
        let annotations = object.pointer_mut("/metadata/annotations");
        let annotations = annotations.and_then(Value::as_object_mut);
        let is_kept = annotations.is_some_and(|all| all.remove(KEEP).is_some());
        assert_eq!(is_kept, name.starts_with("CustomResourceDefinition/"));
        drop_empty(object, "annotations");
    }
    chart
}

fn drop_empty(object: &mut Value, field: &str) {
    let metadata = object["metadata"].as_object_mut().expect("metadata");
    let is_empty = |value: &Value| value.as_object().is_some_and(serde_json::Map::is_empty);
    if metadata.get(field).is_some_and(is_empty) {
        metadata.remove(field);
    }
}

/// The manifests, without the namespace: `--create-namespace` is Helm's way.
fn manifests(yaml: &str) -> Objects {
    let mut manifests = objects(yaml);
    manifests.remove("Namespace//dingtalk-token-operator");
    for object in manifests.values_mut() {
        drop_empty(object, "annotations");
    }
    manifests
}

fn same(chart: &Objects, manifests: &Objects) {
    let names = |objects: &Objects| objects.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(chart), names(manifests));
    for (name, object) in manifests {
        assert_eq!(&chart[name], object, "{name}");
    }
}

#[test]
fn the_chart_and_the_manifests_install_the_same() {
    let install = include_str!("../../../deploy/install.yaml");
    same(&chart(&[]), &manifests(install));
}

#[test]
fn the_chart_and_the_overlays_install_the_same() {
    let mut overlays = manifests(&kustomize("deploy/namespaced"));
    overlays.extend(objects(&kustomize("deploy/monitoring")));
    for opt_in in ["rollout-restart", "immediate-propagation"] {
        let file = format!("deploy/opt-in/{opt_in}.yaml");
        for mut object in documents(&std::fs::read_to_string(file).expect("a file")) {
            // As `kubectl apply -n hr` and the labels of the overlays do.
            let kind = object["kind"].as_str().expect("a kind").to_owned();
            object["metadata"]["labels"] = json!({
                "app.kubernetes.io/instance": NAME,
                "app.kubernetes.io/name": NAME,
                "app.kubernetes.io/part-of": NAME,
            });
            let mut namespace = "";
            if kind == "RoleBinding" {
                namespace = "hr";
                assert!(object["metadata"]["namespace"].is_null(), "{opt_in}");
                object["metadata"]["namespace"] = json!(namespace);
            }
            let name = object["metadata"]["name"].as_str().expect("a name");
            overlays.insert(format!("{kind}/{namespace}/{name}"), object);
        }
    }
    let chart = chart(&[
        "--set=watchNamespaces={hr,payroll}",
        "--set=rolloutRestart.namespaces={hr},immediatePropagation.namespaces={hr}",
        "--set=serviceMonitor.enabled=true,prometheusRule.enabled=true,dashboard.enabled=true",
    ]);
    same(&chart, &overlays);
}

#[test]
fn a_right_is_bound_in_the_namespaces_that_are_named_alone() {
    let bindings = |namespaces: &str| -> Vec<String> {
        let set = |right: &str| format!("--set-json={right}.namespaces={namespaces}");
        let rights = [set("rolloutRestart"), set("immediatePropagation")];
        let all = objects(&template(&rights.each_ref().map(String::as_str)));
        let is_binding = |key: &&String| {
            let opt_in = ["-rollout-restart", "-immediate-propagation"];
            key.contains("Binding/") && opt_in.iter().any(|name| key.ends_with(name))
        };
        all.keys().filter(is_binding).cloned().collect()
    };
    assert!(bindings("[]").is_empty());
    let namespaced = [
        "RoleBinding/hr/dingtalk-token-operator-immediate-propagation",
        "RoleBinding/hr/dingtalk-token-operator-rollout-restart",
    ];
    assert_eq!(bindings(r#"["hr"]"#), namespaced);
    let everywhere = [
        "ClusterRoleBinding//dingtalk-token-operator-immediate-propagation",
        "ClusterRoleBinding//dingtalk-token-operator-rollout-restart",
    ];
    assert_eq!(bindings(r#"["hr", "*"]"#), everywhere);
}

#[test]
fn with_namespaces_nothing_is_granted_over_secrets_to_all_of_them() {
    let all = objects(&template(&["--set=watchNamespaces={hr,payroll}"]));
    let bindings = all
        .keys()
        .filter(|key| key.starts_with("ClusterRoleBinding/"));
    // It grants a path that leads nowhere.
    let field_manager = "ClusterRoleBinding//dingtalk-token-operator-field-manager";
    assert_eq!(bindings.collect::<Vec<_>>(), [field_manager]);
    let roles = all.keys().filter(|key| key.starts_with("Role/"));
    let expected = [
        "Role/dingtalk-token-operator/dingtalk-token-operator-leader-election",
        "Role/hr/dingtalk-token-operator",
        "Role/payroll/dingtalk-token-operator",
    ];
    assert_eq!(roles.collect::<Vec<_>>(), expected);
}

/// Another name of the release changes names and selectors together, and the Lease that is waited for.
#[test]
fn a_release_of_another_name_is_whole() {
    let all = objects(&helm(&["template", "dev", CHART, "--namespace", "tokens"]));
    let name = "dev-dingtalk-token-operator";
    let deployment = &all[&format!("Deployment/tokens/{name}")];
    let selector = &deployment["spec"]["selector"]["matchLabels"];
    let expected = json!({"app.kubernetes.io/name": NAME, "app.kubernetes.io/instance": "dev"});
    assert_eq!(*selector, expected);
    let pod = &deployment["spec"]["template"];
    for (label, value) in expected.as_object().expect("labels") {
        assert_eq!(&pod["metadata"]["labels"][label], value);
    }
    let peer = "/spec/template/spec/affinity/podAntiAffinity/preferredDuringSchedulingIgnoredDuringExecution/0/podAffinityTerm/labelSelector/matchLabels";
    assert_eq!(deployment.pointer(peer), Some(&expected));
    for (key, pointer) in [
        (format!("Service/tokens/{name}-metrics"), "/spec/selector"),
        (
            format!("PodDisruptionBudget/tokens/{name}"),
            "/spec/selector/matchLabels",
        ),
        (
            format!("NetworkPolicy/tokens/{name}"),
            "/spec/podSelector/matchLabels",
        ),
    ] {
        assert_eq!(all[&key].pointer(pointer), Some(&expected), "{key}");
    }
    let lease = &all[&format!("Role/tokens/{name}-leader-election")]["rules"][1]["resourceNames"];
    assert_eq!(*lease, json!([name]));
    let arguments = &pod["spec"]["containers"][0]["args"];
    let lease = format!("--leader-elect-resource-name={name}");
    assert_eq!(*arguments, json!(["run", lease]));

    let second = ["template", "dev", CHART, "--set=crds.enabled=false"];
    let second = objects(&helm(&second));
    let first = objects(&template(&[]));
    let shared: Vec<_> = second
        .keys()
        .filter(|key| first.contains_key(*key))
        .collect();
    assert!(shared.is_empty(), "{shared:?}");
}

#[test]
fn a_value_that_does_not_exist_or_is_of_the_wrong_kind_is_refused() {
    for (wrong, said) in [
        ("watchNamespace=hr", "watchNamespace"),
        ("networkPolicy.ingress=x", "ingress"),
        ("replicaCount=0", "replicaCount"),
        ("watchNamespaces={HR}", "watchNamespaces"),
        ("rolloutRestart=true", "rolloutRestart"),
        ("sites.A=https://dingtalk.example.com", "propertyName 'A'"),
        ("sites.a=dingtalk.example.com", "sites"),
        ("proxy.httpsProxy=proxy.example.com:3128", "httpsProxy"),
        ("image.digest=latest", "digest"),
        ("podDisruptionBudget.maxUnavailable=half", "maxUnavailable"),
        ("serviceMonitor.interval=30", "interval"),
        ("serviceAccount.create=false", "serviceAccount.name"),
        (
            "enabled=false",
            "condition: dingtalk-token-operator.enabled",
        ),
    ] {
        refused(&format!("--set={wrong}"), said);
    }
    // Either would open the metrics to everybody.
    refused("--set-json=networkPolicy.metricsFrom=[]", "metricsFrom");
    refused("--set=networkPolicy.metricsFrom=null", "metricsFrom");
}

fn refused(argument: &str, said: &str) {
    let mut command = helm_command(&["template", NAME, CHART, argument]);
    let output = command.output().expect("started");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    let is_refused = !output.status.success() && error.contains(said);
    assert!(is_refused, "{argument}: {error}");
}

/// With the default image it says that no registry has it; with one's own it does not.
#[test]
fn the_notes_say_what_to_do_next() {
    let notes = |arguments: &[&str]| {
        let install = [
            "install",
            NAME,
            CHART,
            "--namespace",
            "tokens",
            "--dry-run=client",
        ];
        let said = helm(&[install.as_slice(), arguments].concat());
        let (_, notes) = said.split_once("\nNOTES:\n").expect("notes");
        notes.to_owned()
    };
    let default = notes(&[]);
    for said in [
        "serves all namespaces.",
        "kubectl rollout status deployment/dingtalk-token-operator -n tokens\n",
        "which no registry has",
        "    site: china\n",
        "docs/reasons.md",
    ] {
        assert!(default.contains(said), "{said}: {default}");
    }
    let own = notes(&[
        "--set=image.registry=registry.example.com,watchNamespaces={payroll,web}",
        "--set=builtinSites=false,sites.sandbox=https://dingtalk.example.com",
    ]);
    for said in [
        "serves the namespaces payroll, web.",
        "kubectl apply -n payroll -f payroll.yaml",
        "    site: sandbox\n",
    ] {
        assert!(own.contains(said), "{said}: {own}");
    }
    assert!(!own.contains("no registry"), "{own}");
}

#[test]
fn an_umbrella_chart_may_leave_it_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let charts = folder.path().join("charts");
    std::fs::create_dir(&charts).expect("a folder");
    said(Command::new("cp").arg("-R").arg(CHART).arg(&charts));
    let umbrella = json!({
        "apiVersion": "v2", "name": "platform", "version": "1.0.0",
        "dependencies": [{
            "name": NAME, "version": env!("CARGO_PKG_VERSION"), "repository": "",
            "condition": "dingtalk-token-operator.enabled",
        }],
    });
    std::fs::write(folder.path().join("Chart.yaml"), umbrella.to_string()).expect("written");
    let folder = folder.path().display().to_string();
    let render = |set: &str| objects(&helm(&["template", "platform", &folder, set]));
    let on = render("--set=global.team=sre,dingtalk-token-operator.replicaCount=1");
    let deployment = &on["Deployment/default/platform-dingtalk-token-operator"];
    assert_eq!(deployment["spec"]["replicas"], 1);
    assert!(render("--set=dingtalk-token-operator.enabled=false").is_empty());
}

#[test]
fn artifact_hub_knows_each_crd() {
    let text = std::fs::read_to_string(Path::new(CHART).join("Chart.yaml")).expect("a file");
    let chart = documents(&text).remove(0);
    let listed = chart["annotations"]["artifacthub.io/crds"].as_str();
    let listed = documents(listed.expect("a list")).remove(0);
    let field = |crd: &Value, pointer: &str| crd.pointer(pointer).cloned().unwrap_or_default();
    let mut listed: Vec<[Value; 3]> = listed
        .as_array()
        .expect("a list")
        .iter()
        .map(|crd| ["/name", "/kind", "/version"].map(|pointer| field(crd, pointer)))
        .collect();
    listed.sort_by_key(|crd| crd[0].to_string());
    let there: Vec<[Value; 3]> = objects(&template(&[]))
        .into_iter()
        .filter(|(key, _)| key.starts_with("CustomResourceDefinition/"))
        .map(|(_, crd)| {
            [
                "/metadata/name",
                "/spec/names/kind",
                "/spec/versions/0/name",
            ]
            .map(|pointer| field(&crd, pointer))
        })
        .collect();
    assert_eq!(listed, there);
}
