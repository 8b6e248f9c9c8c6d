//! Watches, calls and fetches: the effects around [`crate::core`].

mod alarm;
mod clock;
mod cluster;
mod context;
mod credentials;
mod decoded;
mod endpoint;
mod event_budget;
mod events;
mod fetcher;
mod job;
mod kept;
mod kinds;
mod metadata;
mod reads;
mod reconcile;
mod references;
mod refresh;
mod refusal;
mod report;
mod restart;
mod restored;
mod retry;
mod scopes;
mod secrets;
mod sharing;
#[cfg(test)]
mod simulation;
mod stored;
mod triggers;
mod watch;
mod workers;

use std::collections::{BTreeSet, HashMap};
use std::convert::Infallible;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use futures::channel::mpsc::UnboundedReceiver;
use futures::future::{join, join_all};
use futures::{Stream, StreamExt};
use kube::runtime::controller::{self, Action, Controller};
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher;
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, watch as channel};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::api::{DingTalkApp, DingTalkTokenReference};
use crate::core::Core;
pub(crate) use crate::core::NamespaceLimits;
use crate::dingtalk::{self, Rates};
use crate::operator::{Leadership, Metrics, Outages, Pulse};
use alarm::Alarm;
use clock::SystemClock;
use cluster::KubeCluster;
use context::{Context, HANDOVER, LAST_WRITES};
use event_budget::EventBudget;
use job::Job;
use reads::Reads;
use scopes::{Scope, Scopes};
use triggers::{Triggered, channels, triggers};
use workers::{CONCURRENCY, Workers};

/// Options of the controller.
pub(crate) struct Options {
    /// The namespaces to serve; empty means all.
    pub namespaces: Vec<String>,
    /// Rate limits of fetches.
    pub rates: Rates,
    /// Name of this process in events.
    pub instance: String,
    /// Leadership of this replica, which must not act without it.
    pub leadership: Arc<Leadership>,
    /// Outages of the API server.
    pub outages: Outages,
    /// Heartbeats of the loops.
    pub pulse: Arc<Pulse>,
    /// Bounds for each namespace.
    pub limits: NamespaceLimits,
    /// Namespaces that may use a site. A site without an entry may be used by all.
    pub site_namespaces: HashMap<String, Vec<String>>,
    /// Allowed prefixes of a target's label and annotation keys.
    pub metadata_prefixes: Vec<String>,
}

/// A scope whose objects are reconciled until `drained`.
struct Served {
    scope: Scope,
    context: Arc<Context>,
    drained: CancellationToken,
}

/// Objects to wake, and objects to put back into the store.
type Wakes<K> = (Triggered<ObjectRef<K>>, UnboundedReceiver<K>);

impl Served {
    /// Runs the controller of apps.
    async fn apps(self, client: &Client, (triggered, restored): Wakes<DingTalkApp>) {
        let writer = Writer::new(());
        let store = writer.as_reader();
        let apps = watch::apps(client, &self.scope, writer, restored, &self.context);
        self.run("apps", (apps, store), triggered, reconcile::reconcile)
            .await;
    }

    /// Runs the controller of references.
    async fn references(
        self,
        client: &Client,
        (triggered, restored): Wakes<DingTalkTokenReference>,
    ) {
        let writer = Writer::new(());
        let store = writer.as_reader();
        let references = watch::references(client, &self.scope, writer, restored, &self.context);
        self.run(
            "references",
            (references, store),
            triggered,
            references::reconcile,
        )
        .await;
    }

    async fn run<K, F>(
        self,
        what: &'static str,
        (objects, store): (
            impl Stream<Item = watcher::Result<K>> + Send + 'static,
            Store<K>,
        ),
        triggered: Triggered<ObjectRef<K>>,
        reconcile: impl FnMut(Arc<K>, Arc<Context>) -> F,
    ) where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
        F: Future<Output = Result<Action, Infallible>> + Send + 'static,
    {
        let Self {
            scope,
            context,
            drained,
        } = self;
        Controller::for_stream(objects, store)
            .with_config(controller::Config::default().concurrency(CONCURRENCY))
            .reconcile_on(triggered)
            .graceful_shutdown_on(drained.cancelled_owned())
            .run(
                reconcile,
                |_, error, _| match *error {},
                Arc::clone(&context),
            )
            .for_each(|result| {
                // An object that was deleted after it was woken is no error.
                if let Err(controller::Error::QueueError(error)) = result {
                    watch::report(&context, what, &scope, &error);
                }
                std::future::ready(())
            })
            .await;
    }
}

/// Receivers of a context's channels; all but `jobs` have one for each scope.
struct Queues {
    jobs: mpsc::UnboundedReceiver<Job>,
    triggered: Vec<Triggered<ObjectRef<DingTalkApp>>>,
    restored: Vec<UnboundedReceiver<DingTalkApp>>,
    reference_triggered: Vec<Triggered<ObjectRef<DingTalkTokenReference>>>,
    restored_references: Vec<UnboundedReceiver<DingTalkTokenReference>>,
}

/// Returns the context of all controllers.
fn context(
    client: &Client,
    dingtalk: dingtalk::Client,
    metrics: Arc<Metrics>,
    options: Options,
    scopes: &[Scope],
    stop: CancellationToken,
) -> (Arc<Context>, Queues) {
    let (sender, jobs) = mpsc::unbounded_channel();
    let (app_triggers, triggered) = triggers(scopes);
    let (reference_triggers, reference_triggered) = triggers(scopes);
    let (restorers, restored) = channels(scopes);
    let (reference_restorers, restored_references) = channels(scopes);
    let context = Context {
        cluster: Arc::new(KubeCluster::new(client.clone())),
        clock: Arc::new(SystemClock),
        dingtalk: Arc::new(dingtalk),
        metrics,
        alarm: Alarm::default(),
        workers: Workers::default(),
        reference_alarm: Alarm::default(),
        reference_workers: Workers::default(),
        reference_triggers,
        core: Mutex::new(Core::new(options.limits)),
        reads: Reads::default(),
        event_budget: Mutex::new(EventBudget::default()),
        jobs: sender,
        triggers: app_triggers,
        restored: restorers,
        restored_references: reference_restorers,
        scopes: Scopes::new(scopes.iter().cloned()),
        stop,
        salt: rand::random(),
        instance: options.instance,
        leadership: options.leadership,
        outages: options.outages,
        pulse: options.pulse,
        site_namespaces: options.site_namespaces,
        metadata_prefixes: options.metadata_prefixes,
    };
    let queues = Queues {
        jobs,
        triggered,
        restored,
        reference_triggered,
        restored_references,
    };
    (Arc::new(context), queues)
}

/// Runs until `stop`, then drains in-flight work.
pub(crate) async fn run(
    client: Client,
    dingtalk: dingtalk::Client,
    metrics: Arc<Metrics>,
    options: Options,
    ready: channel::Sender<bool>,
    stop: CancellationToken,
) {
    let namespaces: BTreeSet<String> = options.namespaces.iter().cloned().collect();
    let scopes: Vec<Scope> = match namespaces.is_empty() {
        true => vec![None],
        false => namespaces.into_iter().map(Some).collect(),
    };
    let rates = options.rates;
    let (context, queues) = context(&client, dingtalk, metrics, options, &scopes, stop.clone());
    let drained = CancellationToken::new();
    let served = |scope: &Scope| Served {
        scope: scope.clone(),
        context: Arc::clone(&context),
        drained: drained.clone(),
    };
    let channels = queues.triggered.into_iter().zip(queues.restored);
    let apps = scopes.iter().zip(channels);
    let apps = apps.map(|(scope, channels)| served(scope).apps(&client, channels));
    let (triggered, restored) = (queues.reference_triggered, queues.restored_references);
    let channels = triggered.into_iter().zip(restored);
    let references = scopes.iter().zip(channels);
    let references =
        references.map(|(scope, channels)| served(scope).references(&client, channels));
    let controllers = join(join_all(apps), join_all(references));
    let mut tasks = background_tasks(&context, ready);
    tasks.spawn(watch::secrets(
        client.clone(),
        scopes.clone(),
        Arc::clone(&context),
    ));
    let ended = drained.clone();
    tasks.spawn(async move {
        fetcher::run(Arc::clone(&context), rates, queues.jobs, stop).await;
        context.write_what_is_held().await;
        // Gives the controller time to pick up what was fetched last.
        tokio::time::sleep(HANDOVER).await;
        drained.cancel();
    });
    // A controller that waits for its first list does not end by itself.
    let overdue = async {
        ended.cancelled().await;
        tokio::time::sleep(LAST_WRITES).await;
    };
    tokio::select! {
        _ = controllers => {}
        () = overdue => {}
    }
}

/// Starts the tasks that run beside the controllers until the set is dropped.
fn background_tasks(context: &Arc<Context>, ready: channel::Sender<bool>) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let of = Arc::clone(context);
    tasks.spawn(async move {
        of.scopes.until_ready().await;
        ready.send_replace(true);
    });
    let of = Arc::clone(context);
    tasks.spawn(async move {
        let heartbeat = &of.pulse.alarm;
        let wake = |reference: &ObjectRef<_>| of.wake_references([reference.clone()]);
        let apps = of.alarm.run(&*of.clock, heartbeat, |app| of.wake(app));
        let references = of.reference_alarm.run(&*of.clock, heartbeat, wake);
        join(apps, references).await;
    });
    let of = Arc::clone(context);
    tasks.spawn(async move { of.follow_leadership().await });
    let of = Arc::clone(context);
    tasks.spawn(async move { of.follow_outages().await });
    tasks
}
