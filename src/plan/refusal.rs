//! Apps that are not served, since their namespace is past one of its bounds.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::problem::NAMESPACE_LIMIT_EXCEEDED;
use super::token::whole_seconds;
use crate::api::{
    CONDITION_READY, CONDITION_RENEWED, CONDITION_STALLED, CorpStatus, DingTalkApp,
    DingTalkAppStatus,
};

/// A bound of a namespace, with the most that it allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// The number of apps.
    Apps(usize),
    /// The number of organisations of all apps together.
    Corps(usize),
    /// The size of all specs together, in bytes.
    Specs(usize),
}

/// Why an app is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The bound that stands in the way.
    pub bound: Bound,
}

impl Refusal {
    /// What it is, and what to do about it. It says nothing that changes with each app of the
    /// namespace, or the status of each would be written whenever one comes or goes.
    fn message(self, app: &DingTalkApp) -> String {
        let namespace = app.metadata.namespace.as_deref().unwrap_or_default();
        let (limit, advice) = match self.bound {
            Bound::Apps(max) => (
                format!("{max} DingTalkApps (--max-apps-per-namespace)"),
                "delete DingTalkApps that are not needed, use another namespace, or ask whoever runs \
                 the operator to raise the flag",
            ),
            Bound::Corps(max) => (
                format!("{max} corpIds in all DingTalkApps together (--max-corps-per-namespace)"),
                "take corpIds off, delete DingTalkApps that are not needed, use another namespace, or \
                 ask whoever runs the operator to raise the flag",
            ),
            Bound::Specs(max) => (
                format!(
                    "{} MiB in the specs of all DingTalkApps together",
                    max >> 20
                ),
                "shorten spec.target (data, labels, annotations), or use another namespace",
            ),
        };
        format!(
            "namespace {namespace} has more than the operator serves: {limit}. The oldest are served, \
             and this one is not: nothing is fetched for it, and its Secrets stay as they are; {advice}"
        )
    }
}

/// What the status of an app that is not served is written over: every field that goes.
pub fn refused_previous() -> DingTalkAppStatus {
    let gone = || Some(String::new());
    DingTalkAppStatus {
        valid_corps: Some(0),
        total_corps: Some(0),
        tokens: gone(),
        secret: gone(),
        expiration_time: gone(),
        next_attempt_time: gone(),
        corps: vec![CorpStatus::default()],
        ..DingTalkAppStatus::default()
    }
}

/// The status of an app that is not served; `None` if it says so already.
pub fn refused_status(
    app: &DingTalkApp,
    refusal: Refusal,
    now: Timestamp,
) -> Option<DingTalkAppStatus> {
    let message = refusal.message(app);
    let generation = app.metadata.generation;
    let conditions = app.status.iter().flat_map(|status| &status.conditions);
    let says_so = |condition: &Condition| {
        condition.type_ == CONDITION_READY
            && condition.reason == NAMESPACE_LIMIT_EXCEEDED
            && condition.message == message
            && condition.observed_generation == generation
    };
    if conditions.clone().any(says_so) {
        return None;
    }
    let condition = |type_: &str, status: &str| {
        let since = conditions
            .clone()
            .find(|old| old.type_ == type_ && old.status == status);
        Condition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: NAMESPACE_LIMIT_EXCEEDED.to_owned(),
            message: message.clone(),
            observed_generation: generation,
            last_transition_time: since.map_or_else(
                || Time(whole_seconds(now)),
                |old| old.last_transition_time.clone(),
            ),
        }
    };
    Some(DingTalkAppStatus {
        observed_generation: generation,
        conditions: vec![
            condition(CONDITION_READY, "False"),
            condition(CONDITION_RENEWED, "False"),
            condition(CONDITION_STALLED, "True"),
        ],
        ..DingTalkAppStatus::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_names_the_bound_the_flag_and_the_way_out_and_is_written_once() {
        let mut app: DingTalkApp = serde_json::from_value(serde_json::json!({
            "apiVersion": "dingtalk-token-operator.github.io/v1alpha1", "kind": "DingTalkApp",
            "metadata": {"name": "payroll", "namespace": "hr", "generation": 3},
            "spec": {"credentialsSecretRef": {"name": "credentials"}, "site": "global", "corpIds": []},
        }))
        .expect("an app");
        let now = Timestamp::from_second(1_800_000_000).expect("a time");
        for (bound, named) in [
            (
                Bound::Apps(10),
                "10 DingTalkApps (--max-apps-per-namespace)",
            ),
            (
                Bound::Corps(20),
                "20 corpIds in all DingTalkApps together (--max-corps-per-namespace)",
            ),
            (Bound::Specs(8 << 20), "8 MiB in the specs"),
        ] {
            let refusal = Refusal { bound };
            let status = refused_status(&app, refusal, now).expect("to be written");
            let message = &status.conditions[0].message;
            assert!(
                message.contains("namespace hr") && message.contains(named),
                "{message}"
            );
            assert!(
                status
                    .conditions
                    .iter()
                    .all(|it| it.reason == NAMESPACE_LIMIT_EXCEEDED)
            );
            app.status = Some(status);
            assert_eq!(refused_status(&app, refusal, now), None);
        }
        app.metadata.generation = Some(4);
        let refusal = Refusal {
            bound: Bound::Specs(8 << 20),
        };
        assert!(refused_status(&app, refusal, now).is_some());
    }
}
