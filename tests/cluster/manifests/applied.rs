//! The manifests and the chart, as the API server takes them.

use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicy;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;

use super::{CHART, NAME, helm, helm_command, kustomize, template, values};
use crate::support::{Plane, Sandbox, documents};

/// CRDs of the Prometheus Operator, as far as these tests need them: `promtool` judges the rules.
async fn prometheus_operator(sandbox: &Sandbox) {
    let crds: Api<CustomResourceDefinition> = Api::all(sandbox.client.clone());
    for (kind, plural) in [
        ("ServiceMonitor", "servicemonitors"),
        ("PrometheusRule", "prometheusrules"),
    ] {
        let group = "monitoring.coreos.com";
        let name = format!("{plural}.{group}");
        let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        let crd = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": name},
            "spec": {
                "group": group, "scope": "Namespaced",
                "names": {"kind": kind, "plural": plural},
                "versions": [{
                    "name": "v1", "served": true, "storage": true,
                    "schema": {"openAPIV3Schema": schema},
                }],
            },
        });
        let apply = PatchParams::apply("test");
        crds.patch(&name, &apply, &Patch::Apply(crd))
            .await
            .expect("a CRD");
        sandbox
            .eventually("its resource", async || {
                sandbox.kubectl_plain(&["get", &name]).0.then_some(())
            })
            .await;
    }
}

/// The app that the notes would have applied.
fn example_of_the_notes() -> String {
    let said = helm(&["install", NAME, CHART, "--dry-run=client"]);
    let example = said
        .split_once("to payroll.yaml, with the CorpId of the organisation:\n\n")
        .and_then(|(_, rest)| rest.split_once("\n\nApply it:\n"));
    example.expect("an example").0.to_owned()
}

fn examples_of_artifact_hub() -> String {
    let chart = std::fs::read_to_string(format!("{CHART}/Chart.yaml")).expect("a file");
    let examples = documents(&chart).remove(0)["annotations"]["artifacthub.io/crdsExamples"].take();
    let examples = documents(examples.as_str().expect("examples")).remove(0);
    json!({"apiVersion": "v1", "kind": "List", "items": examples}).to_string()
}

#[tokio::test]
async fn the_api_server_takes_all_of_it() {
    let plane = Plane::start().await;
    let sandbox = Sandbox::without_operator("manifests", &plane).await;
    let namespaces: Api<Namespace> = Api::all(sandbox.client.clone());
    for name in [NAME, "hr", "payroll", "monitoring", "dingtalk-try"] {
        let labels = json!({"pod-security.kubernetes.io/enforce": "restricted"});
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}});
        let apply = PatchParams::apply("test");
        namespaces
            .patch(name, &apply, &Patch::Apply(namespace))
            .await
            .expect("a namespace");
    }
    prometheus_operator(&sandbox).await;
    let mut texts = vec![
        (
            "install.yaml".to_owned(),
            include_str!("../../../deploy/install.yaml").to_owned(),
        ),
        ("chart".to_owned(), template(&[])),
        ("notes".to_owned(), example_of_the_notes()),
        ("Artifact Hub".to_owned(), examples_of_artifact_hub()),
    ];
    for folder in ["deploy/namespaced", "deploy/try", "deploy/monitoring"] {
        texts.push((folder.to_owned(), kustomize(folder)));
    }
    for entry in std::fs::read_dir("deploy/opt-in").expect("a folder") {
        let path = entry.expect("a file").path();
        let text = std::fs::read_to_string(&path).expect("a file");
        texts.push((path.display().to_string(), text));
    }
    for file in values::files() {
        texts.push((file.display().to_string(), values::rendered(&file)));
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

/// To tools that compare lists as a whole, such as Argo CD, a default that the API server adds is a difference.
#[tokio::test]
async fn the_api_server_adds_nothing_to_the_policies() {
    let plane = Plane::start().await;
    let sandbox = Sandbox::without_operator("policies", &plane).await;
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(sandbox.client.clone());
    let mut dry_run = PatchParams::apply("test").force();
    dry_run.dry_run = true;
    let texts = [
        include_str!("../../../deploy/install.yaml"),
        include_str!("../../../deploy/opt-in/renewal-request.yaml"),
    ];
    let all = texts.into_iter().flat_map(documents);
    for policy in all.filter(|object| object["kind"] == "ValidatingAdmissionPolicy") {
        let name = policy["metadata"]["name"].as_str().expect("a name");
        let taken = policies.patch(name, &dry_run, &Patch::Apply(&policy)).await;
        let taken = serde_json::to_value(taken.expect(name)).expect("JSON");
        assert_eq!(taken["spec"], policy["spec"], "{name}");
    }
}

/// From the manifest to Helm and away again, without pods: the Deployment, the CRDs and the apps stay the
/// same objects.
#[tokio::test]
async fn helm_takes_over_what_the_manifest_made() {
    let plane = Plane::start().await;
    let sandbox = Sandbox::without_operator("takeover", &plane).await;
    let uids = || {
        let kinds =
            "deployment/dingtalk-token-operator,crd/dingtalkapps.dingtalk-token-operator.github.io";
        let only = "jsonpath={.items[*].metadata.uid}";
        sandbox.kubectl_plain(&["get", "-n", NAME, kinds, "-o", only])
    };
    let (done, said) = sandbox.kubectl_plain(&[
        "apply",
        "--server-side",
        "--force-conflicts",
        "-f",
        "deploy/install.yaml",
    ]);
    assert!(done, "{said}");
    let before = uids();
    let helm = |arguments: &[&str]| {
        let mut command = helm_command(&[arguments, &["--namespace", NAME]].concat());
        super::said(command.env("KUBECONFIG", sandbox.kubeconfig()))
    };
    helm(&[
        "install",
        NAME,
        CHART,
        "--take-ownership",
        "--force-conflicts",
    ]);
    assert_eq!(uids(), before, "nothing was made anew");
    helm(&[
        "upgrade",
        NAME,
        CHART,
        "--reset-then-reuse-values",
        "--set=replicaCount=3",
        "--force-conflicts",
    ]);
    let replicas = [
        "get",
        "deployment",
        NAME,
        "-n",
        NAME,
        "-o",
        "jsonpath={.spec.replicas}",
    ];
    assert_eq!(sandbox.kubectl_plain(&replicas), (true, "3".to_owned()));
    helm(&["uninstall", NAME]);
    let (_, left) = sandbox.kubectl_plain(&["get", "deployments,crds", "-A", "-o", "name"]);
    assert!(
        left.contains("dingtalkapps") && left.contains("dingtalktokenreferences"),
        "{left}"
    );
    assert!(!left.contains("deployment"), "{left}");
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
