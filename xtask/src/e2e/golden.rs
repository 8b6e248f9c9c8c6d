//! An upgrade: the operator finds objects of an earlier release.

use std::collections::BTreeMap;
use std::time::Duration;

use golden_objects::{Golden, Recorded, names};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::kubectl::{Kubectl, eventually};
use super::sites::Site;
use crate::{Failure, root};

/// Namespace of the objects. Their site is one of the test's.
const NAMESPACE: &str = "golden";
const MANAGER: &str = "dingtalk-token-operator";
const PATIENCE: Duration = Duration::from_secs(90);
/// File to leave out: it was recorded in the middle of a change, so the operator writes Secrets.
const CHANGED: &str = "renamed";

/// Objects that an earlier release left.
pub(super) struct Left {
    apps: Vec<String>,
    /// The resourceVersion of each target Secret.
    secrets: BTreeMap<String, String>,
}

/// Creates the objects, before the operator is installed.
pub(super) fn leave(kubectl: &Kubectl) -> Result<Left, Failure> {
    let crds = root().join("crds").display().to_string();
    kubectl.run(&["apply", "-k", &crds])?;
    let all = [
        "--for=condition=Established",
        "--timeout=60s",
        "crds",
        "--all",
    ];
    kubectl.run(&[&["wait"], &all[..]].concat())?;
    let namespace =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
    let namespace = kubectl.create(&namespace, "test")?;
    let uid = text(&namespace, "uid");
    for name in names().filter(|name| *name != CHANGED) {
        let golden = Golden::load(name, (NAMESPACE, &uid), Timestamp::now());
        let mut golden = golden.map_err(|error| error.to_string())?;
        while let Some(recorded) = golden.next_object().map_err(|error| error.to_string())? {
            let created = create(kubectl, &recorded)?;
            let (uid, version) = (text(&created, "uid"), text(&created, "resourceVersion"));
            golden.created(&recorded, &uid, &version);
        }
    }
    let apps = kubectl.json(&["get", "dta", "-n", NAMESPACE])?;
    let apps = apps["items"].as_array().into_iter().flatten();
    Ok(Left {
        apps: apps.map(|app| text(app, "name")).collect(),
        secrets: secrets(kubectl)?,
    })
}

fn create(kubectl: &Kubectl, recorded: &Recorded) -> Result<Value, Failure> {
    let mut object = recorded.object.clone();
    object["metadata"]["namespace"] = json!(NAMESPACE);
    let is_ours = object["metadata"]["labels"].is_object();
    let created = kubectl.create(&object, if is_ours { MANAGER } else { "test" })?;
    if let Some(status) = &recorded.status {
        let (kind, name) = (
            object["kind"].as_str().unwrap_or_default(),
            text(&object, "name"),
        );
        let status = json!({"status": status}).to_string();
        let to = [kind, &name, "-n", NAMESPACE, "--subresource=status"];
        kubectl.run(&[&["patch"], &to[..], &["--type=merge", "--patch", &status]].concat())?;
    }
    Ok(created)
}

fn secrets(kubectl: &Kubectl) -> Result<BTreeMap<String, String>, Failure> {
    let label = format!("app.kubernetes.io/managed-by={MANAGER}");
    let secrets = kubectl.json(&["get", "secrets", "-n", NAMESPACE, "-l", &label])?;
    let secrets = secrets["items"].as_array().into_iter().flatten();
    Ok(secrets
        .map(|secret| (text(secret, "name"), text(secret, "resourceVersion")))
        .collect())
}

fn text(object: &Value, field: &str) -> String {
    let text = object["metadata"][field].as_str();
    text.unwrap_or_default().to_owned()
}

impl Left {
    /// Waits until the operator has processed all apps, and checks that it fetched no token and wrote no Secret.
    pub(super) fn judge(&self, kubectl: &Kubectl, sites: &[Site]) -> Result<(), Failure> {
        for app in &self.apps {
            let patch =
                r#"{"spec": {"rolloutRestartTargets": [{"kind": "DaemonSet", "name": "none"}]}}"#;
            let to = [app, "-n", NAMESPACE, "--type=merge"];
            kubectl.run(&[&["patch", "dta"], &to[..], &["--patch", patch]].concat())?;
        }
        eventually(
            "the operator has processed the apps of an earlier release",
            PATIENCE,
            || {
                let apps = kubectl.json(&["get", "dta", "-n", NAMESPACE])?;
                let mut apps = apps["items"].as_array().into_iter().flatten();
                let is_seen = |app: &Value| {
                    app["status"]["observedGeneration"] == app["metadata"]["generation"]
                };
                Ok(apps.all(is_seen).then_some(()))
            },
        )?;
        let calls = |site: &Site| {
            let corp_ids = ('a'..='m').map(|letter| format!("ding{letter}"));
            corp_ids
                .map(|corp_id| site.stub.calls(&corp_id).len())
                .sum::<usize>()
        };
        let calls: usize = sites.iter().map(calls).sum();
        println!(
            "   fetches: {calls}; target Secrets: {}",
            self.secrets.len()
        );
        if calls > 0 || secrets(kubectl)? != self.secrets {
            return Err("the upgrade fetched a token or wrote a Secret".into());
        }
        kubectl.run(&["delete", "namespace", NAMESPACE, "--timeout=60s"])?;
        Ok(())
    }
}
