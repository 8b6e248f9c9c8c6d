//! One process of the operator: does step by step what kube's Controller and the loops of
//! [`super::super::run`] do.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::task::{Context as Polling, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::Event;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::calls::Wire;
use super::runs::Runs;
use crate::api::{AppRef, DingTalkApp, DingTalkTokenReference, ReferenceRef};
use crate::controller::clock::LastLook;
use crate::controller::context::{Context, HANDOVER};
use crate::controller::decoded::{Decoded, map_object};
use crate::controller::event_budget::EventBudget;
use crate::controller::fetcher::{Fetching, finish, start_what_may};
use crate::controller::job::Job;
use crate::controller::kind::WorkQueues;
use crate::controller::reads::Reads;
use crate::controller::reconcile::reconcile;
use crate::controller::references;
use crate::controller::scopes::{Scope, Scopes};
use crate::controller::triggers::Triggered;
use crate::controller::watch::{admit_references, app_event, secret_event};
use crate::controller::work_queue::{Wakes, WorkQueue};
use crate::core::Core;
use crate::core::NamespaceLimits;
use crate::dingtalk::{Rates, Scheduler};
use crate::operator::{Leadership, Metrics, Pulse, Replica, WatchTimes};

fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// What arrives through a context's channels.
pub(super) struct Received {
    jobs: mpsc::UnboundedReceiver<Job>,
    apps: Vec<Wakes<DingTalkApp>>,
    references: Vec<Wakes<DingTalkTokenReference>>,
}

/// Creates the context of a process.
pub(super) fn context(
    wire: &Wire,
    leadership: Arc<Leadership>,
    scopes: &[Scope],
    limits: NamespaceLimits,
) -> (Arc<Context>, Received) {
    let (sender, jobs) = mpsc::unbounded_channel();
    let (app_queue, apps) = WorkQueue::new(scopes);
    let (reference_queue, references) = WorkQueue::new(scopes);
    let replica = Replica {
        leadership: Arc::clone(&leadership),
        watches: WatchTimes::default(),
    };
    let context = Context {
        cluster: Arc::new(wire.clone()),
        dingtalk: Arc::new(wire.clone()),
        clock: Arc::new(wire.clone()),
        last_look: LastLook::new(wire),
        metrics: Arc::new(Metrics::new(false, replica)),
        queues: WorkQueues {
            apps: app_queue,
            references: reference_queue,
        },
        core: Mutex::new(Core::new(limits)),
        reads: Reads::default(),
        event_budget: Mutex::new(EventBudget::default()),
        jobs: sender,
        scopes: Scopes::new(scopes.iter().cloned()),
        stop: CancellationToken::new(),
        salt: [7; 32],
        instance: "simulated".to_owned(),
        leadership,
        outages: wire.outages.clone(),
        pulse: Arc::new(Pulse::default()),
        site_namespaces: HashMap::new(),
        metadata_prefixes: vec!["team.example/".to_owned()],
    };
    let received = Received {
        jobs,
        apps,
        references,
    };
    (Arc::new(context), received)
}

pub struct Process {
    pub(super) context: Arc<Context>,
    scheduler: Scheduler<Job>,
    jobs: mpsc::UnboundedReceiver<Job>,
    triggers: Triggered<AppRef>,
    reference_triggers: Triggered<ReferenceRef>,
    apps: Runs<DingTalkApp>,
    references: Runs<DingTalkTokenReference>,
    listed_apps: HashSet<AppRef>,
    listed_references: HashSet<ReferenceRef>,
    fetching: FuturesUnordered<Fetching>,
    /// Tasks that wait for leadership and for the end of an outage.
    followers: [BoxFuture<'static, ()>; 2],
    /// Secret events that wait until this replica may learn from them.
    held: VecDeque<Event<ObjectMeta>>,
    /// Whether the apps with unwritten tokens were woken for the last time.
    has_woken_last: bool,
    /// Processor time used, except for watches.
    pub spent: Duration,
}

impl Process {
    pub fn new(wire: &Wire, leadership: Arc<Leadership>) -> Self {
        let limits = NamespaceLimits::default();
        let (context, mut received) = context(wire, leadership, &[None], limits);
        let (leading, outages) = (Arc::clone(&context), Arc::clone(&context));
        let followers: [BoxFuture<'static, ()>; 2] = [
            Box::pin(async move { leading.follow_leadership().await }),
            Box::pin(async move { outages.follow_outages().await }),
        ];
        Self {
            context,
            followers,
            held: VecDeque::new(),
            has_woken_last: false,
            scheduler: Scheduler::new(Rates::default()),
            jobs: received.jobs,
            triggers: received.apps.remove(0).triggered,
            reference_triggers: received.references.remove(0).triggered,
            apps: Runs::default(),
            references: Runs::default(),
            listed_apps: HashSet::new(),
            listed_references: HashSet::new(),
            fetching: FuturesUnordered::new(),
            spent: Duration::ZERO,
        }
    }

    pub fn app_event(&mut self, event: Event<DingTalkApp>) {
        app_event(&self.context, None, &mut self.listed_apps, &event);
        self.apps.event(event);
    }

    pub fn reference_event(&mut self, event: Event<DingTalkTokenReference>) {
        let event = map_object(event, Decoded::Object);
        let admitted = admit_references(&self.context, None, &mut self.listed_references, event);
        for event in admitted {
            self.references.event(event);
        }
    }

    pub fn secret_event(&mut self, event: Event<ObjectMeta>) {
        self.held.push_back(event);
        self.learn();
    }

    fn learn(&mut self) {
        while !self.held.is_empty() && self.context.may_learn() {
            let Some(event) = self.held.pop_front() else {
                return;
            };
            let event = map_object(event, |metadata| {
                Decoded::Object(PartialObjectMeta::<Secret> {
                    metadata,
                    ..PartialObjectMeta::default()
                })
            });
            secret_event(&self.context, &None, Ok(event));
        }
    }

    /// Returns the apps and references, as the watches have told them.
    pub fn objects(
        &self,
    ) -> (
        BTreeMap<String, Arc<DingTalkApp>>,
        BTreeMap<String, Arc<DingTalkTokenReference>>,
    ) {
        let (apps, references) = (&self.apps.objects, &self.references.objects);
        (apps.clone(), references.clone())
    }

    /// Returns the metrics, as the operator serves them.
    pub fn metrics(&self) -> String {
        self.context.metrics.open_metrics().expect("text")
    }

    /// Begins nothing new and drains in-flight work.
    pub fn stop(&mut self) {
        self.context.stop.cancel();
    }

    /// Whether the process was stopped and has drained its work.
    pub fn has_ended(&self) -> bool {
        self.has_woken_last && self.context.unwritten().is_empty()
    }

    fn fetch(&mut self) -> Duration {
        if !self.context.stop.is_cancelled() {
            while let Ok(job) = self.jobs.try_recv() {
                self.scheduler.push(job.call.clone(), job.rank, job);
            }
            let (begun, wait) = start_what_may(&self.context, &mut self.scheduler);
            self.fetching.extend(begun);
            return wait;
        }
        if self.fetching.is_empty() && !self.has_woken_last {
            self.has_woken_last = true;
            self.context.wake_all(self.context.unwritten());
        }
        HANDOVER
    }

    /// Does everything possible at this time and returns when to look again.
    pub fn settle(&mut self) -> Duration {
        let started = processor_time();
        let wait = self.settle_now();
        self.spent += processor_time().saturating_sub(started);
        wait
    }

    fn settle_now(&mut self) -> Duration {
        let mut polling = Polling::from_waker(futures::task::noop_waker_ref());
        self.learn();
        let now = self.context.look_at_clock().wall;
        loop {
            let mut progress = false;
            for follower in &mut self.followers {
                let _ = follower.poll_unpin(&mut polling);
            }
            while let Some(Some(app)) = self.triggers.next().now_or_never() {
                self.apps.wake(app.name);
            }
            while let Some(Some(reference)) = self.reference_triggers.next().now_or_never() {
                self.references.wake(reference.name);
            }
            let (due, alarm) = self.context.queues.apps.alarm.due(now);
            for app in due {
                self.apps.wake(app.name);
            }
            let (due, reference_alarm) = self.context.queues.references.alarm.due(now);
            for reference in due {
                self.references.wake(reference.name);
            }
            let context = &self.context;
            progress |= self.apps.poll(&mut polling, context, reconcile);
            progress |= self
                .references
                .poll(&mut polling, context, references::reconcile);
            let wait = self.fetch();
            while let Poll::Ready(Some(finished)) = self.fetching.poll_next_unpin(&mut polling) {
                progress = true;
                finish(&self.context, &mut self.scheduler, finished);
            }
            if !progress {
                return alarm
                    .min(reference_alarm)
                    .min(wait)
                    .max(Duration::from_millis(1));
            }
        }
    }
}
