//! Watches, and acts: the effects around [`crate::plan`].

mod alarm;
mod cluster;
mod credentials;
mod decoded;
mod events;
mod fetcher;
mod index;
mod metadata;
mod reconcile;
mod references;
mod refresh;
mod refusal;
mod restart;
mod restored;
mod retry;
mod scopes;
mod sharing;
mod stored;
mod stub;
mod target;
mod watch;
mod workers;

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use futures::channel::mpsc as triggers;
use futures::future::{join, join_all};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Client;
use kube::runtime::Controller;
use kube::runtime::controller;
use kube::runtime::reflector::store::Writer;
use tokio::sync::{mpsc, watch as channel};
use tokio_util::sync::CancellationToken;

use crate::api::{DingTalkApp, DingTalkTokenReference};
use crate::dingtalk::{self, Failure, Minted, Rates, Recovery};
use crate::operator::{Leadership, Metrics, Moment, Pulse};
use crate::plan::{FailedAttempt, Memory, Minting, ReferenceMemory};
use alarm::Alarm;
use cluster::Cluster;
use fetcher::Job;
pub use index::NamespaceLimits;
use index::{AppRef, Index, ReferenceRef, app_ref};
use scopes::{Scope, Scopes};
use workers::{CONCURRENCY, Workers};

/// How long the last writes may take, of the 30 s that a pod has to end.
const LAST_WRITES: Duration = Duration::from_secs(10);
/// From the end of the last fetch to the end of the controller: enough for it to be woken.
const HANDOVER: Duration = Duration::from_millis(100);

type Remembered = Arc<Mutex<Memory>>;
type RememberedReference = Arc<Mutex<ReferenceMemory>>;

/// What the controller is to do.
pub struct Options {
    /// The namespaces to serve; none means all.
    pub namespaces: Vec<String>,
    /// The rates to keep.
    pub rates: Rates,
    /// The name of this process in events.
    pub instance: String,
    /// Whether this replica may act.
    pub leadership: Arc<Leadership>,
    /// The signs of life of the loops.
    pub pulse: Arc<Pulse>,
    /// The bounds of each namespace.
    pub limits: NamespaceLimits,
    /// The namespaces that may use a site; one that is not named here, all may use.
    pub site_namespaces: HashMap<String, Vec<String>>,
    /// What the keys of a target's labels and annotations may begin with.
    pub metadata_prefixes: Vec<String>,
}

/// What every reconciliation shares.
struct Context {
    cluster: Cluster,
    dingtalk: Arc<dingtalk::Client>,
    metrics: Arc<Metrics>,
    alarm: Alarm<AppRef>,
    workers: Workers<AppRef>,
    reference_alarm: Alarm<ReferenceRef>,
    reference_workers: Workers<ReferenceRef>,
    index: Mutex<Index>,
    memories: Mutex<HashMap<AppRef, Remembered>>,
    jobs: mpsc::UnboundedSender<Job>,
    reference_memories: Mutex<HashMap<ReferenceRef, RememberedReference>>,
    triggers: Senders<AppRef>,
    reference_triggers: Senders<ReferenceRef>,
    restored: Senders<DingTalkApp>,
    restored_references: Senders<DingTalkTokenReference>,
    fetches: AtomicU64,
    scopes: Scopes,
    stop: CancellationToken,
    salt: [u8; 32],
    instance: String,
    leadership: Arc<Leadership>,
    pulse: Arc<Pulse>,
    site_namespaces: HashMap<String, Vec<String>>,
    metadata_prefixes: Vec<String>,
    shared: sharing::Tokens,
}

impl Context {
    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this replica leads. One that stands by watches, and does nothing.
    fn leads(&self) -> bool {
        self.leadership.holds(Moment::now())
    }

    /// Looks at everything whenever this replica takes the lead: until then all was left alone.
    async fn follow_leadership(&self) {
        loop {
            self.leadership.taken_up().await;
            let (apps, references) = self.index().all();
            self.wake_all(apps);
            self.wake_references(references);
        }
    }

    /// The memory of an app; a new one where the app is new or was recreated.
    fn remember(&self, app: &DingTalkApp) -> Remembered {
        let mut memories = self.memories.lock().unwrap_or_else(PoisonError::into_inner);
        let memory = memories
            .entry(app_ref(app))
            .or_insert_with(|| Arc::new(Mutex::new(Memory::new(app, Timestamp::now()))));
        let same = {
            let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
            let same = app.metadata.uid.as_deref() == Some(memory.uid.as_str());
            if !same {
                // What was queued for the former app is not fetched.
                memory.abandon();
            }
            same
        };
        if !same {
            *memory = Arc::new(Mutex::new(Memory::new(app, Timestamp::now())));
        }
        Arc::clone(memory)
    }

    fn forget(&self, app: &AppRef) {
        self.alarm.set(app, None);
        let namespace = app.namespace.as_deref().unwrap_or_default();
        self.metrics.forget_app(namespace, &app.name);
        let mut memories = self.memories.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(memory) = memories.remove(app) {
            memory
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .abandon();
        }
    }

    /// Measures something of an app that is there. Whoever deletes it holds the same lock, so that no
    /// series outlives its app.
    fn measure_app(&self, app: &AppRef, measure: impl FnOnce(&Metrics, &str, &str)) {
        let index = self.index();
        if index.knows(app) {
            let namespace = app.namespace.as_deref().unwrap_or_default();
            measure(&self.metrics, namespace, &app.name);
        }
    }

    /// Measures how many apps of a namespace are not served.
    fn measure_refused(&self, index: &Index, namespace: Option<&str>) {
        let namespace = namespace.unwrap_or_default();
        let refused = index.refused_in(namespace);
        self.metrics.objects.not_served(namespace, refused);
    }

    /// Measures something of a reference that is there; see [`Self::measure_app`].
    fn measure_reference(
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

    fn next_fetch_id(&self) -> u64 {
        self.fetches.fetch_add(1, Ordering::Relaxed)
    }

    fn fetch(&self, job: Job) {
        // The queue is gone only when the process ends.
        let _ = self.jobs.send(job);
    }

    fn wake(&self, app: &AppRef) {
        send(&self.triggers, &app.namespace, app.clone());
    }

    /// Takes note of a Secret that was read or written; gives the apps that it matters to.
    fn secret_seen(&self, metadata: ObjectMeta) -> Vec<AppRef> {
        let namespace = metadata.namespace.clone().unwrap_or_default();
        let name = metadata.name.clone().unwrap_or_default();
        let mut index = self.index();
        let users = index.secret_applied(metadata);
        let references = index.references_of(&namespace, &name);
        drop(index);
        self.wake_references(references);
        users
    }

    /// Takes note of a Secret that is not there; gives the apps that it matters to.
    fn secret_gone(&self, namespace: &str, name: &str) -> Vec<AppRef> {
        let mut index = self.index();
        let users = index.secret_absent(namespace, name);
        let references = index.references_of(namespace, name);
        drop(index);
        self.wake_references(references);
        users
    }

    fn wake_references(&self, references: impl IntoIterator<Item = ReferenceRef>) {
        for reference in references {
            let namespace = reference.namespace.clone();
            send(&self.reference_triggers, &namespace, reference);
        }
    }

    fn forget_reference(&self, reference: &ReferenceRef) {
        self.reference_alarm.set(reference, None);
        let namespace = reference.namespace.as_deref().unwrap_or_default();
        self.metrics.forget_reference(namespace, &reference.name);
        self.reference_memories
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(reference);
    }

    fn wake_all(&self, apps: impl IntoIterator<Item = AppRef>) {
        for app in apps {
            self.wake(&app);
        }
    }

    /// Whether an app names other credentials by now than a fetch was queued with, or changed ones.
    fn credentials_changed(&self, app: &AppRef, minting: &Minting) -> bool {
        let index = self.index();
        let reference = index.credentials_ref(app);
        let version = index.credentials_version(app);
        reference.is_some_and(|now| *now != minting.reference)
            || version.is_some_and(|now| *now != minting.credentials)
    }

    /// A queued fetch that is not made: the app decides anew.
    fn drop_fetch(&self, job: &Job) {
        let corp_id = &job.minting.corp_id;
        let mut memory = job.memory.lock().unwrap_or_else(PoisonError::into_inner);
        if memory.awaits(corp_id, job.minting.id) {
            memory.corp(corp_id).minting = None;
            drop(memory);
            self.wake(&job.app);
        }
    }

    /// Records a token that was fetched. Returns whether its value is new.
    fn record_success(&self, job: &Job, minted: Minted, requested_at: Timestamp) -> bool {
        let index = self.index();
        let corp_id = &job.minting.corp_id;
        let target = index.target_of(&job.app, corp_id);
        let mut memory = job.memory.lock().unwrap_or_else(PoisonError::into_inner);
        if memory.awaits(corp_id, job.minting.id) {
            memory.corp(corp_id).minting = None;
        }
        memory.minted(&job.minting, minted, requested_at, target, Timestamp::now())
    }

    /// Records a fetch that failed.
    fn record_failure(job: &Job, failure: Failure, is_site_down: bool) {
        let corp_id = &job.minting.corp_id;
        let mut memory = job.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Timestamp::now();
        if memory.awaits(corp_id, job.minting.id) {
            memory.corp(corp_id).minting = None;
        }
        if memory.is_superseded(&job.minting) {
            // What former credentials were answered says nothing of the present ones.
            return;
        }
        let attempt = FailedAttempt {
            failure,
            life_left: life_left(job.expires_at, now),
            is_site_down,
            random: rand::random(),
        };
        memory.corp(corp_id).failed(&job.minting, attempt, now);
    }

    /// An outage is over: the corps that have failed in it do not wait for their own backoff.
    fn hurry(&self, site: &str, recovery: &Recovery) {
        let now = Timestamp::now();
        let age = SignedDuration::try_from(recovery.since.elapsed()).unwrap_or_default();
        let since = now.saturating_sub(age).unwrap_or(now);
        let memories = self.memories.lock().unwrap_or_else(PoisonError::into_inner);
        let remembered: Vec<(AppRef, Remembered)> = memories
            .iter()
            .map(|(app, memory)| (app.clone(), Arc::clone(memory)))
            .collect();
        drop(memories);
        for (app, memory) in remembered {
            let client_id = self.index().client_id(&app).unwrap_or_default().to_owned();
            let namespace = app.namespace.as_deref().unwrap_or_default();
            let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
            if memory.site != site || !recovery.reach.concerns(namespace, &client_id) {
                continue;
            }
            let mut hurried = 0;
            for corp in memory.corps.values_mut() {
                hurried += u32::from(corp.hurry(since, now));
            }
            drop(memory);
            if hurried > 0 {
                self.wake(&app);
            }
        }
    }

    /// Has every token written that this process holds and no Secret does: one that is lost may have
    /// revoked the one that is there.
    async fn write_what_is_held(&self) {
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

    fn unwritten(&self) -> Vec<AppRef> {
        let memories = self.memories.lock().unwrap_or_else(PoisonError::into_inner);
        let unwritten = memories.iter().filter(|(_, memory)| {
            let memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
            memory.is_to_be_written()
        });
        unwritten.map(|(app, _)| app.clone()).collect()
    }

    fn remembered(&self, app: &AppRef) -> Option<Remembered> {
        let memories = self.memories.lock().unwrap_or_else(PoisonError::into_inner);
        memories.get(app).cloned()
    }

    /// Whether an app may use a site.
    fn site_known(&self, app: &DingTalkApp) -> bool {
        let namespace = app.metadata.namespace.as_deref().unwrap_or_default();
        let site = app.spec.site.as_str();
        let allowed = self.site_namespaces.get(site);
        self.dingtalk.knows(site)
            && allowed.is_none_or(|namespaces| namespaces.iter().any(|one| one == namespace))
    }
}

/// The life of a token that is still valid.
fn life_left(expires_at: Option<Timestamp>, now: Timestamp) -> Option<Duration> {
    let left = expires_at?.duration_since(now);
    Duration::try_from(left).ok().filter(|left| !left.is_zero())
}

type Senders<T> = HashMap<Scope, triggers::UnboundedSender<T>>;
type Channels<T> = (Senders<T>, Vec<triggers::UnboundedReceiver<T>>);

/// Sends something of a namespace to the controller that serves it.
fn send<T>(senders: &Senders<T>, namespace: &Scope, message: T) {
    if let Some(sender) = senders.get(namespace).or_else(|| senders.get(&None)) {
        // The controller is gone only when the process ends.
        let _ = sender.unbounded_send(message);
    }
}

fn trigger_channels<T>(scopes: &[Scope]) -> Channels<T> {
    scopes
        .iter()
        .map(|scope| {
            let (sender, receiver) = triggers::unbounded();
            ((scope.clone(), sender), receiver)
        })
        .unzip()
}

/// Runs until `stop`; then finishes what is in hand.
pub async fn run(
    client: Client,
    dingtalk: dingtalk::Client,
    metrics: Arc<Metrics>,
    options: Options,
    ready: channel::Sender<bool>,
    stop: CancellationToken,
) {
    let namespaces: BTreeSet<String> = options.namespaces.into_iter().collect();
    let scopes: Vec<Scope> = match namespaces.is_empty() {
        true => vec![None],
        false => namespaces.into_iter().map(Some).collect(),
    };
    let (jobs, job_queue) = mpsc::unbounded_channel();
    let (senders, triggered) = trigger_channels(&scopes);
    let (reference_senders, reference_triggered) = trigger_channels(&scopes);
    let (restorers, restored) = trigger_channels(&scopes);
    let (reference_restorers, restored_references) = trigger_channels(&scopes);
    let context = Arc::new(Context {
        cluster: Cluster::new(client.clone()),
        dingtalk: Arc::new(dingtalk),
        metrics,
        alarm: Alarm::default(),
        workers: Workers::default(),
        reference_alarm: Alarm::default(),
        reference_workers: Workers::default(),
        reference_memories: Mutex::new(HashMap::new()),
        reference_triggers: reference_senders,
        index: Mutex::new(Index::new(options.limits)),
        memories: Mutex::new(HashMap::new()),
        jobs,
        triggers: senders,
        restored: restorers,
        restored_references: reference_restorers,
        fetches: AtomicU64::new(0),
        scopes: Scopes::new(scopes.iter().cloned()),
        stop: stop.clone(),
        salt: rand::random(),
        instance: options.instance,
        leadership: options.leadership,
        pulse: options.pulse,
        site_namespaces: options.site_namespaces,
        metadata_prefixes: options.metadata_prefixes,
        shared: sharing::Tokens::default(),
    });
    let drained = CancellationToken::new();
    let channels = triggered.into_iter().zip(restored);
    let controllers = scopes
        .iter()
        .zip(channels)
        .map(|(scope, (triggered, restored))| {
            let writer = Writer::new(());
            let store = writer.as_reader();
            let apps = watch::apps(&client, scope, writer, restored, &context);
            Controller::for_stream(apps, store)
                .with_config(controller::Config::default().concurrency(CONCURRENCY))
                .reconcile_on(triggered)
                .graceful_shutdown_on(drained.clone().cancelled_owned())
                .run(
                    reconcile::reconcile,
                    |_, error, _| match *error {},
                    Arc::clone(&context),
                )
                .for_each(|result| {
                    // An app that was deleted after it was woken is nothing to report.
                    if let Err(controller::Error::QueueError(error)) = result {
                        watch::report(&context, "apps", scope, &error);
                    }
                    std::future::ready(())
                })
        });
    let references = scopes
        .iter()
        .zip(reference_triggered.into_iter().zip(restored_references))
        .map(|(scope, (triggered, restored))| {
            let writer = Writer::new(());
            let store = writer.as_reader();
            let references = watch::references(&client, scope, writer, restored, &context);
            Controller::for_stream(references, store)
                .with_config(controller::Config::default().concurrency(CONCURRENCY))
                .reconcile_on(triggered)
                .graceful_shutdown_on(drained.clone().cancelled_owned())
                .run(
                    references::reconcile,
                    |_, error, _| match *error {},
                    Arc::clone(&context),
                )
                .for_each(|result| {
                    if let Err(controller::Error::QueueError(error)) = result {
                        watch::report(&context, "references", scope, &error);
                    }
                    std::future::ready(())
                })
        });
    let controllers = join(join_all(controllers), join_all(references));
    let secrets = tokio::spawn(watch::secrets(
        client.clone(),
        scopes.clone(),
        Arc::clone(&context),
    ));
    let readiness = {
        let context = Arc::clone(&context);
        tokio::spawn(async move {
            context.scopes.until_ready().await;
            ready.send_replace(true);
        })
    };
    let alarm = {
        let context = Arc::clone(&context);
        tokio::spawn(async move {
            let heartbeat = &context.pulse.alarm;
            let apps = context.alarm.run(heartbeat, |app| context.wake(app));
            let references = context.reference_alarm.run(heartbeat, |reference| {
                context.wake_references([reference.clone()]);
            });
            join(apps, references).await
        })
    };
    let leadership = {
        let context = Arc::clone(&context);
        tokio::spawn(async move { context.follow_leadership().await })
    };
    let ended = drained.clone();
    let fetcher = {
        let context = Arc::clone(&context);
        tokio::spawn(async move {
            fetcher::run(Arc::clone(&context), options.rates, job_queue, stop).await;
            context.write_what_is_held().await;
            // What was fetched last has been handed over for writing: let the controller pick it up.
            tokio::time::sleep(HANDOVER).await;
            drained.cancel();
        })
    };
    // A controller whose first list has not come yet does not end by itself.
    let overdue = async {
        ended.cancelled().await;
        tokio::time::sleep(LAST_WRITES).await;
    };
    tokio::select! {
        _ = controllers => {}
        () = overdue => {}
    }
    secrets.abort();
    readiness.abort();
    alarm.abort();
    leadership.abort();
    fetcher.abort();
}
