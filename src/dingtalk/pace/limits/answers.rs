//! What the results of requests change.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{FAILURE_OF_NAMESPACE, Limits};
use crate::dingtalk::pace::outcome::Recovery;
use crate::dingtalk::pace::{Call, Reach};
use crate::dingtalk::{Failure, Limit, Scope};

/// Minimum length of a ban. DingTalk documents five minutes for the ban of an address.
const BAN: Duration = Duration::from_secs(300);
/// Length of the first pause of a throttled `client_id`. Each further pause is twice as long.
const THROTTLE: Duration = Duration::from_secs(1);
/// Maximum length of such a pause, unless the response asks for more.
const THROTTLE_MAX: Duration = Duration::from_secs(60);
/// Cost of a failure with unproven credentials in the site's budget: 400 at once, then 20 per second.
const FAILURE_OF_SITE: Duration = Duration::from_millis(50);

impl Limits {
    /// Records a success. Returns the outages that it ends.
    ///
    /// One success is enough, whoever had it: to hold the others back any longer would keep tokens
    /// from them that the site would give. If they fail again, each has a backoff of its own. A ban
    /// or a slowdown ends by time alone.
    pub(in crate::dingtalk::pace) fn succeeded(
        &mut self,
        call: &Call,
        now: Instant,
    ) -> Vec<Recovery> {
        self.rate.succeeded(now);
        self.busyness.served(call, now);
        self.pauses.succeeded(call);
        let healths = [&mut self.of_proven, &mut self.of_unproven];
        let healths = healths.into_iter().map(std::mem::take);
        let outages = healths.filter_map(|health| health.ended_by(call));
        outages
            .map(|(reach, since)| Recovery { reach, since })
            .collect()
    }

    /// Records a failure. Returns it, reclassified as a ban after several HTML responses, and whether the
    /// site is down.
    pub(in crate::dingtalk::pace) fn failed(
        &mut self,
        call: &Call,
        failure: Failure,
        failing_since: Option<Instant>,
        is_proven: bool,
        now: Instant,
    ) -> (Failure, bool) {
        let succeeded_at = self.rate.succeeded_at();
        let health = match is_proven {
            true => &mut self.of_proven,
            false => &mut self.of_unproven,
        };
        let failure = health.html(call, failure, now);
        if failure.class.traits().is_outage {
            health.transient(call, &failure, failing_since, succeeded_at, now);
        }
        let is_site_down = health.is_site_outage(call, &failure);
        let pause = match failure.class.traits().limit {
            Some(Limit::Ban) => {
                let reach = match failure.scope {
                    Scope::Corp => Reach::of_corp(call),
                    Scope::ClientId => Reach::Client(Arc::clone(&call.client_id)),
                    Scope::Site => health.ban(call, failure.html, succeeded_at, now),
                };
                Some((reach, failure.wait.unwrap_or_default().max(BAN)))
            }
            Some(Limit::Throttle { per_minute }) => {
                self.throttled(call, &failure, per_minute, is_proven, now)
            }
            None => None,
        };
        if let Some((reach, wait)) = pause {
            self.pauses
                .add(reach, &call.namespace, is_proven, now + wait);
        }
        if !is_proven && !self.is_down_for(&call.namespace, &call.client_id, is_proven) {
            self.failures.spend(FAILURE_OF_SITE, now);
            if let Some(namespace) = self.namespaces.get_mut(&call.namespace) {
                namespace.failures.spend(FAILURE_OF_NAMESPACE, now);
            }
        }
        (failure, is_site_down)
    }

    /// Returns which requests to pause, and for how long.
    fn throttled(
        &mut self,
        call: &Call,
        failure: &Failure,
        per_minute: bool,
        is_proven: bool,
        now: Instant,
    ) -> Option<(Reach, Duration)> {
        let asked = failure.wait.unwrap_or_default();
        match failure.scope {
            Scope::Corp => Some((Reach::of_corp(call), asked.max(THROTTLE))),
            Scope::ClientId => {
                let throttles = self.pauses.throttled(call, is_proven, now);
                let doubled = THROTTLE * (1 << throttles.saturating_sub(1).min(6));
                let least = match per_minute {
                    true => THROTTLE_MAX,
                    false => doubled.min(THROTTLE_MAX),
                };
                let reach = Reach::Client(Arc::clone(&call.client_id));
                Some((reach, least.max(asked)))
            }
            Scope::Site => {
                if is_proven && self.busyness.is_busy(call, now) {
                    self.rate.slow_down(now);
                }
                None
            }
        }
    }
}
