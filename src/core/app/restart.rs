//! When to restart workloads for a new token.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::api::{DingTalkApp, Reason, RolloutRestartTarget};
use crate::core::app::notice::Notice;
use crate::core::app::view::Settled;
use crate::core::token::schedule::{Schedule, set_back};

/// Minimum interval between restarts for one app: a rollout takes a while, and a thousand corps
/// renew one after the other.
const PACE: Duration = Duration::from_secs(60);

/// Whether to restart workloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Restart {
    /// There is no reason to.
    Nothing,
    /// At this time.
    Later(Timestamp),
    Now,
}

/// What the operator remembers about an app's restarts.
#[derive(Debug, Default)]
pub(crate) struct Restarts {
    /// The change of a value that the workloads were last restarted for; at first, the one they
    /// started with.
    pub restarted_for: Option<Timestamp>,
    /// When to retry a failed restart.
    pub retry: Option<Schedule>,
    restarted_at: Option<Timestamp>,
    /// The workloads already restarted while others could not be, for the value that changed at
    /// `partly_for`.
    partly: Vec<RolloutRestartTarget>,
    partly_for: Option<Timestamp>,
}

impl Restarts {
    /// Moves the times along with a clock that was set back by this much.
    pub(crate) fn set_back(&mut self, by: SignedDuration) {
        if let Some(retry) = &mut self.retry {
            retry.set_back(by);
        }
        self.restarted_at = self.restarted_at.map(|at| set_back(at, by));
    }

    /// Whether to restart the workloads: a value has changed since the last restart, or since
    /// workloads were first named.
    pub(crate) fn step(&mut self, app: &DingTalkApp, settled: &Settled, now: Timestamp) -> Restart {
        if app.spec.rollout_restart_targets.is_empty() {
            self.restarted_for = None;
            self.retry = None;
            return Restart::Nothing;
        }
        self.restarted_at = self.restarted_at.map(|at| at.min(now));
        let newest = settled.corps.iter().filter_map(|corp| corp.in_secret);
        let newest = newest.map(|lifetime| lifetime.requested_at).max();
        let Some(restarted_for) = self.restarted_for else {
            // Whatever runs now started with the present value.
            self.restarted_for = settled.value_changed_at.or(newest);
            return Restart::Nothing;
        };
        // A time in the future predates a clock that was set back, so no change is later.
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

    /// Returns the workloads not restarted yet for the value that changed at `changed_at`.
    pub(crate) fn left<'a>(
        &self,
        app: &'a DingTalkApp,
        changed_at: Option<Timestamp>,
    ) -> Vec<&'a RolloutRestartTarget> {
        let mut left: Vec<_> = app.spec.rollout_restart_targets.iter().collect();
        left.retain(|target| self.partly_for != changed_at || !self.partly.contains(target));
        left
    }

    /// Records that a workload was restarted for the value that changed at `changed_at`.
    pub(crate) fn restarted(
        &mut self,
        workload: &RolloutRestartTarget,
        changed_at: Option<Timestamp>,
    ) {
        if self.partly_for != changed_at {
            self.partly_for = changed_at;
            self.partly.clear();
        }
        self.partly.push(workload.clone());
    }

    /// Records that all were restarted for the value that changed at `changed_at`.
    pub(crate) fn done(&mut self, changed_at: Option<Timestamp>, now: Timestamp) {
        self.restarted_for = changed_at;
        self.restarted_at = Some(now);
        self.retry = None;
        self.partly = Vec::new();
    }
}

/// Builds a restart's event. Each failure has the API server's message and whether the workload
/// does not exist.
pub(crate) fn restart_notice(
    app: &DingTalkApp,
    failed: &[(&RolloutRestartTarget, String, bool)],
) -> Notice {
    let name = |target: &RolloutRestartTarget| format!("{:?} {}", target.kind, target.name);
    if failed.is_empty() {
        let named: Vec<String> = app.spec.rollout_restart_targets.iter().map(name).collect();
        let note = format!("restarted {} for a new token", named.join(", "));
        return Notice::normal(Reason::RolloutRestarted, "Restart", &note);
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
    Notice::warning(Reason::RolloutRestartFailed, "Restart", &note)
}
