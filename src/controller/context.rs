//! The state that all reconciliations share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::runtime::reflector::ObjectRef;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::clock::{Clock, LastLook};
use super::cluster::Cluster;
use super::endpoint::Endpoint;
use super::event_budget::EventBudget;
use super::job::Job;
use super::kind::{Kind, WorkQueues};
use super::reads::Reads;
use super::scopes::Scopes;
use crate::api::{AppRef, DingTalkApp, DingTalkTokenReference, ReferenceRef};
use crate::core::{
    AppSite, Asked, Concerned, Core, FailedAttempt, Memory, ReferenceMemory, ReferenceView,
    Reported, Surroundings, View,
};
use crate::dingtalk::{Failure, Recovery, TokenResponse};
use crate::operator::{Leadership, Metrics, Moment, Outages, Pulse};

/// Time for the last writes before the controllers are told to end, and again until they have.
pub(super) const LAST_WRITES: Duration = Duration::from_secs(10);
/// Delay between the end of the last fetch and the end of the controller: enough for it to be
/// woken.
pub(super) const HANDOVER: Duration = Duration::from_millis(100);

pub(super) struct Context {
    pub(super) core: Mutex<Core>,
    pub(super) reads: Reads,
    pub(super) event_budget: Mutex<EventBudget>,
    pub(super) cluster: Arc<dyn Cluster>,
    pub(super) dingtalk: Arc<dyn Endpoint>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) last_look: LastLook,
    pub(super) metrics: Arc<Metrics>,
    pub(super) queues: WorkQueues,
    pub(super) jobs: mpsc::UnboundedSender<Job>,
    pub(super) scopes: Scopes,
    pub(super) stop: CancellationToken,
    pub(super) salt: [u8; 32],
    pub(super) instance: String,
    pub(super) leadership: Arc<Leadership>,
    pub(super) outages: Outages,
    pub(super) pulse: Arc<Pulse>,
    pub(super) site_namespaces: HashMap<String, Vec<String>>,
    pub(super) metadata_prefixes: Vec<String>,
}

impl Context {
    /// Locks the core. The guard must not be held across a call to the API server, or across a
    /// method of this type that locks the core itself.
    pub(super) fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn wall(&self) -> Timestamp {
        self.clock.wall()
    }

    /// Returns the time. If the clock was set back since the last look, every deadline is moved with
    /// it. The core must not be locked.
    pub(super) fn look_at_clock(&self) -> Moment {
        let (now, set_back) = self.last_look.again(&*self.clock);
        if let Some(by) = set_back {
            warn!(
                seconds = by.as_secs(),
                "the clock was set back; every deadline is moved with it"
            );
            let all = self.core().set_back(by);
            self.look_at(all);
        }
        now
    }

    /// Whether this replica leads. A standby only watches.
    pub(super) fn leads(&self) -> bool {
        self.leadership.holds(self.clock.now())
    }

    /// Whether this replica may learn what others wrote.
    pub(super) fn may_learn(&self) -> bool {
        self.leadership.may_learn(self.clock.now())
    }

    /// Whether this process is shutting down or no longer leads.
    fn is_ending(&self) -> bool {
        self.stop.is_cancelled() || !self.leads()
    }

    /// Wakes every object whenever this replica starts to lead, because a standby leaves them
    /// alone.
    pub(super) async fn follow_leadership(&self) {
        loop {
            self.leadership.taken_up().await;
            let all = self.core().taken_up();
            self.look_at(all);
        }
    }

    /// Retries unanswered writes whenever an outage of the API server ends.
    pub(super) async fn follow_outages(&self) {
        let mut ends = self.outages.ends();
        loop {
            ends.next().await;
            let unanswered = self.core().answered_again(self.wall());
            self.look_at(unanswered);
        }
    }

    /// Returns until when a look at an app must wait, if at all. It never waits if this process is
    /// shutting down or no longer leads.
    pub(super) fn not_before(&self, app: &DingTalkApp) -> Option<Timestamp> {
        match self.is_ending() {
            true => None,
            false => self.core().look_waits_until(app, self.wall()),
        }
    }

    pub(super) fn forget(&self, core: &mut Core, app: &AppRef) {
        self.queues.apps.alarm.set(app, None);
        let namespace = app.namespace.as_deref().unwrap_or_default();
        self.metrics.forget_app(namespace, &app.name);
        core.forget_app(app);
    }

    pub(super) fn forget_reference(&self, core: &mut Core, reference: &ReferenceRef) {
        self.queues.references.alarm.set(reference, None);
        let namespace = reference.namespace.as_deref().unwrap_or_default();
        self.metrics.forget_reference(namespace, &reference.name);
        core.forget_reference(reference);
    }

    /// Updates metrics of an object, if it exists. Its deletion takes the same lock, so no series
    /// outlives it.
    pub(super) fn measure<K: Kind>(
        &self,
        key: &ObjectRef<K>,
        measure: impl FnOnce(&Metrics, &str, &str),
    ) {
        let core = self.core();
        if K::exists(&core, key) {
            let namespace = key.namespace.as_deref().unwrap_or_default();
            measure(&self.metrics, namespace, &key.name);
        }
    }

    /// Updates the number of a namespace's apps that are past its bounds.
    pub(super) fn measure_refused(&self, core: &Core, namespace: Option<&str>) {
        let namespace = namespace.unwrap_or_default();
        let refused = core.index.admission.refused_in(namespace);
        self.metrics.objects.not_served(namespace, refused);
    }

    pub(super) fn fetch(&self, job: Job) {
        // The receiver only goes away when the process ends.
        let _ = self.jobs.send(job);
    }

    pub(super) fn wake_all<K: Kind>(&self, objects: impl IntoIterator<Item = ObjectRef<K>>) {
        for object in objects {
            K::queue(&self.queues).wake(&object);
        }
    }

    pub(super) fn look_at(&self, concerned: Concerned) {
        self.wake_all(concerned.apps);
        self.wake_all(concerned.references);
    }

    /// Returns what is known about a Secret. Must be called before a call about it.
    pub(super) fn asks(&self, namespace: &str, name: &str) -> Asked {
        self.core().index.asks(namespace, name)
    }

    /// Records a Secret that was written, and returns the objects it concerns.
    pub(super) fn secret_written(&self, metadata: ObjectMeta, asked: &Asked) -> Concerned {
        let reported = Reported::from(metadata);
        self.core().secret_answered(reported, asked)
    }

    /// Records a Secret that was read, and returns the objects it concerns.
    pub(super) fn secret_read(&self, metadata: ObjectMeta, asked: &Asked) -> Concerned {
        match self.may_learn() {
            true => self.secret_written(metadata, asked),
            false => Concerned::default(),
        }
    }

    /// Records that a Secret does not exist, unless it was created since it was `asked` for.
    /// Returns the objects it concerns.
    pub(super) fn secret_gone(&self, namespace: &str, name: &str, asked: &Asked) -> Concerned {
        match self.may_learn() {
            true => self.secret_deleted(namespace, name, asked),
            false => Concerned::default(),
        }
    }

    /// Records that this process has deleted a Secret, unless it was created since that was `asked`
    /// for. Returns the objects it concerns.
    pub(super) fn secret_deleted(&self, namespace: &str, name: &str, asked: &Asked) -> Concerned {
        self.core().secret_not_found(namespace, name, asked)
    }

    /// Makes a decision for an app; `None` if it is gone or a newer state of it is known.
    pub(super) fn decide<T>(
        &self,
        app: &DingTalkApp,
        now: Timestamp,
        decide: impl FnOnce(&View<'_>, &mut Memory, Timestamp) -> T,
    ) -> Option<T> {
        let surroundings = Surroundings {
            site: self.site(app),
            is_ending: self.is_ending(),
            metadata_prefixes: &self.metadata_prefixes,
        };
        self.core().decide(app, surroundings, now, decide)
    }

    /// Makes a decision for a reference; `None` if it is gone or a newer state of it is known.
    pub(super) fn decide_copies<T>(
        &self,
        reference: &DingTalkTokenReference,
        decide: impl FnOnce(&ReferenceView<'_>, &mut ReferenceMemory) -> T,
    ) -> Option<T> {
        let mut core = self.core();
        core.decide_copies(reference, &self.metadata_prefixes, decide)
    }

    /// Drops a queued fetch. Its app decides again and, if nobody else waits for the fetch, so do
    /// all other apps that want the token.
    pub(super) fn drop_fetch(&self, job: &Job) {
        let namespace = &job.call.namespace;
        let subscribers = self.core().tokens.dropped(&job.pending, namespace);
        self.queues.apps.wake(&job.app);
        self.wake_all(subscribers.into_iter().filter(|app| *app != job.app));
    }

    pub(super) fn record_success(
        &self,
        job: &Job,
        response: TokenResponse,
        requested_at: Timestamp,
    ) {
        let now = self.wall();
        let mut core = self.core();
        let subscribers = core
            .tokens
            .succeeded(&job.pending, response, requested_at, now);
        let unresolved = core.unresolved_sharers(&job.app, &job.call);
        drop(core);
        self.wake_all(subscribers.into_iter().chain(unresolved));
    }

    pub(super) fn record_failure(&self, job: &Job, failure: Failure, is_site_down: bool) {
        let now = self.wall();
        let random = self.clock.random();
        let mut core = self.core();
        let expires_at = core.expiry(&job.pending).or(job.expires_at);
        let attempt = FailedAttempt {
            failure,
            life_left: life_left(expires_at, now),
            is_site_down,
            random,
        };
        let subscribers = core.tokens.failed(&job.pending, attempt, now);
        drop(core);
        self.wake_all(subscribers);
    }

    /// Ends the backoff of tokens that failed during an outage that is over.
    pub(super) fn hurry(&self, site: &str, recovery: &Recovery) {
        let now = self.clock.now();
        let age = now.monotonic.saturating_duration_since(recovery.since);
        let now = now.wall;
        let age = SignedDuration::try_from(age).unwrap_or_default();
        let since = now.saturating_sub(age).unwrap_or(now);
        let concerns =
            |namespace: &str, client_id: &str| recovery.reach.concerns(namespace, client_id);
        let hurried = self.core().tokens.hurry(site, concerns, since, now);
        self.wake_all(hurried);
    }

    /// Returns the apps with a token that still has to be written.
    pub(super) fn unwritten(&self) -> Vec<AppRef> {
        self.core().unwritten(self.wall())
    }

    /// Waits, at most for `LAST_WRITES`, until every token that this process holds is written: one
    /// that is lost may have revoked the one in the Secret.
    pub(super) async fn write_what_is_held(&self) {
        let deadline = tokio::time::Instant::now() + LAST_WRITES;
        let mut unwritten = self.unwritten();
        self.wake_all(unwritten.clone());
        while !unwritten.is_empty() && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(HANDOVER).await;
            unwritten = self.unwritten();
        }
    }

    /// Returns whether an app may use its site, and which ones it may use otherwise.
    fn site(&self, app: &DingTalkApp) -> AppSite<'_> {
        let namespace = app.metadata.namespace.as_deref().unwrap_or_default();
        let is_allowed = |site: &str| {
            let allowed = self.site_namespaces.get(site);
            allowed.is_none_or(|namespaces| namespaces.iter().any(|one| one == namespace))
        };
        let site = app.spec.site.as_str();
        match self.dingtalk.host(site).filter(|_| is_allowed(site)) {
            Some(host) => AppSite::Available(host),
            None => {
                let mut sites = self.dingtalk.sites();
                sites.retain(|other| is_allowed(other));
                AppSite::Unavailable(sites)
            }
        }
    }
}

/// Returns the remaining lifetime of a token that is still valid.
pub(super) fn life_left(expires_at: Option<Timestamp>, now: Timestamp) -> Option<Duration> {
    let left = expires_at?.duration_since(now);
    Duration::try_from(left).ok().filter(|left| !left.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dingtalk::REQUEST_TIMEOUT;
    use crate::operator::LEASE_CALL_TIMEOUT;

    #[test]
    fn a_pod_has_the_time_for_all_that_is_in_flight_when_it_is_stopped() {
        let deployment = include_str!("../../deploy/base/deployment.yaml");
        let grace = deployment.split_once("terminationGracePeriodSeconds: ");
        let grace = grace.and_then(|(_, rest)| rest.lines().next()?.parse().ok());
        let grace = Duration::from_secs(grace.expect("seconds"));
        // The Lease's last renewal, its release, and a margin.
        let lease = LEASE_CALL_TIMEOUT * 2;
        let needed = REQUEST_TIMEOUT + LAST_WRITES * 2 + HANDOVER + lease;
        assert!(needed + Duration::from_secs(5) <= grace, "{needed:?}");
    }
}
