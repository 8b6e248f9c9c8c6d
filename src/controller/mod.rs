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
mod kind;
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
mod work_queue;
mod workers;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use futures::StreamExt;
use futures::future::{join, join_all};
use kube::Client;
use kube::runtime::controller::{self, Action, Controller};
use kube::runtime::watcher::Event;
use tokio::sync::{mpsc, watch as channel};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::api::{DingTalkApp, DingTalkTokenReference};
use crate::core::Core;
pub(crate) use crate::core::NamespaceLimits;
use crate::dingtalk::{self, Rates};
use crate::operator::{Leadership, Metrics, Outages, Pulse};
use clock::{LastLook, SystemClock};
use cluster::KubeCluster;
use context::{Context, HANDOVER, LAST_WRITES};
use decoded::Decoded;
use event_budget::EventBudget;
use job::Job;
use kind::{Kind, WorkQueues};
use reads::Reads;
use scopes::{Scope, Scopes};
use work_queue::{Wakes, WorkQueue};
use workers::CONCURRENCY;

/// Options of the controller.
pub(crate) struct Options {
    /// The namespaces to serve; empty means all.
    pub namespaces: Vec<String>,
    pub rates: Rates,
    /// Name of this process in events.
    pub instance: String,
    /// Leadership of this replica, which must not act without it.
    pub leadership: Arc<Leadership>,
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

/// The controllers of all kinds and scopes, which run until `drained`.
struct Controllers {
    client: Client,
    context: Arc<Context>,
    drained: CancellationToken,
}

impl Controllers {
    /// Runs the controller of a kind in a scope.
    async fn run<K, A, F>(
        &self,
        what: &'static str,
        wakes: Wakes<K>,
        admit: A,
        reconcile: impl FnMut(Arc<K>, Arc<Context>) -> F,
    ) where
        K: Kind,
        A: FnMut(&Context, Option<&str>, Event<Decoded<K>>) -> Vec<Event<K>> + Send + 'static,
        F: Future<Output = Result<Action, Infallible>> + Send + 'static,
    {
        let Wakes {
            scope,
            triggered,
            restored,
        } = wakes;
        let context = Arc::clone(&self.context);
        let (objects, store) =
            watch::objects(&self.client, scope.clone(), restored, context, admit);
        Controller::for_stream(objects, store)
            .with_config(controller::Config::default().concurrency(CONCURRENCY))
            .reconcile_on(triggered)
            .graceful_shutdown_on(self.drained.clone().cancelled_owned())
            .run(
                reconcile,
                |_, error, _| match *error {},
                Arc::clone(&self.context),
            )
            .for_each(|result| {
                // An object that was deleted after it was woken is no error.
                if let Err(controller::Error::QueueError(error)) = result {
                    watch::report(&self.context, what, &scope, &error);
                }
                std::future::ready(())
            })
            .await;
    }
}

/// What arrives through a context's channels.
struct Receivers {
    jobs: mpsc::UnboundedReceiver<Job>,
    apps: Vec<Wakes<DingTalkApp>>,
    references: Vec<Wakes<DingTalkTokenReference>>,
}

fn context(
    client: &Client,
    dingtalk: dingtalk::Client,
    metrics: Arc<Metrics>,
    options: Options,
    scopes: &[Scope],
    stop: CancellationToken,
) -> (Arc<Context>, Receivers) {
    let (sender, jobs) = mpsc::unbounded_channel();
    let (app_queue, apps) = WorkQueue::new(scopes);
    let (reference_queue, references) = WorkQueue::new(scopes);
    let context = Context {
        cluster: Arc::new(KubeCluster::new(client.clone())),
        clock: Arc::new(SystemClock),
        last_look: LastLook::new(&SystemClock),
        dingtalk: Arc::new(dingtalk),
        metrics,
        queues: WorkQueues {
            apps: app_queue,
            references: reference_queue,
        },
        core: Mutex::new(Core::new(options.limits)),
        reads: Reads::default(),
        event_budget: Mutex::new(EventBudget::default()),
        jobs: sender,
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
    let receivers = Receivers {
        jobs,
        apps,
        references,
    };
    (Arc::new(context), receivers)
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
    let (context, receivers) = context(&client, dingtalk, metrics, options, &scopes, stop.clone());
    let drained = CancellationToken::new();
    let mut tasks = background_tasks(&context, ready);
    tasks.spawn(watch::secrets(client.clone(), scopes, Arc::clone(&context)));
    let controllers = Controllers {
        client,
        context: Arc::clone(&context),
        drained: drained.clone(),
    };
    let apps = receivers.apps.into_iter().map(|wakes| {
        let mut listed = HashSet::new();
        let admit = move |context: &Context, scope: Option<&str>, event| {
            watch::admit(context, scope, &mut listed, event)
        };
        controllers.run("apps", wakes, admit, reconcile::reconcile)
    });
    let references = receivers.references.into_iter().map(|wakes| {
        let mut listed = HashSet::new();
        let admit = move |context: &Context, scope: Option<&str>, event| {
            watch::admit_references(context, scope, &mut listed, event)
        };
        controllers.run("references", wakes, admit, references::reconcile)
    });
    let served = join(join_all(apps), join_all(references));
    let ended = drained.clone();
    tasks.spawn(async move {
        fetcher::run(Arc::clone(&context), rates, receivers.jobs, stop).await;
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
        _ = served => {}
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
        let look = || {
            let now = of.look_at_clock();
            of.pulse.alarm.beat(now.monotonic);
            now.wall
        };
        let WorkQueues { apps, references } = &of.queues;
        join(
            apps.alarm.run(look, |app| apps.wake(app)),
            references.alarm.run(look, |it| references.wake(it)),
        )
        .await;
    });
    let of = Arc::clone(context);
    tasks.spawn(async move { of.follow_leadership().await });
    let of = Arc::clone(context);
    tasks.spawn(async move { of.follow_outages().await });
    tasks
}
