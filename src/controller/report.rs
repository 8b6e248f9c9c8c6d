//! Reports an app at rest: status, events and metrics.

use jiff::Timestamp;

use super::reconcile::Reconciler;
use super::retry::{LOOK_AGAIN, retry_status};
use crate::api::{DingTalkAppStatus, Reason};
use crate::core::{Happened, Notice, Settled};
use crate::operator::TokenTimes;

impl Reconciler<'_> {
    /// (client) Reports, and returns when to look again.
    pub(super) async fn settle(&self, settled: &Settled, now: Timestamp) -> Option<Timestamp> {
        if settled.quiet {
            self.measure(settled, None);
            return settled.wake_at;
        }
        let retry_restart = self.restart_workloads(settled, now).await;
        let retry_refresh = self.refresh_pods(now).await;
        let Some(report) = self.context.core().report(self.app, settled, now) else {
            return Some(now + LOOK_AGAIN);
        };
        self.measure(settled, Some(&report.current));
        let wake_at = [settled.wake_at, retry_restart, retry_refresh];
        let wake_at = wake_at.into_iter().flatten().min();
        if let Some(due) = report.not_before {
            return Some(wake_at.map_or(due, |at| at.min(due)));
        }
        if report.current != report.previous {
            let over = (&report.previous, report.version.as_deref());
            let cluster = &self.context.cluster;
            match cluster.write_status(self.app, over, &report.current).await {
                Ok(version) => self.memory(|memory| {
                    let written = &mut memory.written_status;
                    written.wrote(report.current, version, now);
                }),
                Err(error) => {
                    let until = error.is_refused().then(|| self.status_refused(now));
                    return retry_status(&self.key, &error, until.flatten(), wake_at, now);
                }
            };
        }
        self.memory(|memory| memory.happened = Happened::default());
        for notice in report.notices {
            self.publish(&notice).await;
        }
        wake_at
    }

    /// Records that the status was refused, and returns when to retry.
    fn status_refused(&self, now: Timestamp) -> Option<Timestamp> {
        let (generation, random) = (self.app.metadata.generation, self.context.clock.random());
        self.memory(|memory| memory.written_status.refused(generation, random, now))
    }

    /// Updates the token metrics.
    fn measure(&self, settled: &Settled, status: Option<&DingTalkAppStatus>) {
        let reported = status.map(|status| status.corps.as_slice());
        let failing = |index: usize| {
            let error = reported?.get(index)?.error.as_ref()?;
            let since = error.since_time.parse().ok()?;
            Some((since, error.reason.clone()))
        };
        let corps = self.app.spec.corp_ids.iter().zip(&settled.corps);
        let times = corps
            .enumerate()
            .map(|(index, (corp_id, corp))| TokenTimes {
                corp_id: corp_id.clone(),
                expires_at: corp.in_secret.map(|lifetime| lifetime.expires_at),
                next_attempt_at: corp.next_attempt,
                failing: failing(index),
            });
        self.context.measure(&self.key, |metrics, namespace, name| {
            metrics.tokens.set(namespace, name, times);
            if let Some(status) = status {
                metrics.apps.set(namespace, name, &status.conditions);
            }
        });
    }

    /// Updates the metric of new tokens that cannot be delivered to programs.
    pub(super) fn measure_delivery(&self, reason: Reason, is_failing: bool, now: Timestamp) {
        self.context.measure(&self.key, |metrics, namespace, name| {
            let objects = &metrics.objects;
            match is_failing {
                true => objects.undelivered(namespace, name, reason, now),
                false => objects.delivered(namespace, name, reason),
            }
        });
    }

    pub(super) async fn publish(&self, notice: &Notice) {
        self.context.publish(self.app, notice).await;
    }
}
