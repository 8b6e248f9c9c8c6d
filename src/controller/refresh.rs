//! Notifies the pods that mount a written Secret, so that the kubelet updates it at once.

use std::collections::BTreeSet;

use jiff::Timestamp;
use tracing::{debug, warn};

use super::cluster::Result;
use super::kind::Kind;
use super::reconcile::Reconciler;
use super::retry::retry_later;
use crate::api::{DingTalkApp, Reason};
use crate::core::{Refresh, Unrefreshed, refreshes_pods, wanted};

impl Reconciler<'_> {
    /// (client) Notifies the pods if that is due, and returns when to look again.
    pub(super) async fn refresh_pods(&self, now: Timestamp) -> Option<Timestamp> {
        if !refreshes_pods(self.app) {
            let was_on = self.memory(|memory| memory.unrefreshed.take()).flatten();
            if was_on.is_some() {
                self.measure_delivery(Reason::PropagationFailed, false, now);
                self.measure_delivery(Reason::PodsNeverUpdated, false, now);
            }
            return None;
        }
        let step = self.memory(|memory| Some(memory.unrefreshed.as_ref()?.step(now)));
        let secrets = match step.flatten()? {
            Refresh::Nothing => return None,
            Refresh::Later(at) => return Some(at),
            Refresh::Now(secrets) => secrets,
        };
        let told = self.tell_readers(&secrets, now).await;
        self.measure_delivery(Reason::PropagationFailed, told.is_err(), now);
        let (retry, notice) = match told {
            Ok(stuck) => {
                self.measure_delivery(Reason::PodsNeverUpdated, !stuck.is_empty(), now);
                let notice = self.unrefreshed(|it| it.told(&secrets, stuck, now));
                (None, notice.flatten())
            }
            Err(error) if !error.is_forbidden() => {
                self.unrefreshed(|it| it.put_off(now));
                return Some(retry_later(&self.key, "pod annotation", &error, now));
            }
            Err(error) => {
                warn!(kind = DingTalkApp::NAME, namespace = self.namespace, name = self.key.name, %error, see = Reason::PropagationFailed.page(), "pod annotation not allowed");
                let failed = self.unrefreshed(|it| it.failed(&error.to_string(), now));
                let (at, notice) = failed?;
                (Some(at), notice)
            }
        };
        if let Some(notice) = notice {
            self.publish(&notice).await;
        }
        retry
    }

    fn unrefreshed<T>(&self, act: impl FnOnce(&mut Unrefreshed) -> T) -> Option<T> {
        self.memory(|memory| act(memory.unrefreshed.get_or_insert_default()))
    }

    /// (client) Annotates the pods that mount one of these Secrets, and returns those that never see
    /// one of the app's.
    async fn tell_readers(
        &self,
        secrets: &BTreeSet<String>,
        now: Timestamp,
    ) -> Result<BTreeSet<String>> {
        let cluster = &self.context.cluster;
        let any = wanted(self.app)
            .into_iter()
            .map(|target| target.name)
            .collect();
        let readers = cluster.readers(&self.namespace, secrets, &any).await?;
        for (pod, uid) in &readers.mounting {
            match cluster.touch_pod(&self.namespace, pod, uid, now).await {
                Ok(()) => debug!(
                    kind = DingTalkApp::NAME,
                    namespace = self.namespace,
                    name = self.key.name,
                    pod,
                    "pod annotated"
                ),
                // The pod has ended, or another one has its name.
                Err(error) if error.is_not_found() || error.is_conflict() => {}
                // A refusal by a webhook, for example, must not keep the other pods from being
                // notified. This pod's file follows at the kubelet's pace.
                Err(error) if error.is_answered() && !error.is_forbidden() => {
                    warn!(kind = DingTalkApp::NAME, namespace = self.namespace, name = self.key.name, pod, %error, "pod annotation refused");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(readers.stuck)
    }
}
