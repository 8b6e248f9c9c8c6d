//! The three ways to install the operator, with the test's overlay: where the images, the sites and
//! their CA are.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::kubectl::{Kubectl, eventually};
use super::sites::Site;
use crate::{Failure, root};

/// Its namespace, and the name of all that it consists of.
pub(super) const NAME: &str = "dingtalk-token-operator";
/// The image that the manifests name, which the quickstart has loaded, and the name that the test's
/// overlay gives it.
pub(super) const IMAGE: &str = "localhost/dingtalk-token-operator";
pub(super) const NAMED_IMAGE: &str = "dingtalk-token-operator.invalid/dingtalk-token-operator";
/// A pod starts within seconds; its probes add some.
const PATIENCE: Duration = Duration::from_secs(90);

/// What a test cluster has otherwise than a real one: the arguments, and the sites' CA as a volume.
fn arguments(sites: &[Site]) -> Vec<String> {
    let sites = sites
        .iter()
        .map(|site| format!("--site={}={}", site.name, site.url));
    let others = ["--builtin-sites=false", "--ca-bundle=/ca/ca.crt"];
    sites.chain(others.map(str::to_owned)).collect()
}

fn volumes() -> (Value, Value) {
    (
        json!([{"name": "ca", "configMap": {"name": "site-ca"}}]),
        json!([{"name": "ca", "mountPath": "/ca", "readOnly": true}]),
    )
}

/// The ConfigMap with the sites' CA.
pub(super) fn authority(folder: &Path, namespace: &str) -> Result<Value, Failure> {
    let ca = fs::read_to_string(folder.join("pki/ca.crt"))?;
    Ok(json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "site-ca", "namespace": namespace},
        "data": {"ca.crt": ca},
    }))
}

/// The patch of the test's overlay.
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

/// Installs `source` (a file or a folder of `deploy/`) beneath the test's overlay.
pub(super) fn install(
    kubectl: &Kubectl,
    folder: &Path,
    source: &str,
    sites: &[Site],
) -> Result<(), Failure> {
    // Kustomize takes files from its own folder only.
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

/// Installs the chart; apps of `namespace` may ask for immediate propagation.
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

/// The process that leads: a container that is restarted in its pod is another one.
pub(super) fn leader(kubectl: &Kubectl) -> Result<Leader, Failure> {
    let lease = kubectl.json(&["get", "lease", NAME, "-n", NAME])?;
    let identity = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
    match identity.rsplit_once('_') {
        Some((pod, _)) => Ok(Leader {
            identity: identity.to_owned(),
            pod: pod.to_owned(),
        }),
        None => Err("nobody leads".into()),
    }
}

#[derive(PartialEq, Eq)]
pub(super) struct Leader {
    identity: String,
    pub(super) pod: String,
}

/// Replaces the pods by a rolling update.
pub(super) fn replace_pods(kubectl: &Kubectl) -> Result<(), Failure> {
    let deployment = format!("deployment/{NAME}");
    kubectl.show(&["rollout", "restart", "-n", NAME, &deployment])?;
    until_ready(kubectl)
}
