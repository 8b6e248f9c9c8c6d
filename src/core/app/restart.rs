//! When workloads are restarted for a new token.

use std::time::Duration;

use jiff::Timestamp;

use crate::api::{DingTalkApp, Reason, RolloutRestartTarget};
use crate::core::app::notice::{Notice, NoticeType, notice};
use crate::core::app::view::Settled;
use crate::core::token::schedule::Schedule;

/// Restarts of one app are at least this far apart: a rollout takes its time, and a thousand
/// organisations renew one after the other.
const PACE: Duration = Duration::from_secs(60);

/// Whether to restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Restart {
    /// There is no reason to.
    Nothing,
    /// At that time.
    Later(Timestamp),
    /// Now.
    Now,
}

/// What is remembered of an app's restarts.
#[derive(Debug, Default)]
pub(crate) struct Restarts {
    /// The change of a value that the workloads were restarted for last; at first, what they
    /// started with.
    pub restarted_for: Option<Timestamp>,
    /// When a restart that failed is tried again.
    pub retry: Option<Schedule>,
    restarted_at: Option<Timestamp>,
    partly: Option<PartlyRestarted>,
}

/// The workloads that were restarted for a new value while others could not be.
#[derive(Debug)]
pub(crate) struct PartlyRestarted {
    changed_at: Option<Timestamp>,
    workloads: Vec<RolloutRestartTarget>,
}

impl Restarts {
    /// Whether the workloads are to be restarted: a value has changed since they were, or since they
    /// were first named.
    pub(crate) fn step(&mut self, app: &DingTalkApp, settled: &Settled, now: Timestamp) -> Restart {
        if app.spec.rollout_restart_targets.is_empty() {
            self.restarted_for = None;
            self.retry = None;
            return Restart::Nothing;
        }
        self.restarted_at = self.restarted_at.map(|at| at.min(now));
        let newest = settled.corps.iter().filter_map(|corp| corp.in_secret);
        let newest = newest.map(|lifetime| lifetime.minted_at).max();
        let Some(restarted_for) = self.restarted_for else {
            // Whatever runs now started with what is there now.
            self.restarted_for = settled.value_changed_at.or(newest);
            return Restart::Nothing;
        };
        // A time to come is of a clock that was set back since: no change is later.
        let is_news =
            |at: Timestamp| at > restarted_for || restarted_for > now && at != restarted_for;
        if !settled.value_changed_at.is_some_and(is_news) {
            return Restart::Nothing;
        }
        let paced_at = self.restarted_at.map(|at| Schedule::after(at, PACE).at);
        let retry_at = self.retry.map(|retry| retry.at);
        match retry_at.max(paced_at) {
            Some(at) if at > now => Restart::Later(at),
            _ => Restart::Now,
        }
    }

    /// What was restarted already for the value that changed at `changed_at`, and the workloads that
    /// are left.
    pub(crate) fn left<'a>(
        &mut self,
        app: &'a DingTalkApp,
        changed_at: Option<Timestamp>,
    ) -> (PartlyRestarted, Vec<&'a RolloutRestartTarget>) {
        let partly = self.partly.take();
        let partly = partly.filter(|partly| partly.changed_at == changed_at);
        let partly = partly.unwrap_or_else(|| PartlyRestarted::none(changed_at));
        let targets = app.spec.rollout_restart_targets.iter();
        let left = targets.filter(|target| !partly.workloads.contains(target));
        let left = left.collect();
        (partly, left)
    }

    /// All were restarted, for the value that changed at `changed_at`.
    pub(crate) fn done(&mut self, changed_at: Option<Timestamp>, now: Timestamp) {
        self.restarted_for = changed_at;
        self.restarted_at = Some(now);
        self.retry = None;
    }

    /// Some could not be restarted: they are tried again at `retry`.
    pub(crate) fn failed(&mut self, partly: PartlyRestarted, retry: Schedule) {
        self.partly = Some(partly);
        self.retry = Some(retry);
    }
}

impl PartlyRestarted {
    /// None of them, for the value that changed at `changed_at`.
    fn none(changed_at: Option<Timestamp>) -> Self {
        Self {
            changed_at,
            workloads: Vec::new(),
        }
    }

    /// Records that a workload was restarted.
    pub(crate) fn restarted(&mut self, workload: &RolloutRestartTarget) {
        self.workloads.push(workload.clone());
    }
}

/// What to tell of a restart; each failure with the API server's words, and whether the workload
/// does not exist.
pub(crate) fn restart_notice(
    app: &DingTalkApp,
    failed: &[(&RolloutRestartTarget, String, bool)],
) -> Notice {
    let name = |target: &RolloutRestartTarget| format!("{:?} {}", target.kind, target.name);
    let named: Vec<String> = app.spec.rollout_restart_targets.iter().map(name).collect();
    if failed.is_empty() {
        let note = format!("restarted {} for a new token", named.join(", "));
        return notice(
            NoticeType::Normal,
            Reason::RolloutRestarted,
            "Restart",
            &note,
        );
    }
    let said: Vec<String> = failed
        .iter()
        .map(|(target, error, _)| format!("{}: {error}", name(target)))
        .collect();
    let note = format!(
        "could not restart workloads for a new token, so their programs may still use the former one: {}; \
         correct spec.rolloutRestartTargets, or grant the operator the role in \
         deploy/opt-in/rollout-restart.yaml in this namespace",
        said.join(" | ")
    );
    notice(
        NoticeType::Warning,
        Reason::RolloutRestartFailed,
        "Restart",
        &note,
    )
}
