//! What the operator's account may not do although a role grants it.

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{EvictParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::{Account, MANAGER, allowed, change, labelled, refused, sandbox, secret};
use crate::support::Object;

const NOT_OPAQUE: &str = "Secrets of type Opaque only";
const NO_LABEL: &str = "writes Secrets with the label";
const NOT_OURS: &str = "changes and deletes only Secrets that carry its labels";
const KUBE_SYSTEM: &str = "no Secret of kube-system";
const NOT_BY_STATUS: &str = "changes pods by their status only";
const OTHER_OF_POD: &str = "changes a pod's annotation";
const NOT_A_RESTART: &str = "restarts workloads, and neither creates nor deletes nor scales";
const OTHER_OF_TEMPLATE: &str = "changes a workload's spec.template.metadata.annotations";
const OTHER_OF_WORKLOAD: &str = "does not change a workload's own metadata";

#[tokio::test]
async fn of_secrets_the_operator_writes_its_own_alone() {
    let sandbox = sandbox("policy-secrets").await;
    let operator = Account::of(&sandbox, "operator").await;
    let everybody = Account::of(&sandbox, "tenant").await;
    operator
        .until_refused(NO_LABEL, async || {
            let probe = operator.create::<Secret>("m", secret("probe", None)).await;
            let _ = everybody.delete::<Secret>("probe").await;
            probe
        })
        .await;
    for (name, adopt_by) in [
        ("foreign", None),
        ("named", Some("payroll")),
        ("handed-over", Some("DingTalkApp/payroll")),
        ("given", Some("DingTalkTokenReference/payroll")),
    ] {
        let mut object = secret(name, None);
        if let Some(app) = adopt_by {
            object["metadata"]["annotations"]["dingtalk-token-operator.github.io/adopt-by"] =
                json!(app);
        }
        allowed(name, everybody.create::<Secret>("tenant", object).await);
    }

    let mut account_token = secret("account-token", Some(MANAGER));
    account_token["type"] = json!("kubernetes.io/service-account-token");
    account_token["metadata"]["annotations"] =
        json!({"kubernetes.io/service-account.name": "tenant"});
    let created = operator.create::<Secret>("m", account_token).await;
    refused("an account's token", NOT_OPAQUE, created);
    let created = operator
        .create::<Secret>("m", secret("x", Some("Helm")))
        .await;
    refused("another label", NO_LABEL, created);
    let merged = operator.merge::<Secret>("m", "foreign", change()).await;
    refused("another's Secret", NO_LABEL, merged);
    let merged = operator
        .merge::<Secret>("m", "foreign", labelled(Some(MANAGER)))
        .await;
    refused("taking another's", NOT_OURS, merged);
    let mut replaced = allowed("reading", everybody.api::<Secret>().get("foreign").await);
    replaced.metadata.labels = Some(
        [(
            "app.kubernetes.io/managed-by".to_owned(),
            MANAGER.to_owned(),
        )]
        .into(),
    );
    let replaced = operator
        .api()
        .replace("foreign", &PostParams::default(), &replaced)
        .await;
    refused("replacing another's", NOT_OURS, replaced);
    refused(
        "deleting another's",
        NOT_OURS,
        operator.delete::<Secret>("foreign").await,
    );
    refused(
        "deleting what is handed over to a bare name",
        NOT_OURS,
        operator.delete::<Secret>("named").await,
    );
    let system = operator.in_kube_system();
    let created = system
        .create::<Secret>("m", secret("ours", Some(MANAGER)))
        .await;
    refused("kube-system", KUBE_SYSTEM, created);

    let created = operator
        .create::<Secret>(MANAGER, secret("ours", Some(MANAGER)))
        .await;
    allowed("creating its own", created);
    allowed(
        "changing its own",
        operator.merge::<Secret>(MANAGER, "ours", change()).await,
    );
    let merged = operator.merge::<Secret>("m", "ours", labelled(None)).await;
    refused("disowning its own", NO_LABEL, merged);
    allowed("deleting its own", operator.delete::<Secret>("ours").await);
    let mut adopted = labelled(Some(MANAGER));
    adopted["metadata"]["annotations"] =
        json!({"dingtalk-token-operator.github.io/adopt-by": null});
    let merged = operator
        .merge::<Secret>(MANAGER, "handed-over", adopted)
        .await;
    allowed("adopting what is handed over", merged);
    allowed(
        "deleting what is handed over",
        operator.delete::<Secret>("given").await,
    );
}

#[tokio::test]
async fn of_pods_the_operator_changes_its_annotation_alone() {
    let sandbox = sandbox("policy-pods").await;
    let operator = Account::of(&sandbox, "operator").await;
    sandbox.reader("reader", json!({})).await;
    operator
        .until_refused(OTHER_OF_POD, async || {
            // A change that is none would pass.
            let phase = json!({"status": {"message": rand::random::<u32>().to_string()}});
            operator.status("reader", phase).await
        })
        .await;
    for (what, patch) in [
        (
            "a condition",
            json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}}),
        ),
        ("a phase", json!({"status": {"phase": "Failed"}})),
        (
            "an address",
            json!({"status": {"podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}]}}),
        ),
        ("a label", json!({"metadata": {"labels": {"a": "b"}}})),
        (
            "another annotation",
            json!({"metadata": {"annotations": {"a": "b"}}}),
        ),
        (
            "a finalizer",
            json!({"metadata": {"finalizers": ["a.example/b"]}}),
        ),
    ] {
        refused(what, OTHER_OF_POD, operator.status("reader", patch).await);
    }
    let told = json!({"metadata": {"annotations": {"dingtalk-token-operator.github.io/token-written-at": "now"}}});
    let merged = operator.merge::<Pod>("m", "reader", told.clone()).await;
    refused("a pod by itself", NOT_BY_STATUS, merged);
    refused(
        "deleting a pod",
        NOT_BY_STATUS,
        operator.delete::<Pod>("reader").await,
    );
    let evicted = operator
        .api::<Pod>()
        .evict("reader", &EvictParams::default())
        .await;
    refused("evicting a pod", NOT_BY_STATUS, evicted);
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "other"},
        "spec": {"serviceAccountName": "operator", "containers": [{"name": "c", "image": "i"}]},
    });
    refused(
        "creating a pod",
        NOT_BY_STATUS,
        operator.create::<Pod>("m", pod).await,
    );
    allowed("its annotation", operator.status("reader", told).await);
}

async fn restarts_alone<K: Object>(operator: &Account<'_>) {
    let kind = K::kind(&());
    let template = |template: Value| json!({"spec": {"template": template}});
    let labels = json!({"metadata": {"labels": {"a": "b"}}});
    let container = json!({"spec": {"containers": [{"name": "web", "image": "other"}]}});
    operator
        .until_refused(OTHER_OF_TEMPLATE, async || {
            // A change that is none would pass.
            let image = rand::random::<u32>().to_string();
            let other = json!({"spec": {"containers": [{"name": "web", "image": image}]}});
            operator.merge::<K>("m", "web", template(other)).await
        })
        .await;
    for (what, words, patch) in [
        (
            "a container",
            OTHER_OF_TEMPLATE,
            template(container.clone()),
        ),
        (
            "a field that was not there",
            OTHER_OF_TEMPLATE,
            template(json!({"spec": {"hostNetwork": true}})),
        ),
        (
            "a field of the spec",
            OTHER_OF_TEMPLATE,
            json!({"spec": {"minReadySeconds": 5}}),
        ),
        (
            "the pods' labels",
            OTHER_OF_TEMPLATE,
            template(labels.clone()),
        ),
        (
            "another annotation",
            OTHER_OF_TEMPLATE,
            template(json!({"metadata": {"annotations": {"a": "b"}}})),
        ),
        ("its labels", OTHER_OF_WORKLOAD, labels),
        (
            "its annotations",
            OTHER_OF_WORKLOAD,
            json!({"metadata": {"annotations": {"a": "b"}}}),
        ),
    ] {
        let merged = operator.merge::<K>("m", "web", patch).await;
        refused(&format!("{what} of a {kind}"), words, merged);
    }
    refused(
        "deleting it",
        NOT_A_RESTART,
        operator.delete::<K>("web").await,
    );
    let mut copy = allowed("reading it", operator.api::<K>().get("web").await);
    *copy.meta_mut() = Default::default();
    copy.meta_mut().name = Some("copy".to_owned());
    let created = operator
        .api::<K>()
        .create(&PostParams::default(), &copy)
        .await;
    refused("creating one", NOT_A_RESTART, created);
    let restart = template(
        json!({"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "now"}}}),
    );
    for _ in 0..2 {
        let merged = operator.merge::<K>(MANAGER, "web", restart.clone()).await;
        allowed(&format!("restarting a {kind}"), merged);
    }
}

#[tokio::test]
async fn of_workloads_the_operator_changes_the_time_of_their_restart_alone() {
    let sandbox = sandbox("policy-workloads").await;
    let operator = Account::of(&sandbox, "operator").await;
    sandbox.workloads().await;
    restarts_alone::<Deployment>(&operator).await;
    restarts_alone::<StatefulSet>(&operator).await;
    restarts_alone::<DaemonSet>(&operator).await;
    let scaled = operator
        .api::<Deployment>()
        .patch_scale(
            "web",
            &PatchParams::default(),
            &Patch::Merge(json!({"spec": {"replicas": 9}})),
        )
        .await;
    refused("scaling", NOT_A_RESTART, scaled);
}
