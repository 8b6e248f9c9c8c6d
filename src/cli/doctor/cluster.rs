//! Verdicts on the installation in the cluster.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::verdict::{Unread, Verdict};

/// Version of this program, as in image tags.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Schemas of a custom resource.
#[derive(Debug)]
pub(super) struct ResourceFacts {
    pub kind: String,
    /// The schema that the API server publishes, and the one in this program.
    pub schemas: Result<(Value, Value), Unread>,
}

/// A Deployment of the operator.
#[derive(Clone, Debug)]
pub(super) struct Deployed {
    pub name: String,
    /// Image of the operator's container.
    pub image: String,
    /// Desired number of pods.
    pub wanted: i32,
    /// Number of ready pods.
    pub ready: i32,
}

/// Lease of the leader election.
#[derive(Clone, Debug)]
pub(super) struct Led {
    /// Identity of the leader; empty if there is none.
    pub holder: String,
    pub renewed_at: Option<Timestamp>,
    /// Time from a renewal to the expiry of the Lease.
    pub duration: SignedDuration,
}

/// Returns the verdict on the definition of a custom resource.
pub(super) fn definition(facts: &ResourceFacts) -> Verdict {
    let subject = format!("CRD {}", facts.kind);
    let (theirs, ours) = match &facts.schemas {
        Ok(schemas) => schemas,
        Err(Unread::Missing) => {
            let advice =
                "install it: dingtalk-token-operator crd | kubectl apply --server-side -f -";
            return Verdict::fails(&subject, "it is not installed", advice);
        }
        Err(unread) => return unread.verdict(&subject, "read the API server's OpenAPI document"),
    };
    match difference(ours, theirs, "") {
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

/// Returns the verdicts on the operator's Deployments.
pub(super) fn deployments(facts: &Result<Vec<Deployed>, Unread>, namespace: &str) -> Vec<Verdict> {
    let subject = "operator";
    let deployed = match facts {
        Ok(deployed) => deployed,
        Err(unread) => {
            let right = format!("list deployments in namespace {namespace}");
            return vec![unread.verdict(subject, &right)];
        }
    };
    if deployed.is_empty() {
        let said = format!("namespace {namespace} has no Deployment of the operator");
        let advice =
            "install it (docs/installing.md), or set its namespace with --operator-namespace";
        return vec![Verdict::fails(subject, said, advice)];
    }
    deployed
        .iter()
        .flat_map(|it| [pods(it), image(it)])
        .collect()
}

fn pods(deployed: &Deployed) -> Verdict {
    let Deployed {
        name,
        wanted,
        ready,
        ..
    } = deployed;
    let subject = format!("Deployment {name}, pods");
    let said = format!("{ready} of {wanted} are ready");
    match (*ready, *wanted) {
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

fn image(deployed: &Deployed) -> Verdict {
    let subject = format!("Deployment {}, version", deployed.name);
    let image = &deployed.image;
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

/// Returns the tag of an image. A colon before the last slash belongs to a port.
fn tag(image: &str) -> Option<&str> {
    let name = image.split_once('@').map_or(image, |(name, _)| name);
    let last = name.rsplit('/').next()?;
    last.split_once(':').map(|(_, tag)| tag)
}

/// Returns the verdict on the leader election.
pub(super) fn lease(facts: &Result<Led, Unread>, now: Timestamp) -> Verdict {
    let subject = "leader";
    let pods = "see the operator's pods and their logs; the Deployment must be ready";
    let led = match facts {
        Ok(led) => led,
        Err(Unread::Missing) => return Verdict::fails(subject, "no replica has ever led", pods),
        Err(unread) => return unread.verdict(subject, "get the Lease in the operator's namespace"),
    };
    if led.holder.is_empty() {
        return Verdict::warn(subject, "the Lease is free: no replica leads", pods);
    }
    let Some(renewed_at) = led.renewed_at else {
        return Verdict::warn(
            subject,
            format!("{} has never renewed the Lease", led.holder),
            pods,
        );
    };
    let age = now.duration_since(renewed_at);
    let said = format!("{} renewed the Lease {} s ago", led.holder, age.as_secs());
    match age > led.duration {
        true => Verdict::fails(subject, format!("{said}, so it has expired"), pods),
        false => Verdict::ok(subject, said),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::verdict::State;
    use super::*;

    #[test]
    fn a_definition_is_of_this_version_or_says_where_it_differs() {
        let ours = json!({"properties": {"a": {"type": "string"}}});
        let judged = |schemas| {
            let kind = "DingTalkApp".to_owned();
            definition(&ResourceFacts { kind, schemas })
        };
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

    #[test]
    fn a_deployment_is_ready_and_of_this_version_or_not() {
        use State::{Fails, NotChecked, Ok as Well, Warn};
        let judged = |image: &str, ready, wanted| {
            let (name, image) = ("operator".to_owned(), image.to_owned());
            let deployed = Deployed {
                name,
                image,
                wanted,
                ready,
            };
            let verdicts = deployments(&Ok(vec![deployed]), "ns");
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
        let states = |facts| deployments(&facts, "ns").remove(0).state;
        assert_eq!(states(Ok(Vec::new())), Fails);
        assert_eq!(states(Err(Unread::Forbidden)), NotChecked);
    }

    #[test]
    fn a_lease_is_held_free_or_has_run_out() {
        let now: Timestamp = "2026-11-23T02:06:38Z".parse().expect("a time");
        let judged = |holder: &str, renewed_at: Option<&str>| {
            let led = Led {
                holder: holder.to_owned(),
                renewed_at: renewed_at.map(|it| it.parse().expect("a time")),
                duration: SignedDuration::from_secs(15),
            };
            lease(&Ok(led), now).state
        };
        assert_eq!(judged("pod-1", Some("2026-11-23T02:06:30Z")), State::Ok);
        assert_eq!(judged("pod-1", Some("2026-11-23T02:00:00Z")), State::Fails);
        assert_eq!(judged("pod-1", None), State::Warn);
        assert_eq!(judged("", Some("2026-11-23T02:06:30Z")), State::Warn);
        assert_eq!(lease(&Err(Unread::Missing), now).state, State::Fails);
        assert_eq!(lease(&Err(Unread::Forbidden), now).state, State::NotChecked);
    }
}
