//! The rights that the operator needs, and verdicts on them.

use super::verdict::{Unread, Verdict};
use crate::api::GROUP;

/// A right to use a verb on a resource.
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

/// Account whose rights are checked.
#[derive(Debug)]
pub(super) enum Account {
    /// The caller, with this user name.
    Own(String),
    /// Another ServiceAccount.
    Other {
        namespace: String,
        name: String,
        /// Whether the operator's Deployment, which has the name, was not seen.
        is_assumed: bool,
    },
}

impl Account {
    pub(super) fn user_name(&self) -> String {
        match self {
            Self::Own(name) => name.clone(),
            Self::Other {
                namespace, name, ..
            } => format!("system:serviceaccount:{namespace}:{name}"),
        }
    }

    pub(super) fn is_assumed(&self) -> bool {
        matches!(
            self,
            Self::Other {
                is_assumed: true,
                ..
            }
        )
    }
}

/// Results of checking the rights of the operator's account in a namespace.
#[derive(Debug)]
pub(super) struct RightsFacts<'a> {
    pub account: &'a Account,
    pub namespace: String,
    /// Rights that the account lacks.
    pub lacking: Result<Vec<Right>, Unread>,
}

/// Returns the verdict on the operator's rights in a namespace.
pub(super) fn judge(facts: &RightsFacts<'_>, subject: &str, manifest: &str) -> Verdict {
    let place = format!("in namespace {}", facts.namespace);
    let account = facts.account.user_name();
    let lacking = match &facts.lacking {
        Ok(lacking) => lacking,
        Err(unread) => {
            return unread.verdict(
                subject,
                "create localsubjectaccessreviews for the operator's account",
            );
        }
    };
    if lacking.is_empty() {
        return Verdict::ok(subject, format!("{account} has all of them {place}"));
    }
    let lacking: Vec<String> = lacking.iter().map(shown).collect();
    let said = format!("{account} may not {} {place}", lacking.join(", "));
    let advice = format!("apply {manifest}; see docs/permissions.md");
    match facts.account.is_assumed() {
        false => Verdict::fails(subject, said, &advice),
        // The operator may have another account, which has the rights.
        true => Verdict::warn(
            subject,
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

    fn judged(lacking: Result<Vec<Right>, Unread>, is_assumed: bool) -> Verdict {
        let account = Account::Other {
            namespace: "ns".to_owned(),
            name: "operator".to_owned(),
            is_assumed,
        };
        let facts = RightsFacts {
            account: &account,
            namespace: "hr".to_owned(),
            lacking,
        };
        judge(&facts, "rights", "deploy/rbac/role.yaml")
    }

    #[test]
    fn what_is_lacking_is_named_and_what_may_not_be_asked_is_not_checked() {
        let judged = |lacking| judged(lacking, false);
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
        let lacking = judged(Ok(vec![IN_NAMESPACE[6]]), true);
        assert_eq!(lacking.state, State::Warn);
        let said = "system:serviceaccount:ns:operator may not get secrets in namespace hr; ";
        assert!(lacking.message.starts_with(said), "{lacking:?}");
        assert!(
            lacking
                .advice
                .starts_with("if this is the operator's account, apply "),
            "{lacking:?}"
        );
        assert_eq!(judged(Ok(Vec::new()), true).state, State::Ok);
    }
}
