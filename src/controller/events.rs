//! Publishes events.

use std::sync::PoisonError;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::{Resource, ResourceExt};
use tracing::{debug, warn};

use super::context::Context;
use crate::api::MANAGER;
use crate::core::{Notice, NoticeType};

impl Context {
    /// (client) Publishes an event about `object`, unless too many were published before.
    pub(super) async fn publish<K: Resource<DynamicType = ()>>(&self, object: &K, notice: &Notice) {
        let namespace = object.meta().namespace.as_deref().unwrap_or_default();
        if !self.may_publish(namespace, notice.type_) {
            debug!(
                kind = &*K::kind(&()),
                namespace,
                name = object.name_any(),
                reason = notice.reason.as_str(),
                "event left out: too many at once"
            );
            return;
        }
        let event = event(object, &self.instance, notice, self.wall());
        if let Err(error) = self.cluster.publish(namespace, &event).await {
            warn!(kind = &*K::kind(&()), namespace, name = object.name_any(), reason = notice.reason.as_str(), %error, "event lost");
        }
    }

    fn may_publish(&self, namespace: &str, type_: NoticeType) -> bool {
        let now = self.clock.now().monotonic;
        let budget = self.event_budget.lock();
        let mut budget = budget.unwrap_or_else(PoisonError::into_inner);
        budget.spend(namespace, type_, now)
    }
}

/// Builds an event about `object`, reported by the process `instance`.
fn event<K: Resource<DynamicType = ()>>(
    object: &K,
    instance: &str,
    notice: &Notice,
    now: Timestamp,
) -> Event {
    // A name has at most 253 characters; the time makes it unique.
    let mut name = object.name_any();
    name.truncate(220);
    Event {
        metadata: ObjectMeta {
            name: Some(format!(
                "{}.{:x}",
                name.trim_end_matches(['.', '-']),
                now.as_nanosecond()
            )),
            namespace: object.namespace(),
            ..ObjectMeta::default()
        },
        event_time: Some(MicroTime(now)),
        type_: Some(
            match notice.type_ {
                NoticeType::Normal => "Normal",
                NoticeType::Warning => "Warning",
            }
            .to_owned(),
        ),
        reason: Some(notice.reason.as_str().to_owned()),
        action: Some(notice.action.to_owned()),
        note: Some(notice.note.clone()),
        regarding: Some(object.object_ref(&())),
        related: notice.secret.as_ref().map(|secret| ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Secret".to_owned()),
            namespace: object.meta().namespace.clone(),
            name: Some(secret.clone()),
            ..ObjectReference::default()
        }),
        reporting_controller: Some(MANAGER.to_owned()),
        reporting_instance: Some(instance.to_owned()),
        ..Event::default()
    }
}
