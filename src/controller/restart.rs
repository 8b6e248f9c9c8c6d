//! Restarts workloads that cannot reread a file after a token's value has changed.

use std::time::Duration;

use jiff::Timestamp;
use tracing::{info, warn};

use super::kind::Kind;
use super::reconcile::Reconciler;
use crate::api::{DingTalkApp, Reason};
use crate::core::{Restart, Schedule, Settled, restart_notice};

/// Retry interval after a refused restart: nothing reports that a missing role has been granted.
const RETRY: Duration = Duration::from_secs(300);

impl Reconciler<'_> {
    /// (client) Restarts the workloads if that is due, and returns when to look again.
    pub(super) async fn restart_workloads(
        &self,
        settled: &Settled,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let step = self.memory(|memory| memory.restarts.step(self.app, settled, now));
        match step? {
            Restart::Nothing => {
                if self.app.spec.rollout_restart_targets.is_empty() {
                    let (name, reason) = (&self.key.name, Reason::RolloutRestartFailed);
                    let objects = &self.context.metrics.objects;
                    objects.delivered(&self.namespace, name, reason);
                }
                return None;
            }
            Restart::Later(at) => return Some(at),
            Restart::Now => {}
        }
        let changed_at = settled.value_changed_at;
        let left = self.memory(|memory| memory.restarts.left(self.app, changed_at));
        let (mut partly, left) = left?;
        let mut failed = Vec::new();
        for workload in left {
            let (kind, name) = (workload.kind, &workload.name);
            // The same time again restarts nothing, which matters because a new process does not
            // know what the former one restarted.
            let at = changed_at.unwrap_or(now);
            let restarted = self.context.cluster.restart(&self.namespace, workload, at);
            match restarted.await {
                Ok(()) => {
                    partly.restarted(workload);
                    info!(kind = DingTalkApp::NAME, namespace = self.namespace, name = self.key.name, workload_kind = ?kind, workload = name, "workload restarted for a new token");
                }
                Err(error) => {
                    warn!(kind = DingTalkApp::NAME, namespace = self.namespace, name = self.key.name, workload_kind = ?kind, workload = name, retry_seconds = RETRY.as_secs(), %error, "workload restart failed; will retry");
                    let is_gone = error.is_not_found();
                    failed.push((workload, error.to_string(), is_gone));
                }
            }
        }
        // A workload that does not exist cannot be running with a former token.
        let is_done = failed.iter().all(|(.., is_gone)| *is_gone);
        self.measure_delivery(Reason::RolloutRestartFailed, !is_done, now);
        let notice = restart_notice(self.app, &failed);
        self.publish(&notice).await;
        let retry = Schedule::after(now, RETRY);
        self.memory(|memory| match is_done {
            true => memory.restarts.done(changed_at, now),
            false => memory.restarts.failed(partly, retry),
        });
        (!is_done).then_some(retry.at)
    }
}
