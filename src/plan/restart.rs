//! When workloads are restarted for a new token.

use std::time::Duration;

use jiff::Timestamp;

use super::Memory;
use super::events::{Notice, NoticeType, notice};
use super::schedule::Schedule;
use super::view::Settled;
use crate::api::{DingTalkApp, Reason, RolloutRestartTarget};

/// Restarts of one app are at least this far apart: a rollout takes its time, and a thousand
/// organisations renew one after the other.
const PACE: Duration = Duration::from_secs(60);

/// Whether to restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// There is no reason to.
    Nothing,
    /// At that time.
    Later(Timestamp),
    /// Now.
    Now,
}

/// Whether the workloads are to be restarted: a value has changed since they were, or since they
/// were first named.
pub fn restart_step(
    app: &DingTalkApp,
    settled: &Settled,
    memory: &mut Memory,
    now: Timestamp,
) -> Restart {
    if app.spec.rollout_restart_targets.is_empty() {
        memory.restarted_for = None;
        memory.restart_retry = None;
        return Restart::Nothing;
    }
    memory.restarted_at = memory.restarted_at.map(|at| at.min(now));
    let newest = settled.corps.iter().filter_map(|corp| corp.in_secret);
    let newest = newest.map(|lifetime| lifetime.minted_at).max();
    let Some(restarted_for) = memory.restarted_for else {
        // Whatever runs now started with what is there now.
        memory.restarted_for = settled.value_changed_at.or(newest);
        return Restart::Nothing;
    };
    // A time to come is of a clock that was set back since: no change is later.
    let is_news = |at: Timestamp| at > restarted_for || restarted_for > now && at != restarted_for;
    if !settled.value_changed_at.is_some_and(is_news) {
        return Restart::Nothing;
    }
    let paced_at = memory.restarted_at.map(|at| Schedule::after(at, PACE).at);
    let retry_at = memory.restart_retry.map(|retry| retry.at);
    match retry_at.max(paced_at) {
        Some(at) if at > now => Restart::Later(at),
        _ => Restart::Now,
    }
}

/// The workloads that were restarted for a new value while others could not be.
#[derive(Debug)]
pub struct PartlyRestarted {
    changed_at: Option<Timestamp>,
    workloads: Vec<RolloutRestartTarget>,
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
    pub fn restarted(&mut self, workload: &RolloutRestartTarget) {
        self.workloads.push(workload.clone());
    }
}

/// What was restarted already for the value that changed at `changed_at`, and the workloads that are left.
pub fn left_to_restart<'a>(
    app: &'a DingTalkApp,
    memory: &mut Memory,
    changed_at: Option<Timestamp>,
) -> (PartlyRestarted, Vec<&'a RolloutRestartTarget>) {
    let partly = memory.partly_restarted.take();
    let partly = partly.filter(|partly| partly.changed_at == changed_at);
    let partly = partly.unwrap_or_else(|| PartlyRestarted::none(changed_at));
    let targets = app.spec.rollout_restart_targets.iter();
    let left = targets.filter(|target| !partly.workloads.contains(target));
    let left = left.collect();
    (partly, left)
}

/// What to tell of a restart; each failure with the API server's words, and whether the workload
/// does not exist.
pub fn restart_notice(
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
        "not restarted for a new token, and their programs may still hold the former one: {}; \
         correct spec.rolloutRestartTargets, or grant the operator the role of \
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
