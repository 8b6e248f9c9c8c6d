//! The rights that the operator needs, and verdicts on them.

use std::fmt;

use super::verdict::{Unread, Verdict};
use crate::api::GROUP;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Right {
    /// API group; empty for the core group.
    pub group: &'static str,
    /// Resource, optionally with a subresource.
    pub resource: &'static str,
    pub verb: &'static str,
}

const fn right(group: &'static str, resource: &'static str, verb: &'static str) -> Right {
    Right {
        group,
        resource,
        verb,
    }
}

/// Rights in each namespace that the operator serves, as granted by `deploy/rbac/role.yaml`.
pub(super) const IN_NAMESPACE: [Right; 14] = [
    right(GROUP, "dingtalkapps", "list"),
    right(GROUP, "dingtalkapps", "watch"),
    right(GROUP, "dingtalktokenreferences", "list"),
    right(GROUP, "dingtalktokenreferences", "watch"),
    right(GROUP, "dingtalkapps/status", "patch"),
    right(GROUP, "dingtalktokenreferences/status", "patch"),
    right("", "secrets", "get"),
    right("", "secrets", "list"),
    right("", "secrets", "watch"),
    right("", "secrets", "create"),
    right("", "secrets", "patch"),
    right("", "secrets", "delete"),
    right("", "namespaces", "get"),
    right("events.k8s.io", "events", "create"),
];

/// Rights in the operator's own namespace, as granted by `deploy/base/leader-election.yaml`.
pub(super) const FOR_THE_ELECTION: [Right; 3] = [
    right("coordination.k8s.io", "leases", "create"),
    right("coordination.k8s.io", "leases", "get"),
    right("coordination.k8s.io", "leases", "update"),
];

/// The operator's ServiceAccount.
pub(super) struct Account {
    pub namespace: String,
    pub name: String,
    pub source: Source,
}

/// Where the name of the operator's account is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Caller,
    Deployment,
    /// The Deployment was not seen, so it may be another one.
    Assumed,
}

/// Shows the name by which the API server knows the account.
impl fmt::Display for Account {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            namespace, name, ..
        } = self;
        write!(formatter, "system:serviceaccount:{namespace}:{name}")
    }
}

/// Rights that the operator needs in a namespace.
pub(super) struct Need<'a> {
    pub subject: &'a str,
    pub namespace: &'a str,
    pub rights: &'static [Right],
    /// Name of the Namespace or Lease that rights on these resources are limited to.
    pub object: &'a str,
    pub manifest: &'a str,
}

/// Returns the verdict on the operator's rights, by those that its account lacks.
pub(super) fn judge(
    need: &Need<'_>,
    account: &Account,
    lacking: Result<Vec<Right>, Unread>,
) -> Verdict {
    let place = format!("in namespace {}", need.namespace);
    let lacking = match lacking {
        Ok(lacking) => lacking,
        Err(unread) => {
            let right = "create localsubjectaccessreviews for the operator's account";
            return unread.verdict(need.subject, right);
        }
    };
    if lacking.is_empty() {
        let said = format!("{account} has all of them {place}");
        return Verdict::ok(need.subject, said);
    }
    let lacking: Vec<String> = lacking.iter().map(shown).collect();
    let said = format!("{account} may not {} {place}", lacking.join(", "));
    let advice = format!("apply {}; see docs/permissions.md", need.manifest);
    match account.source {
        Source::Caller | Source::Deployment => Verdict::fails(need.subject, said, &advice),
        Source::Assumed => Verdict::warn(
            need.subject,
            format!("{said}; the operator's Deployment, which names its account, was not seen"),
            &format!("if this is the operator's account, {advice}"),
        ),
    }
}

fn shown(right: &Right) -> String {
    match right.group.is_empty() {
        true => format!("{} {}", right.verb, right.resource),
        false => format!("{} {}.{}", right.verb, right.resource, right.group),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde::Deserialize as _;
    use serde_json::Value;

    use super::super::verdict::State;
    use super::*;

    fn granted(text: &str, kind: &str) -> BTreeSet<(String, String, String)> {
        let documents = serde_yaml_ng::Deserializer::from_str(text);
        let mut roles = documents.map(|it| Value::deserialize(it).expect("YAML"));
        let role = roles.find(|it| it["kind"] == kind).expect("a role");
        let texts = |value: &Value| -> Vec<String> {
            let all = value.as_array().expect("a list").iter();
            all.map(|it| it.as_str().expect("a text").to_owned())
                .collect()
        };
        let mut granted = BTreeSet::new();
        for rule in role["rules"].as_array().expect("rules") {
            for group in texts(&rule["apiGroups"]) {
                for resource in texts(&rule["resources"]) {
                    for verb in texts(&rule["verbs"]) {
                        granted.insert((group.clone(), resource.clone(), verb));
                    }
                }
            }
        }
        granted
    }

    #[test]
    fn the_rights_are_those_that_the_manifests_grant() {
        let as_set = |rights: &[Right]| -> BTreeSet<(String, String, String)> {
            let texts = |it: &Right| [it.group, it.resource, it.verb].map(str::to_owned).into();
            rights.iter().map(texts).collect()
        };
        let role = include_str!("../../../deploy/rbac/role.yaml");
        assert_eq!(as_set(&IN_NAMESPACE), granted(role, "ClusterRole"));
        let election = include_str!("../../../deploy/base/leader-election.yaml");
        assert_eq!(as_set(&FOR_THE_ELECTION), granted(election, "Role"));
    }

    fn judged(lacking: Result<Vec<Right>, Unread>, source: Source) -> Verdict {
        let account = Account {
            namespace: "ns".to_owned(),
            name: "operator".to_owned(),
            source,
        };
        let need = Need {
            subject: "rights",
            namespace: "hr",
            rights: &IN_NAMESPACE,
            object: "hr",
            manifest: "deploy/rbac/role.yaml",
        };
        judge(&need, &account, lacking)
    }

    #[test]
    fn what_is_lacking_is_named_and_what_may_not_be_asked_is_not_checked() {
        let judged = |lacking| judged(lacking, Source::Deployment);
        assert_eq!(judged(Ok(Vec::new())).state, State::Ok);
        let lacking = judged(Ok(vec![IN_NAMESPACE[6], IN_NAMESPACE[13]]));
        assert_eq!(lacking.state, State::Fails);
        let said = "may not get secrets, create events.events.k8s.io in namespace hr";
        assert!(lacking.message.contains(said), "{lacking:?}");
        assert!(lacking.advice.contains("role.yaml"));
        assert_eq!(judged(Err(Unread::Forbidden)).state, State::NotChecked);
    }

    /// Regression: without a look at the Deployment, the rights of an account that may not exist were said to be the
    /// operator's.
    #[test]
    fn what_an_account_lacks_that_may_not_be_the_operators_is_a_warning() {
        let lacking = judged(Ok(vec![IN_NAMESPACE[6]]), Source::Assumed);
        assert_eq!(lacking.state, State::Warn);
        let said = "system:serviceaccount:ns:operator may not get secrets in namespace hr; ";
        assert!(lacking.message.starts_with(said), "{lacking:?}");
        assert!(
            lacking
                .advice
                .starts_with("if this is the operator's account, apply "),
            "{lacking:?}"
        );
        assert_eq!(judged(Ok(Vec::new()), Source::Assumed).state, State::Ok);
    }
}
