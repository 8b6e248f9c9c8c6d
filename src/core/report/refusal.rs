//! Objects that are not served, because their namespace exceeds a bound or they cannot be decoded.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};

use crate::api::{
    CONDITION_READY, CONDITION_RENEWED, CONDITION_STALLED, CorpStatus, DingTalkApp,
    DingTalkAppStatus, DingTalkTokenReference, DingTalkTokenReferenceStatus, Reason,
};
use crate::core::report::conditions::condition;

/// A bound of a namespace, with its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bound {
    /// Number of apps.
    Apps(usize),
    /// Number of corps of all apps together.
    Corps(usize),
    /// Total size of all specs of one kind, in bytes.
    Specs(usize),
    /// Number of references.
    References(usize),
}

/// Why an object is not served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Its namespace exceeds this bound.
    PastBound(Bound),
    /// It cannot be decoded, for this reason.
    UnsupportedSpec(Arc<str>),
}

impl Bound {
    /// Returns a message that does not depend on the namespace's other objects; otherwise every
    /// status would be rewritten whenever an object comes or goes.
    fn message(self, namespace: &str) -> String {
        let raise = "use another namespace, or ask whoever runs the operator to raise the flag";
        let (limit, advice) = match self {
            Self::Apps(max) => (
                format!("{max} DingTalkApps (--max-apps-per-namespace)"),
                format!("delete DingTalkApps that are not needed, {raise}"),
            ),
            Self::References(max) => (
                format!("{max} DingTalkTokenReferences (--max-references-per-namespace)"),
                format!("delete DingTalkTokenReferences that are not needed, {raise}"),
            ),
            Self::Corps(max) => (
                format!("{max} corpIds in all DingTalkApps together (--max-corps-per-namespace)"),
                format!("take corpIds off, delete DingTalkApps that are not needed, {raise}"),
            ),
            Self::Specs(max) => (
                format!(
                    "{} MiB in the specs of all objects of this kind together",
                    max >> 20
                ),
                "shorten spec.target (template, labels, annotations), or use another namespace"
                    .to_owned(),
            ),
        };
        format!(
            "namespace {namespace} has more than the operator serves: {limit}. The oldest are served, \
             and this one is not: nothing is fetched for it, and its Secrets stay as they are; {advice}"
        )
    }
}

impl Refusal {
    /// Returns the conditions' reason.
    pub(crate) fn reason(&self) -> Reason {
        match self {
            Self::PastBound(_) => Reason::NamespaceLimitExceeded,
            Self::UnsupportedSpec(_) => Reason::UnsupportedSpec,
        }
    }

    fn message(&self, metadata: &ObjectMeta) -> String {
        match self {
            Self::PastBound(bound) => {
                bound.message(metadata.namespace.as_deref().unwrap_or_default())
            }
            Self::UnsupportedSpec(error) => format!(
                "version {} of the operator cannot read this object: {error}. Nothing is fetched for \
                 it, and its Secrets stay as they are; upgrade the operator, or write only what this \
                 version knows",
                env!("CARGO_PKG_VERSION")
            ),
        }
    }

    /// Returns the conditions, of these types, of an object that is not served; `None` if it has
    /// them already.
    fn conditions(
        &self,
        metadata: &ObjectMeta,
        present: Option<&[Condition]>,
        types: &[&str],
        now: Timestamp,
    ) -> Option<Vec<Condition>> {
        let (message, present) = (self.message(metadata), present.unwrap_or_default());
        let new = |type_: &str| {
            let status = match type_ {
                CONDITION_STALLED => "True",
                _ => "False",
            };
            let told = (status, self.reason(), message.as_str());
            condition(type_, told, metadata.generation, present, now)
        };
        let is_new = !present.contains(&new(CONDITION_READY));
        is_new.then(|| types.iter().map(|type_| new(type_)).collect())
    }
}

/// Returns the previous status for writing a refused app's status. It has every field that the
/// write must remove.
///
/// An app that cannot be decoded keeps its other fields: the version that wrote them may come back.
pub(crate) fn refused_previous(refusal: &Refusal) -> DingTalkAppStatus {
    if let Refusal::UnsupportedSpec(_) = refusal {
        return DingTalkAppStatus::default();
    }
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

/// Returns the status of an app that is not served; `None` if it has that already.
pub(crate) fn refused_status(
    app: &DingTalkApp,
    refusal: &Refusal,
    now: Timestamp,
) -> Option<DingTalkAppStatus> {
    let present = app.status.as_ref().map(|it| it.conditions.as_slice());
    let types = [CONDITION_READY, CONDITION_RENEWED, CONDITION_STALLED];
    Some(DingTalkAppStatus {
        observed_generation: app.metadata.generation,
        conditions: refusal.conditions(&app.metadata, present, &types, now)?,
        ..DingTalkAppStatus::default()
    })
}

/// Returns the status of a reference that is not served; `None` if it has that already.
pub(crate) fn refused_reference_status(
    reference: &DingTalkTokenReference,
    refusal: &Refusal,
    now: Timestamp,
) -> Option<DingTalkTokenReferenceStatus> {
    let present = reference.status.as_ref();
    let present = present.map(|it| it.conditions.as_slice());
    let types = [CONDITION_READY, CONDITION_STALLED];
    Some(DingTalkTokenReferenceStatus {
        observed_generation: reference.metadata.generation,
        conditions: refusal.conditions(&reference.metadata, present, &types, now)?,
        ..DingTalkTokenReferenceStatus::default()
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
            let refusal = Refusal::PastBound(bound);
            let status = refused_status(&app, &refusal, now).expect("to be written");
            let message = &status.conditions[0].message;
            assert!(
                message.contains("namespace hr") && message.contains(named),
                "{message}"
            );
            let reasons = status.conditions.iter().map(|it| &it.reason);
            assert!(
                reasons
                    .into_iter()
                    .all(|it| *it == Reason::NamespaceLimitExceeded)
            );
            app.status = Some(status);
            assert_eq!(refused_status(&app, &refusal, now), None);
        }
        app.metadata.generation = Some(4);
        let refusal = Refusal::PastBound(Bound::Specs(8 << 20));
        assert!(refused_status(&app, &refusal, now).is_some());
    }

    #[test]
    fn every_condition_ends_with_the_page_of_its_reason() {
        let app: DingTalkApp = serde_json::from_value(serde_json::json!({
            "apiVersion": "dingtalk-token-operator.github.io/v1alpha1", "kind": "DingTalkApp",
            "metadata": {"name": "payroll", "namespace": "hr", "generation": 3},
            "spec": {"credentialsSecretRef": {"name": "credentials"}, "site": "global", "corpIds": []},
        }))
        .expect("an app");
        for (refusal, section) in [
            (
                Refusal::PastBound(Bound::Apps(10)),
                "#namespacelimitexceeded",
            ),
            (Refusal::UnsupportedSpec("why".into()), "#unsupportedspec"),
        ] {
            let status = refused_status(&app, &refusal, Timestamp::UNIX_EPOCH).expect("a status");
            for condition in &status.conditions {
                let message = &condition.message;
                assert!(
                    message.ends_with(&format!("docs/reasons.md{section}")),
                    "{message}"
                );
            }
        }
    }

    #[test]
    fn a_refused_reference_is_told_once_for_each_generation() {
        let mut reference: DingTalkTokenReference = serde_json::from_value(serde_json::json!({
            "apiVersion": "dingtalk-token-operator.github.io/v1alpha1", "kind": "DingTalkTokenReference",
            "metadata": {"name": "copy", "namespace": "web", "generation": 3},
            "spec": {"appRef": {"namespace": "hr", "name": "payroll"}},
        }))
        .expect("a reference");
        let refusal = Refusal::PastBound(Bound::References(10));
        let status = |reference: &DingTalkTokenReference| {
            refused_reference_status(reference, &refusal, Timestamp::UNIX_EPOCH)
        };
        let told = status(&reference).expect("to be written");
        assert_eq!(told.observed_generation, Some(3));
        let conditions = told.conditions.iter();
        let conditions: Vec<_> = conditions
            .map(|it| (it.type_.as_str(), it.status.as_str(), it.reason.as_str()))
            .collect();
        let reason = "NamespaceLimitExceeded";
        assert_eq!(
            conditions,
            [("Ready", "False", reason), ("Stalled", "True", reason)]
        );
        reference.status = Some(told);
        assert_eq!(status(&reference), None);
        reference.metadata.generation = Some(4);
        assert!(status(&reference).is_some());
    }

    /// What a request, a grant or a restart was made for outlives the refusal.
    #[test]
    fn a_refused_app_shows_no_tokens() {
        let text = || Some("x".to_owned());
        let served = DingTalkAppStatus {
            observed_generation: Some(1),
            conditions: Vec::new(),
            tokens: text(),
            valid_corps: Some(1),
            total_corps: Some(1),
            secret: text(),
            expiration_time: text(),
            next_attempt_time: text(),
            last_handled_renew_request: text(),
            rollout_restarted_for_time: text(),
            granted_namespaces: vec![crate::api::GrantedNamespace::default()],
            corps: vec![CorpStatus::default()],
        };
        let keys = |status: &DingTalkAppStatus| -> Vec<String> {
            let status = serde_json::to_value(status).expect("JSON");
            status
                .as_object()
                .expect("fields")
                .keys()
                .cloned()
                .collect()
        };
        let refusal = Refusal::PastBound(Bound::Apps(10));
        let removed = keys(&refused_previous(&refusal));
        let mut kept = keys(&served);
        kept.retain(|key| !removed.contains(key));
        let expected = [
            "grantedNamespaces",
            "lastHandledRenewRequest",
            "observedGeneration",
            "rolloutRestartedForTime",
        ];
        assert_eq!(kept, expected);
    }
}
