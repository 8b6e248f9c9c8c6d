//! The steps of the test in the node's network.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::doctor;
use super::golden;
use super::kubectl::{Kubectl, eventually};
use super::operator::{self, NAME};
use super::quickstart;
use super::sites::{self, CLIENT_SECRET, CORP_ID, Site};
use crate::Failure;

/// Namespace of the apps and their consumers.
const NAMESPACE: &str = "hr";
/// Role that allows the operator to annotate pods.
const IMMEDIATE: &str = "deploy/opt-in/immediate-propagation.yaml";
/// Name of the operator's process, of which the kernel keeps 15 characters.
const OPERATOR: &str = "dingtalk-token-";
const PATIENCE: Duration = Duration::from_secs(120);
/// Time between disturbances.
const PAUSE: Duration = Duration::from_secs(45);
/// The kubelet updates a Secret within 1.5 times its sync period of a minute; the rest is a margin.
const KUBELET_BOUND_SECONDS: f64 = 100.0;
/// With annotated pods: a write, a patch, the kubelet's update, and a call of the consumer every 0.5 s.
const REFRESHED_BOUND_SECONDS: f64 = 10.0;
/// Number of renewals to wait for with each app without a gap.
const RENEWALS: usize = 3;

/// An app, with its site and its consumer.
struct Case {
    name: &'static str,
    site: &'static str,
    /// At least the kubelet's bound if there must be no gap.
    renew_before: Option<&'static str>,
    refresh_pods: bool,
    consumer: &'static str,
    has_gap: bool,
}

const fn case(name: &'static str, site: &'static str, consumer: &'static str) -> Case {
    Case {
        name,
        site,
        renew_before: None,
        refresh_pods: false,
        consumer,
        has_gap: true,
    }
}

const CASES: [Case; 6] = [
    Case {
        renew_before: Some("100s"),
        has_gap: false,
        ..case("extended", "same-extended", "go")
    },
    Case {
        renew_before: Some("100s"),
        has_gap: false,
        ..case("overlap", "new-overlap", "python")
    },
    case("remaining", "same-remaining", "go"),
    Case {
        refresh_pods: true,
        ..case("remaining-refreshed", "same-remaining", "python")
    },
    case("revoked", "new-revoked", "python"),
    Case {
        refresh_pods: true,
        ..case("revoked-refreshed", "new-revoked", "go")
    },
];

/// Runs all steps.
pub(super) fn run(runtime: &Runtime, folder: &Path) -> Result<(), Failure> {
    let sites = runtime.block_on(sites::start(folder))?;
    let kubectl = Kubectl::of(folder);
    let world = World {
        folder,
        kubectl,
        sites,
    };
    world.main_install()?;
    world.helm()?;
    world.namespaced()
}

struct World<'a> {
    folder: &'a Path,
    kubectl: Kubectl,
    sites: Vec<Site>,
}

impl World<'_> {
    fn main_install(&self) -> Result<(), Failure> {
        let source = "deploy/install.yaml";
        let left = golden::leave(&self.kubectl)?;
        heading("Installed with kubectl apply, Pod Security restricted enforced");
        operator::install(&self.kubectl, self.folder, source, &self.sites)?;
        self.namespace()?;
        self.bind_refresh()?;
        for case in &CASES {
            self.apply_app(case)?;
            self.kubectl.apply(&[self.consumer(case)?])?;
        }
        self.until_consuming(&CASES)?;
        self.kubectl
            .show(&["get", "dta", "-n", NAMESPACE, "-o", "wide"])?;
        self.kubectl.show(&["get", "pods", "-n", NAME])?;

        heading("`doctor` in the operator's pod");
        doctor::run(&self.kubectl, &self.sites, NAMESPACE)?;

        heading("An upgrade: apps, copies and Secrets of an earlier release");
        left.judge(&self.kubectl, &self.sites)?;

        heading("The README's commands for the real site");
        quickstart::run_real_site(&self.kubectl)?;

        heading("The leader is killed");
        let leader = operator::leader(&self.kubectl)?;
        kill(OPERATOR, |process| runs_in(process, &leader.pod))?;
        eventually("another process leads", PATIENCE, || {
            Ok((operator::leader(&self.kubectl)? != leader).then_some(()))
        })?;
        std::thread::sleep(PAUSE);

        heading("The kubelet is killed, and started again");
        let here = std::fs::read_link("/proc/self/ns/net")?;
        kill("kubelet", |process| {
            std::fs::read_link(process.join("ns/net")).is_ok_and(|network| network == here)
        })?;
        std::thread::sleep(PAUSE);

        heading("The replicas are replaced, one after the other");
        operator::replace_pods(&self.kubectl)?;
        std::thread::sleep(PAUSE);

        heading("Several renewals later");
        for case in CASES.iter().filter(|case| !case.has_gap) {
            let site = self.site(case)?;
            let what = format!("{RENEWALS} renewals of {}", site.name);
            let seen = || site.fetches(case.name) > RENEWALS;
            eventually(&what, PATIENCE * 3, || Ok(seen().then_some(())))?;
        }
        // Until the kubelet has updated the files with the last one.
        std::thread::sleep(Duration::from_secs_f64(KUBELET_BOUND_SECONDS));
        self.judge()?;
        self.check_restarts()?;

        heading("Uninstalled");
        self.apply_app(&case("retained", "same-extended", "go"))?;
        let policy = r#"{"spec": {"target": {"deletionPolicy": "Retain"}}}"#;
        self.kubectl.run(&[
            "patch",
            "dta",
            "retained",
            "-n",
            NAMESPACE,
            "--type=merge",
            "--patch",
            policy,
        ])?;
        eventually("its Secret has no owner", PATIENCE, || {
            let secret = ["get", "secret", "retained-token", "-n", NAMESPACE];
            let owners = &self.kubectl.json(&secret)?["metadata"]["ownerReferences"];
            Ok(owners.is_null().then_some(()))
        })?;
        self.uninstall(source)?;
        let role = crate::root().join(IMMEDIATE).display().to_string();
        self.kubectl
            .run(&["delete", "-n", NAMESPACE, "-f", &role])?;
        let left = "only the Secret of the app with Retain is left";
        eventually(left, PATIENCE, || {
            let kinds = "secrets,roles,rolebindings,leases,deployments,clusterroles,clusterrolebindings,crds,namespaces,validatingadmissionpolicies,validatingadmissionpolicybindings";
            let all = self.kubectl.run(&["get", kinds, "-A", "-o", "name"])?;
            let ours: Vec<&str> = all
                .lines()
                .filter(|name| name.contains("dingtalk") || name.ends_with("-token"))
                .collect();
            Ok((ours == ["secret/retained-token"]).then_some(()))
        })?;
        self.kubectl
            .run(&["delete", "namespace", NAMESPACE, "--timeout=60s"])?;
        Ok(())
    }

    fn helm(&self) -> Result<(), Failure> {
        heading("Installed with Helm");
        // The chart binds a role in it.
        self.namespace()?;
        operator::helm_install(&self.kubectl, self.folder, &self.sites, NAMESPACE)?;
        self.core(NAMESPACE)?;
        operator::helm_uninstall(&self.kubectl, self.folder)?;
        let crds = self.kubectl.run(&["get", "crds", "-o", "name"])?;
        if crds
            .lines()
            .filter(|name| name.contains("dingtalk"))
            .count()
            != 2
        {
            return Err("helm uninstall removed the CRDs, and all apps with them".into());
        }
        println!("   ✓ the CRDs and the apps are kept");
        self.kubectl
            .run(&["delete", "namespace", NAME, NAMESPACE, "--timeout=60s"])?;
        // Helm keeps them.
        self.kubectl.run(&[
            "delete",
            "crds",
            "-l",
            "app.kubernetes.io/part-of=dingtalk-token-operator",
        ])?;
        Ok(())
    }

    fn namespaced(&self) -> Result<(), Failure> {
        heading("Installed for the namespaces hr and payroll only");
        for namespace in [NAMESPACE, "payroll", "other"] {
            let object =
                json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
            self.kubectl.apply(&[object])?;
        }
        let source = "deploy/namespaced";
        operator::install(&self.kubectl, self.folder, source, &self.sites)?;
        let mut elsewhere = app(&CASES[0]);
        elsewhere["metadata"]["name"] = json!("elsewhere");
        elsewhere["metadata"]["namespace"] = json!("other");
        self.kubectl.apply(&[elsewhere])?;
        self.core(NAMESPACE)?;
        let other = self
            .kubectl
            .json(&["get", "dta", "elsewhere", "-n", "other"])?;
        if !other["status"].is_null() {
            return Err("an app of another namespace was served".into());
        }
        println!("   ✓ an app of another namespace is ignored");
        self.uninstall(source)
    }

    /// Ends the consumers, then removes the operator.
    fn uninstall(&self, source: &str) -> Result<(), Failure> {
        self.kubectl.run(&[
            "delete",
            "pods",
            "--all",
            "-n",
            NAMESPACE,
            "--grace-period=1",
        ])?;
        operator::uninstall(&self.kubectl, self.folder, source)
    }

    /// Applies one app and its consumer, and waits until it calls the API.
    fn core(&self, namespace: &str) -> Result<(), Failure> {
        self.namespace()?;
        let case = &CASES[..1];
        self.apply_app(&case[0])?;
        self.kubectl.apply(&[self.consumer(&case[0])?])?;
        self.until_consuming(case)?;
        self.kubectl.show(&["get", "dta", "-n", namespace])
    }

    fn namespace(&self) -> Result<(), Failure> {
        let labels = json!({"pod-security.kubernetes.io/enforce": "restricted"});
        self.kubectl.apply(&[
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}}),
            operator::authority(self.folder, NAMESPACE)?,
        ])?;
        eventually("the namespace has its service account", PATIENCE, || {
            self.kubectl
                .run(&["get", "serviceaccount", "default", "-n", NAMESPACE])?;
            Ok(Some(()))
        })
    }

    fn bind_refresh(&self) -> Result<(), Failure> {
        let role = crate::root().join(IMMEDIATE).display().to_string();
        self.kubectl.run(&["apply", "-n", NAMESPACE, "-f", &role])?;
        Ok(())
    }

    fn site(&self, case: &Case) -> Result<&Site, Failure> {
        let site = self.sites.iter().find(|site| site.name == case.site);
        Ok(site.ok_or("unknown site")?)
    }

    /// Applies an app with its own credentials. Its client_id is its name.
    fn apply_app(&self, case: &Case) -> Result<(), Failure> {
        let stub = &self.site(case)?.stub;
        stub.register(case.name, CLIENT_SECRET, &[CORP_ID]);
        let name = format!("{}-credentials", case.name);
        let credentials = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "stringData": {"client_id": case.name, "client_secret": CLIENT_SECRET},
        });
        self.kubectl.apply(&[credentials, app(case)])
    }

    fn consumer(&self, case: &Case) -> Result<Value, Failure> {
        let site = self.site(case)?;
        Ok(json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": case.name, "namespace": NAMESPACE},
            "spec": {
                "automountServiceAccountToken": false,
                "restartPolicy": "Never",
                "terminationGracePeriodSeconds": 1,
                "securityContext": {
                    "runAsNonRoot": true, "runAsUser": 65532,
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
                "containers": [{
                    "name": "consumer",
                    "image": format!("consumer-{}:e2e", case.consumer),
                    "imagePullPolicy": "Never",
                    "env": [
                        {"name": "API_URL", "value": format!("{}/v1.0/whoami", site.url)},
                        {"name": "CA_FILE", "value": "/ca/ca.crt"},
                    ],
                    "securityContext": {
                        "allowPrivilegeEscalation": false,
                        "readOnlyRootFilesystem": true,
                        "capabilities": {"drop": ["ALL"]},
                    },
                    "volumeMounts": [
                        {"name": "token", "mountPath": "/var/run/secrets/dingtalk", "readOnly": true},
                        {"name": "ca", "mountPath": "/ca", "readOnly": true},
                    ],
                }],
                "volumes": [
                    {"name": "token", "secret": {"secretName": format!("{}-token", case.name)}},
                    {"name": "ca", "configMap": {"name": "site-ca"}},
                ],
            },
        }))
    }

    fn until_ready(&self, name: &str) -> Result<(), Failure> {
        eventually(&format!("app {name} is Ready"), PATIENCE, || {
            let app = self.kubectl.json(&["get", "dta", name, "-n", NAMESPACE])?;
            let conditions = app["status"]["conditions"].as_array().into_iter().flatten();
            let mut ready = conditions.filter(|one| one["type"] == "Ready");
            Ok(ready.any(|one| one["status"] == "True").then_some(()))
        })
    }

    fn until_consuming(&self, cases: &[Case]) -> Result<(), Failure> {
        for case in cases {
            self.until_ready(case.name)?;
            let what = format!(
                "a pod in {} calls the API with the token of {}",
                case.consumer, case.name
            );
            eventually(&what, PATIENCE, || {
                let seen = self.consumed(case)?;
                Ok((seen.calls > seen.refused + 2).then_some(()))
            })?;
        }
        Ok(())
    }

    fn consumed(&self, case: &Case) -> Result<Consumed, Failure> {
        let log = self.kubectl.run(&["logs", case.name, "-n", NAMESPACE])?;
        Ok(Consumed::of(&log))
    }

    /// Prints what each consumer saw, and checks it.
    fn judge(&self) -> Result<(), Failure> {
        println!(
            "\n   {:<20} {:<15} {:<8} {:>6} {:>8} {:>7}  gaps in seconds",
            "APP", "SITE", "CONSUMER", "CALLS", "REFUSED", "FETCHES"
        );
        let mut wrong = Vec::new();
        for case in &CASES {
            let seen = self.consumed(case)?;
            let fetches = self.site(case)?.fetches(case.name);
            let gaps: Vec<String> = seen.gaps.iter().map(|gap| format!("{gap:.1}")).collect();
            println!(
                "   {:<20} {:<15} {:<8} {:>6} {:>8} {:>7}  {}",
                case.name,
                case.site,
                case.consumer,
                seen.calls,
                seen.refused,
                fetches,
                gaps.join(" ")
            );
            let bound = match (case.has_gap, case.refresh_pods) {
                (false, _) => 0.0,
                (true, false) => KUBELET_BOUND_SECONDS,
                (true, true) => REFRESHED_BOUND_SECONDS,
            };
            if !case.has_gap && seen.refused > 0 {
                wrong.push(format!(
                    "{}: {} calls were refused",
                    case.name, seen.refused
                ));
            }
            // With annotated pods, a gap may be shorter than the time between two calls.
            if case.has_gap && !case.refresh_pods && seen.gaps.is_empty() {
                wrong.push(format!(
                    "{}: no gap was seen, so nothing was measured",
                    case.name
                ));
            }
            if let Some(gap) = seen.gaps.iter().find(|gap| case.has_gap && **gap > bound) {
                wrong.push(format!("{}: a gap of {gap} s, above {bound} s", case.name));
            }
        }
        match wrong.is_empty() {
            true => Ok(()),
            false => Err(wrong.join("; ").into()),
        }
    }

    /// Checks that none of the current replicas was restarted.
    fn check_restarts(&self) -> Result<(), Failure> {
        let pods = self.kubectl.json(&["get", "pods", "-n", NAME])?;
        let restarts: u64 = pods["items"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|pod| pod["status"]["containerStatuses"][0]["restartCount"].as_u64())
            .sum();
        println!("   restarts of the operator's containers: {restarts}");
        let leader = operator::leader(&self.kubectl)?;
        for process in processes(OPERATOR)? {
            let status = std::fs::read_to_string(process.join("status"))?;
            let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
            let role = match runs_in(&process, &leader.pod) {
                true => "leads",
                false => "stands by",
            };
            println!(
                "   resident memory of the replica that {role}: {}",
                resident.unwrap_or("?").trim()
            );
        }
        match restarts {
            0 => Ok(()),
            _ => Err("the operator's containers were restarted".into()),
        }
    }
}

/// Output of a consumer.
#[derive(Debug, Default, PartialEq)]
struct Consumed {
    calls: u64,
    refused: u64,
    gaps: Vec<f64>,
}

impl Consumed {
    fn of(log: &str) -> Self {
        let mut consumed = Self::default();
        for line in log.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["calls", calls, "refused", refused] => {
                    consumed.calls = calls.parse().unwrap_or_default();
                    consumed.refused = refused.parse().unwrap_or_default();
                }
                ["gap", seconds] => consumed.gaps.extend(seconds.parse::<f64>()),
                _ => {}
            }
        }
        consumed
    }
}

/// Returns the app of a case. Its credentials are in `<name>-credentials`.
fn app(case: &Case) -> Value {
    let mut app = json!({
        "apiVersion": "dingtalk-token-operator.github.io/v1alpha1",
        "kind": "DingTalkApp",
        "metadata": {"name": case.name, "namespace": NAMESPACE},
        "spec": {
            "credentialsSecretRef": {"name": format!("{}-credentials", case.name)},
            "corpIds": [CORP_ID],
            "site": case.site,
            "target": {"propagation": if case.refresh_pods { "Immediate" } else { "Periodic" }},
        },
    });
    if let Some(renew_before) = case.renew_before {
        app["spec"]["renewBefore"] = json!(renew_before);
    }
    app
}

/// Returns the processes with this name, of which the kernel keeps 15 characters.
fn processes(name: &str) -> Result<Vec<PathBuf>, Failure> {
    let all = std::fs::read_dir("/proc")?
        .flatten()
        .map(|entry| entry.path());
    let named = all.filter(|process| {
        let is = std::fs::read_to_string(process.join("comm")).unwrap_or_default();
        is.trim() == name
    });
    Ok(named.collect())
}

/// Whether a process runs in the pod with this name.
fn runs_in(process: &Path, pod: &str) -> bool {
    let environment = std::fs::read(process.join("environ")).unwrap_or_default();
    let host_name = format!("HOSTNAME={pod}");
    environment
        .split(|byte| *byte == 0)
        .any(|variable| variable == host_name.as_bytes())
}

/// Kills the only process with this name for which `is_meant` returns true.
fn kill(name: &str, is_meant: impl Fn(&Path) -> bool) -> Result<(), Failure> {
    let mut processes = processes(name)?;
    processes.retain(|process| is_meant(process));
    let [process] = processes.as_slice() else {
        return Err(format!("expected one process {name}, found {}", processes.len()).into());
    };
    let id = process.file_name().unwrap_or_default();
    match Command::new("kill").arg("-9").arg(id).status()?.success() {
        true => {
            println!("   ✓ killed with SIGKILL");
            Ok(())
        }
        false => Err(format!("{name} was not killed").into()),
    }
}

fn heading(text: &str) {
    println!("\n── {text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_consumers_last_count_and_all_of_its_gaps_are_read() {
        let log = "calls 1 refused 0\ncalls 2 refused 1\ngap 3.5\ncalls 3 refused 1\ngap 0.5\n";
        let consumed = Consumed::of(log);
        assert_eq!((consumed.calls, consumed.refused), (3, 1));
        assert_eq!(consumed.gaps, [3.5, 0.5]);
    }
}
