//! Judgements about what is installed in the cluster.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::verdict::{Unread, Verdict};

/// This program's version, as tags of images have it.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A resource as the API server publishes it.
#[derive(Debug)]
pub struct ResourceFacts {
    /// Its kind.
    pub kind: String,
    /// Its schema, and the one of this program.
    pub schemas: Result<(Value, Value), Unread>,
}

/// A Deployment of the operator.
#[derive(Clone, Debug)]
pub struct Deployed {
    /// Its name.
    pub name: String,
    /// The image of its container.
    pub image: String,
    /// Pods that are wanted.
    pub wanted: i32,
    /// Pods that are ready.
    pub ready: i32,
}

/// The Lease of the election.
#[derive(Clone, Debug)]
pub struct Led {
    /// Who holds it; empty if nobody does.
    pub holder: String,
    /// When it was renewed last.
    pub renewed_at: Option<Timestamp>,
    /// How long it lasts.
    pub duration: SignedDuration,
}

/// The verdict about a resource's definition.
pub fn definition(facts: &ResourceFacts) -> Verdict {
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
        None => Verdict::ok(&subject, format!("installed, as of version {VERSION}")),
        Some(path) => Verdict::warn(
            &subject,
            format!("installed, but not as of version {VERSION}: {path} differs"),
            "upgrade the definitions together with the operator: dingtalk-token-operator crd | kubectl apply \
             --server-side -f -",
        ),
    }
}

/// The first place where a schema lacks what ours has, or has something else.
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

/// The verdicts about the operator's Deployments.
pub fn deployments(facts: &Result<Vec<Deployed>, Unread>, namespace: &str) -> Vec<Verdict> {
    let subject = "operator";
    let deployed = match facts {
        Ok(deployed) => deployed,
        Err(unread) => {
            let right = format!("list deployments in namespace {namespace}");
            return vec![unread.verdict(subject, &right)];
        }
    };
    if deployed.is_empty() {
        let said = format!("no Deployment of the operator in namespace {namespace}");
        let advice =
            "install it (docs/installing.md), or name its namespace with --operator-namespace";
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
            "see kubectl describe pod, and the log of a pod",
        ),
        (ready, wanted) if ready < wanted => Verdict::warn(
            &subject,
            said,
            "see kubectl describe pod, and the log of the pod",
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
            format!("{image}, and this program is {VERSION}"),
            "use the program of the operator's version: what this one says of fields and reasons may differ",
        ),
    }
}

/// The tag of an image's name. A colon before a slash is that of a port.
fn tag(image: &str) -> Option<&str> {
    let name = image.split_once('@').map_or(image, |(name, _)| name);
    let last = name.rsplit('/').next()?;
    last.split_once(':').map(|(_, tag)| tag)
}

/// The verdict about who leads.
pub fn lease(facts: &Result<Led, Unread>, now: Timestamp) -> Verdict {
    let subject = "leader";
    let pods = "see the operator's pods and their log; the Deployment has to be ready";
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
        true => Verdict::fails(subject, format!("{said}, and it has run out"), pods),
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
