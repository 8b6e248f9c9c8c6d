//! One process of the operator: what kube's Controller and the loops of [`super::super::run`] do, one
//! step after the other.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context as Polling, Poll};
use std::time::Duration;

use futures::channel::mpsc::UnboundedReceiver;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::Event;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::calls::Wire;
use crate::api::{AppRef, DingTalkApp, app_ref};
use crate::controller::alarm::Alarm;
use crate::controller::context::{Context, trigger_channels};
use crate::controller::decoded::{Decoded, map_object};
use crate::controller::fetcher::{Fetching, finish, start_what_may};
use crate::controller::index::Index;
use crate::controller::job::Job;
use crate::controller::reconcile::reconcile;
use crate::controller::scopes::Scopes;
use crate::controller::watch::{app_event, secret_event};
use crate::controller::workers::Workers;
use crate::dingtalk::{Rates, Scheduler};
use crate::operator::{Leadership, Metrics, Outages, Pulse, Replica, WatchTimes};

/// Ends with the app's name.
type Reconciling = Pin<Box<dyn Future<Output = String> + Send>>;

fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

pub struct Process {
    context: Arc<Context>,
    scheduler: Scheduler<Job>,
    jobs: mpsc::UnboundedReceiver<Job>,
    triggers: UnboundedReceiver<AppRef>,
    apps: BTreeMap<String, Arc<DingTalkApp>>,
    queued: BTreeSet<String>,
    running: BTreeSet<String>,
    /// Woken while they were running.
    again: BTreeSet<String>,
    reconciling: FuturesUnordered<Reconciling>,
    fetching: FuturesUnordered<Fetching>,
    /// The processor's time that it took, but for watches.
    pub spent: Duration,
}

impl Process {
    pub fn new(wire: &Wire) -> Self {
        let (sender, jobs) = mpsc::unbounded_channel();
        let scopes = [None];
        let (triggers, mut triggered) = trigger_channels(&scopes);
        let (reference_triggers, _) = trigger_channels(&scopes);
        let (restored, _) = trigger_channels(&scopes);
        let (restored_references, _) = trigger_channels(&scopes);
        let leadership = Arc::new(Leadership::alone());
        let replica = Replica {
            leadership: Arc::clone(&leadership),
            watches: WatchTimes::default(),
        };
        let context = Context {
            cluster: Arc::new(wire.clone()),
            dingtalk: Arc::new(wire.clone()),
            clock: Arc::new(wire.clone()),
            metrics: Arc::new(Metrics::new(false, replica)),
            alarm: Alarm::default(),
            workers: Workers::default(),
            reference_alarm: Alarm::default(),
            reference_workers: Workers::default(),
            reference_memories: Mutex::default(),
            reference_triggers,
            index: Mutex::new(Index::default()),
            memories: Mutex::default(),
            jobs: sender,
            triggers,
            restored,
            restored_references,
            scopes: Scopes::new(scopes),
            stop: CancellationToken::new(),
            salt: [7; 32],
            instance: "simulated".to_owned(),
            leadership,
            outages: Outages::default(),
            pulse: Arc::new(Pulse::default()),
            site_namespaces: HashMap::new(),
            metadata_prefixes: vec!["team.example/".to_owned()],
            tokens: Mutex::default(),
        };
        Self {
            context: Arc::new(context),
            scheduler: Scheduler::new(Rates::default()),
            jobs,
            triggers: triggered.remove(0),
            apps: BTreeMap::new(),
            queued: BTreeSet::new(),
            running: BTreeSet::new(),
            again: BTreeSet::new(),
            reconciling: FuturesUnordered::new(),
            fetching: FuturesUnordered::new(),
            spent: Duration::ZERO,
        }
    }

    pub fn app_event(&mut self, event: Event<DingTalkApp>) {
        app_event(&self.context, None, &event);
        match event {
            Event::Apply(app) | Event::InitApply(app) => {
                let name = app_ref(&app).name;
                let old = self.apps.insert(name.clone(), Arc::new(app));
                let new = &self.apps[&name];
                let wish = |app: &DingTalkApp| {
                    (
                        app.metadata.uid.clone(),
                        app.metadata.generation,
                        app.metadata.annotations.clone(),
                    )
                };
                if old.is_none_or(|old| wish(&old) != wish(new)) {
                    self.queued.insert(name);
                }
            }
            Event::Delete(app) => {
                self.apps.remove(&app_ref(&app).name);
            }
            Event::Init | Event::InitDone => {}
        }
    }

    pub fn secret_event(&mut self, event: Event<ObjectMeta>) {
        let event = map_object(event, |metadata| {
            Decoded::Object(PartialObjectMeta::<Secret> {
                metadata,
                ..PartialObjectMeta::default()
            })
        });
        secret_event(&self.context, &None, Ok(event));
    }

    /// Does all that can be done at this time; returns when to look again.
    pub fn settle(&mut self, now: Timestamp) -> Duration {
        let started = processor_time();
        let wait = self.settle_now(now);
        self.spent += processor_time().saturating_sub(started);
        wait
    }

    fn settle_now(&mut self, now: Timestamp) -> Duration {
        let mut polling = Polling::from_waker(futures::task::noop_waker_ref());
        loop {
            let mut progress = false;
            while let Ok(app) = self.triggers.try_recv() {
                self.queued.insert(app.name);
            }
            let (due, alarm) = self.context.alarm.due(now);
            for app in due {
                self.queued.insert(app.name);
            }
            for name in std::mem::take(&mut self.queued) {
                if self.running.contains(&name) {
                    self.again.insert(name);
                } else if let Some(app) = self.apps.get(&name) {
                    self.running.insert(name.clone());
                    let run = reconcile(Arc::clone(app), Arc::clone(&self.context));
                    self.reconciling.push(Box::pin(run.map(|_| name)));
                }
            }
            while let Poll::Ready(Some(name)) = self.reconciling.poll_next_unpin(&mut polling) {
                progress = true;
                self.running.remove(&name);
                if self.again.remove(&name) {
                    self.queued.insert(name);
                }
            }
            while let Ok(job) = self.jobs.try_recv() {
                self.scheduler.push(job.call.clone(), job.rank, job);
            }
            let mut begun = Vec::new();
            let wait = start_what_may(&self.context, &mut self.scheduler, &mut begun);
            self.fetching.extend(begun);
            while let Poll::Ready(Some(finished)) = self.fetching.poll_next_unpin(&mut polling) {
                progress = true;
                finish(&self.context, &mut self.scheduler, finished);
            }
            if !progress {
                return alarm.min(wait).max(Duration::from_millis(1));
            }
        }
    }
}
