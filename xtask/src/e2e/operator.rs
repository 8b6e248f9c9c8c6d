//! The three ways to install the operator, with the test's overlay, which sets the image, the sites and their CA.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::kubectl::{Kubectl, eventually};
use super::sites::Site;
use crate::{Failure, root};

/// Namespace of the operator, and name of its objects.
pub(super) const NAME: &str = "dingtalk-token-operator";
/// Name of the image in the test's overlay.
pub(super) const IMAGE: &str = "localhost/dingtalk-token-operator";
/// Name of the image in the manifests, under which the quickstart has loaded it.
pub(super) const NAMED_IMAGE: &str = "dingtalk-token-operator.invalid/dingtalk-token-operator";
/// Pods start within seconds, and their probes add some.
const PATIENCE: Duration = Duration::from_secs(90);

/// Returns the additional arguments for the test's sites.
pub(super) fn arguments(sites: &[Site]) -> Vec<String> {
    let sites = sites
        .iter()
        .map(|site| format!("--site={}={}", site.name, site.url));
    let others = ["--builtin-sites=false", "--ca-bundle=/ca/ca.crt"];
    sites.chain(others.map(str::to_owned)).collect()
}

/// Returns the volume with the sites' CA, and its mount.
fn volumes() -> (Value, Value) {
    (
        json!([{"name": "ca", "configMap": {"name": "site-ca"}}]),
        json!([{"name": "ca", "mountPath": "/ca", "readOnly": true}]),
    )
}

/// Returns the ConfigMap with the sites' CA.
pub(super) fn authority(folder: &Path, namespace: &str) -> Result<Value, Failure> {
    let ca = fs::read_to_string(folder.join("pki/ca.crt"))?;
    Ok(json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "site-ca", "namespace": namespace},
        "data": {"ca.crt": ca},
    }))
}

/// Returns the patch of the test's overlay.
fn patch(sites: &[Site]) -> Value {
    let at = |path: &str| format!("/spec/template/spec{path}");
    let (volumes, mounts) = volumes();
    let mut patch = vec![
        json!({"op": "add", "path": at("/containers/0/imagePullPolicy"), "value": "Never"}),
        json!({"op": "add", "path": at("/volumes"), "value": volumes}),
        json!({"op": "add", "path": at("/containers/0/volumeMounts"), "value": mounts}),
    ];
    for argument in arguments(sites) {
        patch.push(json!({"op": "add", "path": at("/containers/0/args/-"), "value": argument}));
    }
    Value::Array(patch)
}

/// Installs `source`, a file or folder of `deploy/`, with the test's overlay.
pub(super) fn install(
    kubectl: &Kubectl,
    folder: &Path,
    source: &str,
    sites: &[Site],
) -> Result<(), Failure> {
    // Kustomize reads only files in its own folder.
    let overlay = folder.join("overlay");
    let _ = fs::remove_dir_all(&overlay);
    fs::create_dir_all(&overlay)?;
    let text = match source.strip_suffix(".yaml") {
        Some(_) => fs::read_to_string(root().join(source))?,
        None => kubectl.run(&["kustomize", &root().join(source).display().to_string()])?,
    };
    fs::write(overlay.join("source.yaml"), text)?;
    fs::write(
        overlay.join("site-ca.yaml"),
        authority(folder, NAME)?.to_string(),
    )?;
    let kustomization = json!({
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": ["source.yaml", "site-ca.yaml"],
        "images": [{"name": NAMED_IMAGE, "newName": IMAGE}],
        "patches": [{
            "target": {"kind": "Deployment", "name": NAME},
            "patch": patch(sites).to_string(),
        }],
    });
    fs::write(
        overlay.join("kustomization.yaml"),
        kustomization.to_string(),
    )?;
    println!("   $ kubectl apply -f {source}   (with the test's overlay)");
    kubectl.run(&["apply", "-k", &overlay.display().to_string()])?;
    until_ready(kubectl)
}

/// Removes what `install` applied.
pub(super) fn uninstall(kubectl: &Kubectl, folder: &Path, source: &str) -> Result<(), Failure> {
    println!("   $ kubectl delete -f {source}");
    let overlay = folder.join("overlay").display().to_string();
    kubectl.run(&["delete", "-k", &overlay, "--wait", "--timeout=120s"])?;
    Ok(())
}

/// Installs the chart. Apps in `namespace` may use immediate propagation.
pub(super) fn helm_install(
    kubectl: &Kubectl,
    folder: &Path,
    sites: &[Site],
    namespace: &str,
) -> Result<(), Failure> {
    let sites: Map<String, Value> = sites
        .iter()
        .map(|site| (site.name.to_owned(), json!(site.url)))
        .collect();
    let values = json!({
        "image": {"repository": IMAGE, "pullPolicy": "Never"},
        "builtinSites": false,
        "sites": sites,
        "caBundle": {"configMapName": "site-ca"},
        "immediatePropagation": {"namespaces": [namespace]},
    });
    let file = folder.join("values.yaml");
    fs::write(&file, values.to_string())?;
    let file = file.display().to_string();
    let labels = json!({"pod-security.kubernetes.io/enforce": "restricted"});
    kubectl.apply(&[
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAME, "labels": labels}}),
        authority(folder, NAME)?,
    ])?;
    let chart = root().join("deploy/helm").join(NAME).display().to_string();
    println!("   $ helm install {NAME} deploy/helm/{NAME} --namespace {NAME}");
    helm(
        kubectl,
        folder,
        &[
            "install",
            NAME,
            &chart,
            "--namespace",
            NAME,
            "--values",
            &file,
        ],
    )?;
    until_ready(kubectl)
}

/// Removes the chart's release.
pub(super) fn helm_uninstall(kubectl: &Kubectl, folder: &Path) -> Result<(), Failure> {
    println!("   $ helm uninstall {NAME} --namespace {NAME}");
    helm(
        kubectl,
        folder,
        &["uninstall", NAME, "--namespace", NAME, "--wait"],
    )
}

fn helm(kubectl: &Kubectl, folder: &Path, arguments: &[&str]) -> Result<(), Failure> {
    let output = Command::new(folder.join("bin/helm"))
        .args(arguments)
        .env("KUBECONFIG", kubectl.kubeconfig())
        .stdin(Stdio::null())
        .output()?;
    match output.status.success() {
        true => Ok(()),
        false => {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            Err(format!("helm {}: {said}", arguments.join(" ")).into())
        }
    }
}

fn until_ready(kubectl: &Kubectl) -> Result<(), Failure> {
    eventually("two replicas are ready", PATIENCE, || {
        let deployment = kubectl.json(&["get", "deployment", NAME, "-n", NAME])?;
        let status = &deployment["status"];
        let all = status["readyReplicas"] == 2
            && status["updatedReplicas"] == 2
            && status["replicas"] == 2
            && status["observedGeneration"] == deployment["metadata"]["generation"];
        Ok(all.then_some(()))
    })
}

/// Returns the leading process. After a restart of the container, it is another one.
pub(super) fn leader(kubectl: &Kubectl) -> Result<Leader, Failure> {
    let lease = kubectl.json(&["get", "lease", NAME, "-n", NAME])?;
    let identity = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
    match identity.rsplit_once('_') {
        Some((pod, _)) => Ok(Leader {
            identity: identity.to_owned(),
            pod: pod.to_owned(),
        }),
        None => Err("there is no leader".into()),
    }
}

#[derive(PartialEq, Eq)]
pub(super) struct Leader {
    identity: String,
    pub(super) pod: String,
}

/// Replaces the pods in a rolling update.
pub(super) fn replace_pods(kubectl: &Kubectl) -> Result<(), Failure> {
    let deployment = format!("deployment/{NAME}");
    kubectl.show(&["rollout", "restart", "-n", NAME, &deployment])?;
    until_ready(kubectl)
}
