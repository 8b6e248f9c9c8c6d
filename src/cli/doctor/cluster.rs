//! Verdicts on the installation in the cluster.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::LeaseSpec;
use k8s_openapi::api::core::v1::PodSpec;
use kube::ResourceExt as _;
use serde_json::Value;

use super::verdict::{Unread, Verdict};

/// Version of this program, as in image tags.
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Name of the operator's container.
const CONTAINER: &str = "operator";

/// Returns the verdict on the definition of a custom resource, by the schema that the API server publishes and the
/// one in this program.
pub(super) fn definition(kind: &str, schemas: Result<(Value, Value), Unread>) -> Verdict {
    let subject = format!("CRD {kind}");
    let (theirs, ours) = match schemas {
        Ok(schemas) => schemas,
        Err(Unread::Missing) => {
            let advice =
                "install it: dingtalk-token-operator crd | kubectl apply --server-side -f -";
            return Verdict::fails(&subject, "it is not installed", advice);
        }
        Err(unread) => return unread.verdict(&subject, "read the API server's OpenAPI document"),
    };
    match difference(&ours, &theirs, "") {
        None => Verdict::ok(&subject, format!("installed, matches version {VERSION}")),
        Some(path) => Verdict::warn(
            &subject,
            format!("installed, but does not match version {VERSION}: {path} differs"),
            "upgrade the definitions together with the operator: dingtalk-token-operator crd | kubectl apply \
             --server-side -f -",
        ),
    }
}

/// Returns the path of the first difference between two schemas.
fn difference(ours: &Value, theirs: &Value, path: &str) -> Option<String> {
    match (ours, theirs) {
        (Value::Object(ours), Value::Object(theirs)) => {
            let mut names: Vec<&String> = ours.keys().chain(theirs.keys()).collect();
            names.sort();
            names.dedup();
            names.into_iter().find_map(|name| {
                let path = format!("{path}/{name}");
                match (ours.get(name), theirs.get(name)) {
                    (Some(ours), Some(theirs)) => difference(ours, theirs, &path),
                    _ => Some(path),
                }
            })
        }
        _ => (ours != theirs).then(|| path.to_owned()),
    }
}

pub(super) fn deployments(
    deployments: &Result<Vec<Deployment>, Unread>,
    namespace: &str,
) -> Vec<Verdict> {
    let subject = "operator";
    let deployments = match deployments {
        Ok(deployments) => deployments,
        Err(unread) => {
            let right = format!("list deployments in namespace {namespace}");
            return vec![unread.verdict(subject, &right)];
        }
    };
    if deployments.is_empty() {
        let said = format!("namespace {namespace} has no Deployment of the operator");
        let advice =
            "install it (docs/installing.md), or set its namespace with --operator-namespace";
        return vec![Verdict::fails(subject, said, advice)];
    }
    let verdicts = deployments.iter().flat_map(|it| [pods(it), image(it)]);
    verdicts.collect()
}

fn pods(deployment: &Deployment) -> Verdict {
    let subject = format!("Deployment {}, pods", deployment.name_any());
    let spec = deployment.spec.as_ref();
    let wanted = spec.and_then(|it| it.replicas).unwrap_or(1);
    let status = deployment.status.as_ref();
    let ready = status.and_then(|it| it.ready_replicas).unwrap_or(0);
    let said = format!("{ready} of {wanted} are ready");
    match (ready, wanted) {
        (_, 0) => Verdict::fails(&subject, "it is scaled to 0", "scale it to 2"),
        (0, _) => Verdict::fails(
            &subject,
            said,
            "see kubectl describe pod, and the logs of a pod",
        ),
        (ready, wanted) if ready < wanted => Verdict::warn(
            &subject,
            said,
            "see kubectl describe pod, and the logs of the pod",
        ),
        _ => Verdict::ok(&subject, said),
    }
}

fn image(deployment: &Deployment) -> Verdict {
    let subject = format!("Deployment {}, version", deployment.name_any());
    let mut containers = pod_spec(deployment)
        .into_iter()
        .flat_map(|it| &it.containers);
    let Some(container) = containers.find(|it| it.name == CONTAINER) else {
        let said = format!("it has no container {CONTAINER}");
        return Verdict::not_checked(&subject, said, "");
    };
    let image = container.image.as_deref().unwrap_or_default();
    match tag(image) {
        None => Verdict::not_checked(&subject, format!("{image} has no tag to compare"), ""),
        Some(tag) if tag.trim_start_matches('v') == VERSION => Verdict::ok(&subject, image),
        Some(_) => Verdict::warn(
            &subject,
            format!("{image}, but this program has version {VERSION}"),
            "use the same version as the operator: fields and reasons may differ between versions",
        ),
    }
}

/// Returns the name of the ServiceAccount of a Deployment's pods.
pub(super) fn account_name(deployment: &Deployment) -> &str {
    let name = pod_spec(deployment).and_then(|it| it.service_account_name.as_deref());
    name.filter(|it| !it.is_empty()).unwrap_or("default")
}

fn pod_spec(deployment: &Deployment) -> Option<&PodSpec> {
    deployment.spec.as_ref()?.template.spec.as_ref()
}

/// Returns the tag of an image. A colon before the last slash belongs to a port.
fn tag(image: &str) -> Option<&str> {
    let name = image.split_once('@').map_or(image, |(name, _)| name);
    let last = name.rsplit('/').next()?;
    last.split_once(':').map(|(_, tag)| tag)
}

pub(super) fn lease(lease: Result<LeaseSpec, Unread>, now: Timestamp) -> Verdict {
    let subject = "leader";
    let pods = "see the operator's pods and their logs; the Deployment must be ready";
    let lease = match lease {
        Ok(lease) => lease,
        Err(Unread::Missing) => return Verdict::fails(subject, "no replica has ever led", pods),
        Err(unread) => return unread.verdict(subject, "get the Lease in the operator's namespace"),
    };
    let Some(holder) = lease.holder_identity.filter(|it| !it.is_empty()) else {
        return Verdict::warn(subject, "the Lease is free: no replica leads", pods);
    };
    let Some(renewed_at) = lease.renew_time else {
        let said = format!("{holder} has never renewed the Lease");
        return Verdict::warn(subject, said, pods);
    };
    let age = now.duration_since(renewed_at.0);
    let lasts = SignedDuration::from_secs(lease.lease_duration_seconds.unwrap_or(0).into());
    let seconds = age.as_secs();
    if seconds < 0 {
        let behind = -seconds;
        let said = format!("{holder} renewed the Lease; this machine's clock is {behind} s behind");
        return match -age > lasts {
            true => Verdict::warn(
                subject,
                format!("{said}, so the Lease may have expired"),
                "set the clock of this machine",
            ),
            false => Verdict::ok(subject, said),
        };
    }
    let said = format!("{holder} renewed the Lease {seconds} s ago");
    match age > lasts {
        true => Verdict::fails(subject, format!("{said}, so it has expired"), pods),
        false => Verdict::ok(subject, said),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
    use serde_json::json;

    use super::super::verdict::State;
    use super::*;

    #[test]
    fn a_definition_is_of_this_version_or_says_where_it_differs() {
        let ours = json!({"properties": {"a": {"type": "string"}}});
        let judged = |schemas| definition("DingTalkApp", schemas);
        assert_eq!(judged(Ok((ours.clone(), ours.clone()))).state, State::Ok);
        for (theirs, place) in [
            (json!({"properties": {}}), "/properties/a differs"),
            (
                json!({"properties": {"a": {"type": "integer"}}}),
                "/properties/a/type differs",
            ),
            (
                json!({"properties": {"a": {"type": "string"}, "b": {}}}),
                "/properties/b differs",
            ),
        ] {
            let verdict = judged(Ok((theirs, ours.clone())));
            assert_eq!(verdict.state, State::Warn);
            assert!(verdict.message.contains(place), "{verdict:?}");
        }
        assert_eq!(judged(Err(Unread::Missing)).state, State::Fails);
        assert_eq!(judged(Err(Unread::Forbidden)).state, State::NotChecked);
    }

    fn deployment(pod_spec: &Value) -> Deployment {
        let spec = json!({"selector": {}, "template": {"spec": pod_spec}});
        let deployment = json!({"metadata": {"name": "operator"}, "spec": spec});
        serde_json::from_value(deployment).expect("a Deployment")
    }

    /// Regression: a Deployment that names no account was not told from one that was not seen.
    #[test]
    fn pods_without_a_named_account_have_the_namespaces_default() {
        let name = |pod_spec: Value| account_name(&deployment(&pod_spec)).to_owned();
        let containers = json!([]);
        let named = json!({"containers": containers, "serviceAccountName": "operator"});
        assert_eq!(name(named), "operator");
        assert_eq!(name(json!({ "containers": containers })), "default");
    }

    #[test]
    fn a_deployment_is_ready_and_of_this_version_or_not() {
        use State::{Fails, NotChecked, Ok as Well, Warn};
        let judged = |image: &str, ready: i32, wanted: i32| {
            let containers = json!([{"name": "proxy"}, {"name": CONTAINER, "image": image}]);
            let template = json!({"spec": {"containers": containers}});
            let deployment = serde_json::from_value(json!({
                "metadata": {"name": "operator"},
                "spec": {"replicas": wanted, "selector": {}, "template": template},
                "status": {"readyReplicas": ready},
            }));
            let verdicts = deployments(&Ok(vec![deployment.expect("a Deployment")]), "ns");
            verdicts.into_iter().map(|it| it.state).collect::<Vec<_>>()
        };
        let current = format!("registry.example:5000/operator:v{VERSION}");
        assert_eq!(judged(&current, 2, 2), [Well, Well]);
        assert_eq!(judged(&format!("{current}@sha256:00"), 1, 2), [Warn, Well]);
        assert_eq!(
            judged("registry.example:5000/operator:v9.9.9", 0, 2),
            [Fails, Warn]
        );
        assert_eq!(
            judged("registry.example:5000/operator@sha256:00", 0, 0),
            [Fails, NotChecked]
        );
        let other = deployment(&json!({"containers": [{"name": "proxy"}]}));
        let version = deployments(&Ok(vec![other]), "ns").remove(1);
        assert_eq!(version.state, NotChecked);
        assert_eq!(version.message, "it has no container operator");
        let states = |facts| deployments(&facts, "ns").remove(0).state;
        assert_eq!(states(Ok(Vec::new())), Fails);
        assert_eq!(states(Err(Unread::Forbidden)), NotChecked);
    }

    #[test]
    fn a_lease_is_held_free_or_has_run_out() {
        let now: Timestamp = "2026-11-23T02:06:38Z".parse().expect("a time");
        let judged = |holder: &str, renewed_at: Option<&str>| {
            let spec = LeaseSpec {
                holder_identity: Some(holder.to_owned()),
                renew_time: renewed_at.map(|it| MicroTime(it.parse().expect("a time"))),
                lease_duration_seconds: Some(15),
                ..LeaseSpec::default()
            };
            lease(Ok(spec), now)
        };
        let said = judged("pod-1", Some("2026-11-23T02:06:43Z"));
        assert_eq!(said.state, State::Ok, "{said:?}");
        assert!(said.message.ends_with("clock is 5 s behind"), "{said:?}");
        let judged = |holder, renewed_at| judged(holder, renewed_at).state;
        assert_eq!(judged("pod-1", Some("2026-11-23T02:07:00Z")), State::Warn);
        assert_eq!(judged("pod-1", Some("2026-11-23T02:06:30Z")), State::Ok);
        assert_eq!(judged("pod-1", Some("2026-11-23T02:00:00Z")), State::Fails);
        assert_eq!(judged("pod-1", None), State::Warn);
        assert_eq!(judged("", Some("2026-11-23T02:06:30Z")), State::Warn);
        assert_eq!(lease(Err(Unread::Missing), now).state, State::Fails);
        assert_eq!(lease(Err(Unread::Forbidden), now).state, State::NotChecked);
    }
}
