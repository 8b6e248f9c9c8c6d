//! What `deploy/` holds, as the API server and Helm see it.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use crate::support::{Plane, Sandbox, assets, documents};

const CHART: &str = "deploy/helm/dingtalk-token-operator";
const NAME: &str = "dingtalk-token-operator";

fn helm(arguments: &[&str]) -> String {
    said(&mut helm_command(arguments))
}

fn helm_command(arguments: &[&str]) -> Command {
    let program = std::env::var_os("HELM").expect("`cargo xtask test` sets it");
    let mut command = Command::new(program);
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
fn the_chart_and_the_manifest_install_the_same() {
    let mut manifest = objects(include_str!("../../deploy/install.yaml"));
    // `--create-namespace` is Helm's way.
    manifest
        .remove("Namespace//dingtalk-token-operator")
        .expect("a namespace");
    let mut chart = objects(&template(&[]));
    let keep = "helm.sh/resource-policy";
    let mut kept = 0;
    for object in chart.values_mut() {
        let annotations = object["metadata"]["annotations"].as_object_mut();
        kept += usize::from(annotations.is_some_and(|all| all.remove(keep).is_some()));
    }
    assert_eq!(
        kept, 2,
        "an uninstall keeps the CRDs, and the apps with them"
    );
    for object in chart.values_mut().chain(manifest.values_mut()) {
        let annotations = &mut object["metadata"]["annotations"];
        if annotations
            .as_object()
            .is_none_or(serde_json::Map::is_empty)
        {
            object["metadata"]
                .as_object_mut()
                .expect("metadata")
                .remove("annotations");
        }
    }
    let names = |objects: &BTreeMap<String, Value>| objects.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&chart), names(&manifest));
    for (name, object) in &manifest {
        assert_eq!(&chart[name], object, "{name}");
    }
}

#[test]
fn the_chart_is_well_formed_and_its_values_do_what_they_say() {
    helm(&["lint", "--strict", CHART]);
    let all = objects(&template(&[
        "--set=watchNamespaces={hr,payroll},args={--log-format=json},replicas=3",
        "--set=rolloutRestart=true,immediatePropagation=true,monitoring=true,networkPolicy.enabled=false",
        "--set=podDisruptionBudget.enabled=false,image.tag=v9,image.pullPolicy=Never",
        "--set=env[0].name=HTTPS_PROXY,env[0].value=http://proxy:3128",
        "--set=volumes[0].name=ca,volumes[0].secret.secretName=ca",
        "--set=volumeMounts[0].name=ca,volumeMounts[0].mountPath=/ca",
    ]));
    let deployment = &all["Deployment/dingtalk-token-operator/dingtalk-token-operator"];
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(deployment["spec"]["replicas"], 3);
    assert_eq!(
        container["args"],
        json!([
            "run",
            "--watch-namespace=hr",
            "--watch-namespace=payroll",
            "--log-format=json"
        ])
    );
    assert!(
        container["image"]
            .as_str()
            .is_some_and(|image| image.ends_with(":v9"))
    );
    assert_eq!(container["imagePullPolicy"], "Never");
    assert_eq!(container["env"][0]["value"], "http://proxy:3128");
    assert_eq!(container["volumeMounts"][0]["mountPath"], "/ca");
    let rules = &all["PrometheusRule/dingtalk-token-operator/dingtalk-token-operator"];
    let source = include_str!("../../deploy/monitoring/prometheus-rule.yaml");
    assert_eq!(rules["spec"], documents(source)[0]["spec"]);
    let dashboard = "ConfigMap/dingtalk-token-operator/dingtalk-token-operator-dashboard";
    let dashboard = all[dashboard]["data"]["dingtalk-token-operator.json"].as_str();
    let source = include_str!("../../deploy/monitoring/dingtalk-token-operator.json");
    assert_eq!(dashboard, Some(source));
    let kinds = |kind: &str| all.keys().filter(|key| key.starts_with(kind)).count();
    assert_eq!(kinds("NetworkPolicy/") + kinds("PodDisruptionBudget/"), 0);
    // Three roles in each of the two namespaces, and that for the Lease.
    assert_eq!((kinds("Role/"), kinds("RoleBinding/")), (7, 7));
    let bindings = all
        .keys()
        .filter(|key| key.starts_with("ClusterRoleBinding/"));
    let field_manager = "ClusterRoleBinding//dingtalk-token-operator-field-manager";
    assert_eq!(bindings.collect::<Vec<_>>(), [field_manager]);
    let cluster_roles: Vec<_> = all
        .keys()
        .filter(|key| key.starts_with("ClusterRole/"))
        .collect();
    let names = [
        "ClusterRole//dingtalk-token-operator-edit",
        "ClusterRole//dingtalk-token-operator-field-manager",
        "ClusterRole//dingtalk-token-operator-view",
    ];
    assert_eq!(cluster_roles, names);
}

#[test]
fn a_value_that_does_not_exist_or_is_of_the_wrong_kind_is_refused() {
    for (wrong, said) in [
        ("watchNamespace=hr", "watchNamespace"),
        ("replicas=0", "replicas"),
        ("watchNamespaces={HR}", "watchNamespaces"),
        // An empty list would open the metrics to everybody.
        (
            "networkPolicy.metricsFrom=null,networkPolicy.metricsFrom={}",
            "metricsFrom",
        ),
        ("image.digest=latest", "digest"),
    ] {
        let set = format!("--set={wrong}");
        let mut command = helm_command(&["template", NAME, CHART, &set]);
        let output = command.output().expect("started");
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            !output.status.success() && error.contains(said),
            "{wrong}: {error}"
        );
    }
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
    let install = objects(include_str!("../../deploy/install.yaml"));
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

#[tokio::test]
async fn the_api_server_takes_all_of_it() {
    let plane = Plane::start().await;
    let sandbox = Sandbox::without_operator("manifests", &plane).await;
    let namespaces: Api<Namespace> = Api::all(sandbox.client.clone());
    for name in [NAME, "hr", "payroll"] {
        let labels = json!({"pod-security.kubernetes.io/enforce": "restricted"});
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}});
        let apply = PatchParams::apply("test");
        namespaces
            .patch(name, &apply, &Patch::Apply(namespace))
            .await
            .expect("a namespace");
    }
    let opt_in = [
        "deploy/opt-in/rollout-restart.yaml",
        "deploy/opt-in/immediate-propagation.yaml",
        "deploy/opt-in/renewal-request.yaml",
    ];
    let everything =
        "--set=watchNamespaces={hr,payroll},rolloutRestart=true,immediatePropagation=true";
    let mut texts = vec![
        (
            "install.yaml",
            include_str!("../../deploy/install.yaml").to_owned(),
        ),
        ("namespaced", kustomize("deploy/namespaced")),
        ("chart", template(&[])),
        ("chart with values", template(&[everything])),
    ];
    for path in opt_in {
        texts.push((path, std::fs::read_to_string(path).expect("a file")));
    }
    for (what, text) in texts {
        let file = sandbox.folder().join("manifest.yaml");
        std::fs::write(&file, text).expect("written");
        let file = file.display().to_string();
        let strict = [
            "apply",
            "--dry-run=server",
            "--validate=strict",
            "--filename",
            &file,
        ];
        let (done, said) = sandbox.kubectl_plain(&strict);
        assert!(done, "{what}: {said}");
        assert!(
            !said.contains("would violate PodSecurity"),
            "{what}: {said}"
        );
    }
}

/// An older CRD, without a field of this version; then the upgrade, by the README's command.
#[tokio::test]
async fn the_crd_is_upgraded_beneath_the_apps() {
    let plane = Plane::start().await;
    let mut sandbox = Sandbox::without_operator("upgrade", &plane).await;
    let crds: Api<CustomResourceDefinition> = Api::all(sandbox.client.clone());
    let name = "dingtalkapps.dingtalk-token-operator.github.io";
    let schema = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties";
    let older = json!([{"op": "remove", "path": format!("{schema}/renewBefore")}]);
    let older: Patch<()> = Patch::Json(serde_json::from_value(older).expect("a patch"));
    crds.patch(name, &PatchParams::default(), &older)
        .await
        .expect("an older CRD");
    sandbox.start_operator(&[]);
    sandbox.ready_app("payroll").await;
    let uid = sandbox.api::<dingtalk_token_operator::api::DingTalkApp>();
    let before = uid.get("payroll").await.expect("an app").uid();

    let upgrade = [
        "apply",
        "--server-side",
        "--force-conflicts",
        "--kustomize",
        "crds",
    ];
    let (done, said) = sandbox.kubectl_plain(&upgrade);
    assert!(done, "{said}");
    sandbox
        .eventually("the new field", async || {
            let refresh = json!({"spec": {"renewBefore": "30m"}});
            sandbox
                .merge::<dingtalk_token_operator::api::DingTalkApp>("payroll", refresh)
                .await;
            let app = uid.get("payroll").await.ok()?;
            app.spec.renew_before.map(drop)
        })
        .await;
    assert_eq!(uid.get("payroll").await.expect("an app").uid(), before);
    sandbox.renew("payroll").await;
    sandbox
        .eventually("a renewal", async || {
            (sandbox.stub.calls("ding1").len() == 2).then_some(())
        })
        .await;
}
