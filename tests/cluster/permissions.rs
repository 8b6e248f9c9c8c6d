//! Each verb of the operator's roles is needed: without it, a scenario fails. The table of
//! docs/permissions.md has them all.

use std::collections::BTreeSet;

use dingtalk_token_operator::api::{DingTalkApp, DingTalkTokenReference};
use futures::future::{FutureExt as _, LocalBoxFuture, join_all};
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams};
use serde_json::{Value, json};

use crate::support::{
    CLIENT_ID, CLIENT_SECRET, Object, Sandbox, condition, documents, shared_plane,
    until_next_second,
};

/// Control planes and operators at once: two cores bear it.
const AT_ONCE: usize = 6;
const WORKLOADS: [&str; 3] = ["deployments", "statefulsets", "daemonsets"];

/// A verb on a resource.
type Right = (String, String);

/// The rules of all roles, opt-ins included.
fn rules() -> Vec<Value> {
    let texts = [
        include_str!("../../deploy/rbac/role.yaml"),
        include_str!("../../deploy/base/leader-election.yaml"),
        include_str!("../../deploy/opt-in/rollout-restart.yaml"),
        include_str!("../../deploy/opt-in/immediate-propagation.yaml"),
    ];
    let objects = texts.iter().flat_map(|text| documents(text));
    let rules = objects.flat_map(|object| object["rules"].as_array().cloned().unwrap_or_default());
    rules.collect()
}

fn strings(value: &Value) -> Vec<String> {
    let values = value.as_array().into_iter().flatten();
    values
        .map(|value| value.as_str().expect("a string").to_owned())
        .collect()
}

fn rights() -> BTreeSet<Right> {
    rules().iter().flat_map(rights_of).collect()
}

fn rights_of(rule: &Value) -> Vec<Right> {
    let verbs = strings(&rule["verbs"]);
    let of = |resource: String| {
        let verbs = verbs.clone().into_iter();
        verbs.map(move |verb| (resource.clone(), verb))
    };
    let resources = strings(&rule["resources"]).into_iter();
    resources.flat_map(of).collect()
}

/// Rules that grant everything but one right.
fn rules_without(missing: Option<&Right>) -> Vec<Value> {
    let mut left = Vec::new();
    for rule in rules() {
        for resource in strings(&rule["resources"]) {
            let mut rule = rule.clone();
            let mut verbs = strings(&rule["verbs"]);
            verbs.retain(|verb| Some(&(resource.clone(), verb.clone())) != missing);
            if !verbs.is_empty() {
                rule["resources"] = json!([resource]);
                rule["verbs"] = json!(verbs);
                left.push(rule);
            }
        }
    }
    left
}

#[test]
fn the_table_has_every_right_and_no_other() {
    let table = include_str!("../../docs/permissions.md");
    let rows = table
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| Resource"));
    let listed: BTreeSet<Right> = rows
        .map(|row| {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            (cells[1].to_owned(), cells[2].to_owned())
        })
        .collect();
    assert_eq!(listed, rights());
}

/// What fails without a right: gives whether it happened, once it is tried.
async fn happens(sandbox: &Sandbox, right: &Right) -> bool {
    let ready = async || {
        let app = sandbox
            .api::<DingTalkApp>()
            .get("payroll")
            .await
            .expect("an app");
        condition(&app, "Ready", "True").is_some()
    };
    let (resource, verb) = (right.0.as_str(), right.1.as_str());
    // Without the watch, list after list would tell of it, each a little later than the one before.
    let list = format!("list {resource}");
    let lists = sandbox.all_requests().into_iter().filter(|it| *it == list);
    if verb == "watch" && lists.count() > 1 {
        return false;
    }
    match (resource, verb) {
        ("secrets", "watch") => sandbox.token("payroll-token").await.is_some(),
        ("secrets", "patch") => {
            let calls = sandbox.stub.calls("ding1");
            let requested = sandbox.state("payroll-token", "/tokens/ding1/at").await;
            let requested = requested.and_then(|at| at.as_i64());
            // Later than the first call, in whole seconds.
            calls.len() > 1 && requested.is_some_and(|at| at > calls[0].at.as_second())
        }
        ("secrets", "delete") => sandbox.token("payroll-token").await.is_none(),
        ("namespaces", _) => sandbox.token("copy-token").await.is_some(),
        ("events", _) => !sandbox.events("FirstTokenWritten").await.is_empty(),
        ("leases", "update") => {
            let leases = sandbox.api::<Lease>();
            let lease = leases.get_opt("dingtalk-token-operator").await;
            let spec = lease.expect("an answer").and_then(|lease| lease.spec);
            spec.is_some_and(|spec| spec.renew_time > spec.acquire_time)
        }
        ("deployments", _) => restarted::<Deployment>(sandbox).await,
        ("statefulsets", _) => restarted::<StatefulSet>(sandbox).await,
        ("daemonsets", _) => restarted::<DaemonSet>(sandbox).await,
        ("pods" | "pods/status", _) => sandbox.told("reader").await.is_some(),
        ("dingtalktokenreferences" | "dingtalktokenreferences/status", _) => {
            let references = sandbox.api::<DingTalkTokenReference>();
            let reference = references.get("copy").await.expect("a reference");
            reference.status.is_some()
        }
        _ => ready().await,
    }
}

async fn restarted<K: Object>(sandbox: &Sandbox) -> bool {
    let workload = sandbox.api::<K>().get("web").await.expect("a workload");
    let workload = serde_json::to_value(workload).expect("JSON");
    let restarted = "/spec/template/metadata/annotations/kubectl.kubernetes.io~1restartedAt";
    workload.pointer(restarted).is_some()
}

/// Brings a sandbox to where the scenario of a right is tried.
async fn try_it(sandbox: &mut Sandbox, right: &Right) {
    let (resource, verb) = (right.0.as_str(), right.1.as_str());
    sandbox
        .credentials("payroll-credentials", CLIENT_ID, CLIENT_SECRET)
        .await;
    if verb == "watch" {
        // What is there before is listed.
        sandbox.until_watching().await;
    }
    let mut spec = json!({"corpIds": ["ding1"]});
    match resource {
        _ if WORKLOADS.contains(&resource) => {
            spec["rolloutRestartTargets"] = json!([
                {"kind": "Deployment", "name": "web"},
                {"kind": "StatefulSet", "name": "web"},
                {"kind": "DaemonSet", "name": "web"},
            ]);
            sandbox.workloads().await;
        }
        "pods" | "pods/status" => {
            spec["target"] = json!({"propagation": "Immediate"});
            let mounts = json!({"volumeMounts": [{"name": "token", "mountPath": "/token"}]});
            sandbox.reader("reader", mounts).await;
        }
        "dingtalktokenreferences" | "dingtalktokenreferences/status" => {
            sandbox.reference("copy", "elsewhere", "none").await;
        }
        "namespaces" => {
            let namespace = &sandbox.namespace;
            spec["referenceGrants"] = json!([{"namespace": namespace}]);
            sandbox.reference("copy", namespace, "payroll").await;
        }
        _ => {}
    }
    sandbox.app_with("payroll", spec).await;
    match (resource, verb) {
        ("secrets", "watch") => {
            sandbox.until_ready("payroll").await;
            let secrets = sandbox.api::<Secret>();
            secrets
                .delete("payroll-token", &DeleteParams::default())
                .await
                .expect("deleted");
        }
        ("secrets", "delete") => {
            sandbox.until_ready("payroll").await;
            let renamed = json!({"spec": {"target": {"name": "renamed"}}});
            sandbox.merge::<DingTalkApp>("payroll", renamed).await;
        }
        _ if WORKLOADS.contains(&resource) || (resource, verb) == ("secrets", "patch") => {
            sandbox.until_ready("payroll").await;
            // The times of changes are kept in seconds.
            until_next_second().await;
            sandbox
                .stub
                .configure(|settings| settings.repeat = dingtalk_stub::Repeat::NewOverlap);
            sandbox.renew("payroll").await;
        }
        _ => {}
    }
}

impl Sandbox {
    /// A Deployment, a StatefulSet and a DaemonSet, each named `web`.
    pub async fn workloads(&self) {
        let labels = json!({"app": "web"});
        let template = json!({
            "metadata": {"labels": labels},
            "spec": {"containers": [{"name": "web", "image": "web"}]},
        });
        let workload = |kind: &str| {
            let mut workload = json!({
                "apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "web"},
                "spec": {"selector": {"matchLabels": labels}, "template": template},
            });
            if kind == "StatefulSet" {
                workload["spec"]["serviceName"] = json!("web");
            }
            workload
        };
        self.apply::<Deployment>("web", workload("Deployment"))
            .await;
        self.apply::<StatefulSet>("web", workload("StatefulSet"))
            .await;
        self.apply::<DaemonSet>("web", workload("DaemonSet")).await;
    }

    /// Takes all rights away, and grants these.
    async fn grant_only(&self, rules: &[Value]) {
        let bindings = self.api::<RoleBinding>();
        for binding in bindings
            .list(&ListParams::default())
            .await
            .expect("bindings")
        {
            bindings
                .delete(&binding.name_any(), &DeleteParams::default())
                .await
                .expect("deleted");
        }
        let role = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
            "metadata": {"name": "rights"}, "rules": rules,
        });
        self.apply::<Role>("rights", role).await;
        self.bind("Role", "rights").await;
        self.until_granted_only(rules).await;
    }

    /// Waits until the API server knows that the operator has these rights and no others: an operator that is refused
    /// lists again.
    async fn until_granted_only(&self, granted: &[Value]) {
        for rule in rules() {
            for right in rights_of(&rule) {
                let is_granted = granted.iter().any(|granted| {
                    granted["apiGroups"] == rule["apiGroups"] && rights_of(granted).contains(&right)
                });
                let (resource, verb) = &right;
                let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
                let attributes = json!({
                    "namespace": self.namespace, "group": rule["apiGroups"][0], "verb": verb,
                    "resource": resource, "subresource": subresource, "name": rule["resourceNames"][0],
                });
                let attributes = json!({"resourceAttributes": attributes});
                self.until_permitted(&attributes, is_granted).await;
            }
        }
    }

    /// A sandbox whose operator has all rights but one, where the scenario of `right` is tried.
    async fn lacking(right: &Right, missing: Option<&Right>) -> Self {
        let mut sandbox = Self::without_operator("rights", shared_plane().await).await;
        sandbox.grant_only(&rules_without(missing)).await;
        let elects = right.0 == "leases";
        sandbox.operator = elects.then(|| {
            let site = format!("global={}", sandbox.stub.url());
            sandbox.replica(&site)
        });
        if !elects {
            sandbox.start_operator(&[]);
        }
        try_it(&mut sandbox, right).await;
        sandbox
    }
}

/// Runs something for each right, a few at a time.
async fn for_each_right(run: impl Fn(Right) -> LocalBoxFuture<'static, ()>) {
    let rights: Vec<Right> = rights().into_iter().collect();
    for some in rights.chunks(AT_ONCE) {
        join_all(some.iter().cloned().map(&run)).await;
    }
}

#[tokio::test]
async fn without_a_right_its_scenario_fails_and_the_operator_says_which_is_missing() {
    for_each_right(|right| {
        async move {
            let sandbox = Sandbox::lacking(&right, Some(&right)).await;
            let (resource, verb) = &right;
            let missing = format!("cannot {verb} resource \"{resource}\"");
            sandbox
                .eventually(
                    &format!("{missing} in the log, a condition or an event"),
                    async || {
                        let apps = sandbox
                            .api::<DingTalkApp>()
                            .list(&ListParams::default())
                            .await;
                        let apps = apps.ok()?.items;
                        let told = apps.iter().any(|app| {
                            let status = app.status.as_ref();
                            status.is_some_and(|status| {
                                status
                                    .conditions
                                    .iter()
                                    .any(|all| all.message.contains(&missing))
                            })
                        });
                        (told || sandbox.logs().contains(&missing)).then_some(())
                    },
                )
                .await;
            assert!(
                !happens(&sandbox, &right).await,
                "{resource} {verb} is not needed"
            );
        }
        .boxed_local()
    })
    .await;
}

#[tokio::test]
async fn with_all_rights_every_scenario_succeeds() {
    for_each_right(|right| {
        async move {
            let sandbox = Sandbox::lacking(&right, None).await;
            sandbox
                .eventually(&format!("the scenario of {right:?}"), async || {
                    happens(&sandbox, &right).await.then_some(())
                })
                .await;
        }
        .boxed_local()
    })
    .await;
}
