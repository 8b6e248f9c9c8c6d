//! Makes the token requests that the queue lets go.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::index::{AppRef, named};
use super::{Context, Remembered};
use crate::dingtalk::{
    self, AccessToken, Answer, Class, Credentials, Failure, Fingerprint, Limits, Queue, Rates,
    Slot, Started,
};
use crate::operator::Moment;
use crate::plan::Minting;

/// A site's clock that differs by more is reported: certificates and expiries depend on it.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(60);

/// One token to fetch.
pub struct Job {
    /// For whom.
    pub app: AppRef,
    /// Its memory, where the outcome goes.
    pub memory: Remembered,
    /// What is fetched.
    pub minting: Minting,
    /// With what.
    pub credentials: Arc<Credentials>,
    /// What tells these credentials from others.
    pub fingerprint: Fingerprint,
    /// When the token that is held expires; `None` for the very first.
    pub expires_at: Option<Timestamp>,
    /// The token that is held, not to be shown if an answer repeats it.
    pub known: Option<AccessToken>,
    /// Since when it waits.
    pub queued_at: Instant,
}

impl Job {
    fn slot(&self) -> Slot {
        Slot {
            site: self.minting.site.clone(),
            client_id: self.credentials.client_id.clone(),
            corp_id: self.minting.corp_id.clone(),
        }
    }

    /// A job that nobody waits for any more is not worth a call.
    fn is_wanted(&self) -> bool {
        let memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.awaits(&self.minting.corp_id, self.minting.id)
    }
}

struct Finished {
    slot: Slot,
    job: Job,
    answer: Answer,
    requested_at: Timestamp,
    took: Duration,
}

/// Fetches what comes through `jobs`, until `stop`; then finishes what is in flight.
pub async fn run(
    context: Arc<Context>,
    rates: Rates,
    mut jobs: mpsc::UnboundedReceiver<Job>,
    stop: CancellationToken,
) {
    let mut queue = Queue::default();
    let mut limits = Limits::new(rates);
    let mut in_flight = JoinSet::new();
    loop {
        context.pulse.fetches.beat(Instant::now());
        let wait = start_what_may(&context, &mut queue, &mut limits, &mut in_flight);
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(job) = jobs.recv() => {
                queue.push(job.expires_at, job.slot(), job);
                // What arrives together is ranked together.
                while let Ok(job) = jobs.try_recv() {
                    queue.push(job.expires_at, job.slot(), job);
                }
            }
            Some(done) = in_flight.join_next() => finish(&context, &mut limits, done),
            () = tokio::time::sleep(wait) => {}
        }
    }
    while let Some(done) = in_flight.join_next().await {
        finish(&context, &mut limits, done);
    }
}

/// Starts every job that the limits allow; gives the time after which to look again.
fn start_what_may(
    context: &Arc<Context>,
    queue: &mut Queue<Job>,
    limits: &mut Limits,
    in_flight: &mut JoinSet<Finished>,
) -> Duration {
    /// The queue is looked at again when something happens; this is a backstop.
    const IDLE: Duration = Duration::from_secs(30);
    /// A lease that is too short for a request is renewed within seconds, or lost.
    const LEASE: Duration = Duration::from_secs(1);
    // Else another replica might fetch the same token before this one has ended.
    if !context
        .leadership
        .outlasts(dingtalk::REQUEST_TIMEOUT, Moment::now())
    {
        return if queue.is_empty() { IDLE } else { LEASE };
    }
    let now = Instant::now();
    let is_wanted = |job: &Job| {
        job.is_wanted() && !context.credentials_changed(&job.app, &job.minting.credentials)
    };
    let Started {
        starting,
        unwanted,
        next,
    } = queue.start(limits, is_wanted, now);
    context.metrics.queued(queue.len());
    for job in unwanted {
        context.drop_fetch(&job);
    }
    for (slot, job) in starting {
        context.metrics.waited(now.duration_since(job.queued_at));
        let client = Arc::clone(&context.dingtalk);
        in_flight.spawn(async move {
            let requested_at = Timestamp::now();
            let Minting { site, corp_id, .. } = &job.minting;
            let known = job.known.as_ref().map(AccessToken::expose);
            let started = Instant::now();
            let answer = client.fetch(site, corp_id, &job.credentials, known).await;
            Finished {
                slot,
                job,
                answer,
                requested_at,
                took: started.elapsed(),
            }
        });
    }
    next.map_or(IDLE, |next| next.duration_since(now).min(IDLE))
}

fn finish(context: &Context, limits: &mut Limits, done: Result<Finished, tokio::task::JoinError>) {
    let Ok(Finished {
        slot,
        job,
        answer,
        requested_at,
        took,
    }) = done
    else {
        return;
    };
    report_clock(context, &slot.site, &answer);
    context.metrics.requested(&slot.site, took);
    let result = match answer.result {
        Ok(minted) => {
            let namespace = job.app.namespace.as_deref().unwrap_or_default();
            context.metrics.minted(namespace, &job.app.name);
            if limits.succeeded(&slot) {
                context.hurry(&slot.site);
            }
            Ok(minted)
        }
        Err(failure) => Err(limits.failed(&slot, failure, Instant::now())),
    };
    let failure = result.as_ref().err().cloned();
    log(&job, failure.as_ref());
    context
        .metrics
        .attempt(failure.as_ref().map(|failure| failure.reason.as_str()));
    context.share(&job, &result, requested_at);
    let pause = context.record(&job, result, requested_at);
    if let (Some(failure), Some(pause)) = (failure, pause)
        && matches!(failure.class, Class::Throttled { .. } | Class::Banned)
    {
        limits.pause(&slot, failure.scope, pause, Instant::now());
    }
    context.wake(&job.app);
}

fn log(job: &Job, failure: Option<&Failure>) {
    let app = named(&job.app);
    let corp_id = &job.minting.corp_id;
    match failure {
        None => info!(%app, corp_id, "token fetched"),
        Some(failure) => warn!(
            %app,
            corp_id,
            reason = failure.reason.as_str(),
            code = failure.code,
            http_status = failure.http_status,
            request_id = failure.request_id,
            message = failure.message,
            "token not fetched"
        ),
    }
}

fn report_clock(context: &Context, site: &str, answer: &Answer) {
    let Some(difference) = answer.clock_difference else {
        return;
    };
    let far = difference.unsigned_abs() > CLOCK_TOLERANCE;
    let was_far = context
        .metrics
        .clock_difference(site, difference.as_secs_f64(), far);
    if far && !was_far {
        let seconds = difference.as_secs();
        warn!(
            site,
            seconds, "the site's clock differs from ours: check the node's time"
        );
    }
}
