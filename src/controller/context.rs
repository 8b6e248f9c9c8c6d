//! What every reconciliation shares.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::alarm::Alarm;
use super::clock::Clock;
use super::cluster::Cluster;
use super::endpoint::Endpoint;
use super::index::{Asked, Index};
use super::job::Job;
use super::remembered::{Remembered, RememberedReference};
use super::scopes::Scopes;
use super::triggers::{Senders, send};
use super::workers::Workers;
use crate::api::{AppRef, DingTalkApp, DingTalkTokenReference, ReferenceRef, app_ref};
use crate::dingtalk::{Failure, Minted, Recovery};
use crate::operator::{Leadership, Metrics, Outages, Pulse};
use crate::plan::{FailedAttempt, Memory, Minting, Tokens, View};

/// How long the last writes may take, of the 30 s that a pod has to end.
pub(super) const LAST_WRITES: Duration = Duration::from_secs(10);
/// From the end of the last fetch to the end of the controller: enough for it to be woken.
pub(super) const HANDOVER: Duration = Duration::from_millis(100);

/// What every reconciliation shares.
pub(super) struct Context {
    pub(super) cluster: Arc<dyn Cluster>,
    pub(super) dingtalk: Arc<dyn Endpoint>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) alarm: Alarm<AppRef>,
    pub(super) workers: Workers<AppRef>,
    pub(super) reference_alarm: Alarm<ReferenceRef>,
    pub(super) reference_workers: Workers<ReferenceRef>,
    pub(super) index: Mutex<Index>,
    pub(super) memories: Mutex<HashMap<AppRef, Remembered>>,
    pub(super) jobs: mpsc::UnboundedSender<Job>,
    pub(super) reference_memories: Mutex<HashMap<ReferenceRef, RememberedReference>>,
    pub(super) triggers: Senders<AppRef>,
    pub(super) reference_triggers: Senders<ReferenceRef>,
    pub(super) restored: Senders<DingTalkApp>,
    pub(super) restored_references: Senders<DingTalkTokenReference>,
    pub(super) scopes: Scopes,
    pub(super) stop: CancellationToken,
    pub(super) salt: [u8; 32],
    pub(super) instance: String,
    pub(super) leadership: Arc<Leadership>,
    pub(super) outages: Outages,
    pub(super) pulse: Arc<Pulse>,
    pub(super) site_namespaces: HashMap<String, Vec<String>>,
    pub(super) metadata_prefixes: Vec<String>,
    pub(super) tokens: Mutex<Tokens>,
}

impl Context {
    pub(super) fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whoever needs several of these locks the index first, then a memory, then the tokens.
    pub(super) fn tokens(&self) -> MutexGuard<'_, Tokens> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Now, by the wall clock.
    pub(super) fn wall(&self) -> Timestamp {
        self.clock.wall()
    }

    /// Whether this replica leads. One that stands by watches, and does nothing.
    pub(super) fn leads(&self) -> bool {
        self.leadership.holds(self.clock.now())
    }

    /// Whether this replica may learn what others wrote.
    pub(super) fn may_learn(&self) -> bool {
        self.leadership.may_learn(self.clock.now())
    }

    /// Looks at everything whenever this replica takes the lead: until then all was left alone.
    pub(super) async fn follow_leadership(&self) {
        loop {
            self.leadership.taken_up().await;
            let (apps, references) = self.index().all();
            self.wake_all(apps);
            self.wake_references(references);
        }
    }

    /// The memory of an app; a new one where the app is new or was recreated.
    pub(super) fn remember(&self, app: &DingTalkApp) -> Remembered {
        let shows_former = self.may_show_former(app);
        let mut memories = self.memories.lock().unwrap_or_else(PoisonError::into_inner);
        let memory = memories.entry(app_ref(app)).or_insert_with(|| {
            let mut memory = Memory::new(app, self.wall());
            memory.identify |= shows_former;
            Arc::new(Mutex::new(memory))
        });
        let same = {
            let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
            let same = app.metadata.uid.as_deref() == Some(memory.uid.as_str());
            if !same {
                memory.leave(&app_ref(app), &mut self.tokens());
            }
            same
        };
        if !same {
            *memory = Arc::new(Mutex::new(Memory::new(app, self.wall())));
        }
        Arc::clone(memory)
    }

    /// Until when a look at an app waits, if it does: not if this process is ending, or no longer leads.
    pub(super) fn not_before(&self, app: &DingTalkApp, key: &AppRef) -> Option<Timestamp> {
        if self.stop.is_cancelled() || !self.leads() {
            return None;
        }
        let memory = self.remembered(key)?;
        let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
        let (corps, generation) = (app.spec.corp_ids.len(), app.metadata.generation);
        memory.looks.begin(corps, generation, self.wall())
    }

    /// Whether this process has fetched a token before it looked at this app for the first time, which may
    /// show what that has revoked.
    fn may_show_former(&self, app: &DingTalkApp) -> bool {
        let key = app_ref(app);
        if self.remembered(&key).is_some() {
            return false;
        }
        let wanted = self.index().tokens_of(&key);
        let (tokens, now) = (self.tokens(), self.wall());
        wanted.iter().any(|token| tokens.has_fetched(token, now))
    }

    pub(super) fn forget(&self, app: &AppRef) {
        self.alarm.set(app, None);
        let namespace = app.namespace.as_deref().unwrap_or_default();
        self.metrics.forget_app(namespace, &app.name);
        let mut memories = self.memories.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(memory) = memories.remove(app) {
            memory
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .leave(app, &mut self.tokens());
        }
    }

    /// Measures something of an app that is there. Whoever deletes it holds the same lock, so that no
    /// series outlives its app.
    pub(super) fn measure_app(&self, app: &AppRef, measure: impl FnOnce(&Metrics, &str, &str)) {
        let index = self.index();
        if index.knows(app) {
            let namespace = app.namespace.as_deref().unwrap_or_default();
            measure(&self.metrics, namespace, &app.name);
        }
    }

    /// Measures how many apps of a namespace are not served.
    pub(super) fn measure_refused(&self, index: &Index, namespace: Option<&str>) {
        let namespace = namespace.unwrap_or_default();
        let refused = index.refused_in(namespace);
        self.metrics.objects.not_served(namespace, refused);
    }

    /// Measures something of a reference that is there; see [`Self::measure_app`].
    pub(super) fn measure_reference(
        &self,
        reference: &ReferenceRef,
        measure: impl FnOnce(&Metrics, &str, &str),
    ) {
        let index = self.index();
        if index.knows_reference(reference) {
            let namespace = reference.namespace.as_deref().unwrap_or_default();
            measure(&self.metrics, namespace, &reference.name);
        }
    }

    pub(super) fn fetch(&self, job: Job) {
        // The queue is gone only when the process ends.
        let _ = self.jobs.send(job);
    }

    pub(super) fn wake(&self, app: &AppRef) {
        send(&self.triggers, &app.namespace, app.clone());
    }

    /// Records a Secret that was read; returns the apps that it matters to.
    pub(super) fn secret_read(&self, metadata: ObjectMeta, asked: &Asked) -> Vec<AppRef> {
        match self.may_learn() {
            true => self.secret_written(metadata, asked),
            false => Vec::new(),
        }
    }

    /// Records a Secret that was written; returns the apps that it matters to.
    pub(super) fn secret_written(&self, metadata: ObjectMeta, asked: &Asked) -> Vec<AppRef> {
        let namespace = metadata.namespace.clone().unwrap_or_default();
        let name = metadata.name.clone().unwrap_or_default();
        let mut index = self.index();
        let users = index.secret_answered(metadata, asked);
        let references = index.references_of(&namespace, &name);
        drop(index);
        self.wake_references(references);
        users
    }

    /// To be asked before a call about a Secret.
    pub(super) fn asks(&self, namespace: &str, name: &str) -> Asked {
        self.index().asks(namespace, name)
    }

    /// Records that a Secret is not there, unless it was created since it was `asked` for; returns the
    /// apps that it matters to.
    pub(super) fn secret_gone(&self, namespace: &str, name: &str, asked: &Asked) -> Vec<AppRef> {
        if !self.may_learn() {
            return Vec::new();
        }
        let mut index = self.index();
        let users = index.secret_not_found(namespace, name, asked);
        let references = index.references_of(namespace, name);
        drop(index);
        self.wake_references(references);
        users
    }

    pub(super) fn wake_references(&self, references: impl IntoIterator<Item = ReferenceRef>) {
        for reference in references {
            let namespace = reference.namespace.clone();
            send(&self.reference_triggers, &namespace, reference);
        }
    }

    pub(super) fn forget_reference(&self, reference: &ReferenceRef) {
        self.reference_alarm.set(reference, None);
        let namespace = reference.namespace.as_deref().unwrap_or_default();
        self.metrics.forget_reference(namespace, &reference.name);
        self.reference_memories
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(reference);
    }

    pub(super) fn wake_all(&self, apps: impl IntoIterator<Item = AppRef>) {
        for app in apps {
            self.wake(&app);
        }
    }

    /// Whether an app names other credentials by now than a fetch was queued with, or changed ones.
    pub(super) fn credentials_changed(&self, app: &AppRef, minting: &Minting) -> bool {
        let index = self.index();
        let reference = index.credentials_ref(app);
        let version = index.credentials_version(app);
        reference.is_some_and(|now| *now != minting.reference)
            || version.is_some_and(|now| *now != minting.credentials)
    }

    /// Decides for an app by what is known now; `None` if it is gone, or there is a newer state of it.
    pub(super) fn decide<T>(
        &self,
        app: &DingTalkApp,
        memory: &Remembered,
        now: Timestamp,
        decide: impl FnOnce(&View<'_>, &mut Memory, Timestamp) -> T,
    ) -> Option<T> {
        let index = self.index();
        let current = index.current(app)?;
        let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
        let mut tokens = self.tokens();
        memory.wish(app, &mut tokens, now);
        let mut view = current.view(app, self.site_known(app), &tokens);
        view.metadata_prefixes = &self.metadata_prefixes;
        view.is_ending = self.stop.is_cancelled() || !self.leads();
        Some(decide(&view, &mut memory, now))
    }

    /// A queued fetch that is not made: its app decides anew, and so do all that want the token, if nobody
    /// else waits for the same fetch.
    pub(super) fn drop_fetch(&self, job: &Job) {
        let namespace = &job.call.namespace;
        let wishers = self.tokens().dropped(&job.minting, namespace);
        self.wake(&job.app);
        self.wake_all(wishers.into_iter().filter(|app| *app != job.app));
    }

    /// Records a token that was fetched.
    pub(super) fn record_success(&self, job: &Job, minted: Minted, requested_at: Timestamp) {
        let now = self.wall();
        let wishers = self
            .tokens()
            .succeeded(&job.minting, minted, requested_at, now);
        self.wake_all(wishers);
        self.identify_sharers(&job.app, &job.call);
    }

    /// Records a fetch that failed.
    pub(super) fn record_failure(&self, job: &Job, failure: Failure, is_site_down: bool) {
        let now = self.wall();
        let expires_at = {
            let tokens = self.tokens();
            let token = tokens.get(job.minting.token);
            token.and_then(|token| token.attempts.expires_at())
        };
        let attempt = FailedAttempt {
            failure,
            life_left: life_left(expires_at.or(job.expires_at), now),
            is_site_down,
            random: self.clock.random(),
        };
        let wishers = self.tokens().failed(&job.minting, attempt, now);
        self.wake_all(wishers);
    }

    /// An outage is over: the tokens that have failed in it do not wait for their own backoff.
    pub(super) fn hurry(&self, site: &str, recovery: &Recovery) {
        let now = self.clock.now();
        let age = now.monotonic.saturating_duration_since(recovery.since);
        let now = now.wall;
        let age = SignedDuration::try_from(age).unwrap_or_default();
        let since = now.saturating_sub(age).unwrap_or(now);
        let concerns =
            |namespace: &str, client_id: &str| recovery.reach.concerns(namespace, client_id);
        let hurried = self.tokens().hurry(site, concerns, since, now);
        self.wake_all(hurried);
    }

    /// Has every token written that this process holds and no Secret does: one that is lost may have
    /// revoked the one that is there.
    pub(super) async fn write_what_is_held(&self) {
        let deadline = tokio::time::Instant::now() + LAST_WRITES;
        let mut woken = false;
        while tokio::time::Instant::now() < deadline {
            let unwritten = self.unwritten();
            if unwritten.is_empty() {
                return;
            }
            if !std::mem::replace(&mut woken, true) {
                self.wake_all(unwritten);
            }
            tokio::time::sleep(HANDOVER).await;
        }
    }

    pub(super) fn unwritten(&self) -> Vec<AppRef> {
        let memories = self.memories.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.wall();
        let unwritten = memories.iter().filter(|(_, memory)| {
            let memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
            memory.is_to_be_written() || memory.has_untaken(&self.tokens(), now)
        });
        unwritten.map(|(app, _)| app.clone()).collect()
    }

    pub(super) fn remembered(&self, app: &AppRef) -> Option<Remembered> {
        let memories = self.memories.lock().unwrap_or_else(PoisonError::into_inner);
        memories.get(app).cloned()
    }

    /// Whether an app may use a site.
    pub(super) fn site_known(&self, app: &DingTalkApp) -> bool {
        let namespace = app.metadata.namespace.as_deref().unwrap_or_default();
        let site = app.spec.site.as_str();
        let allowed = self.site_namespaces.get(site);
        self.dingtalk.knows(site)
            && allowed.is_none_or(|namespaces| namespaces.iter().any(|one| one == namespace))
    }
}

/// The life of a token that is still valid.
pub(super) fn life_left(expires_at: Option<Timestamp>, now: Timestamp) -> Option<Duration> {
    let left = expires_at?.duration_since(now);
    Duration::try_from(left).ok().filter(|left| !left.is_zero())
}
