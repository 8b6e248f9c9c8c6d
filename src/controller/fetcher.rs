//! Sends the token requests that the queue releases.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::context::Context;
use super::job::Job;
use super::kind::Kind;
use crate::api::DingTalkApp;
use crate::core::{lifetime, whole_seconds};
use crate::dingtalk::{
    self, AccessToken, Answer, Consequences, Failure, Rates, Scheduler, Started,
};
use crate::operator::Metrics;

/// A site's clock that differs by more is reported: certificates and expiries depend on it.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(60);

pub(super) type Fetching = BoxFuture<'static, Finished>;

/// A fetch that has ended.
pub(super) struct Finished {
    job: Job,
    answer: Answer,
    requested_at: Timestamp,
    took: Duration,
}

/// Fetches what arrives through `jobs` until `stop`, then waits for what is in flight.
pub(super) async fn run(
    context: Arc<Context>,
    rates: Rates,
    mut jobs: mpsc::UnboundedReceiver<Job>,
    stop: CancellationToken,
) {
    let mut scheduler = Scheduler::new(rates);
    let mut in_flight = JoinSet::new();
    let push = |scheduler: &mut Scheduler<Job>, job: Job| {
        scheduler.push(job.call.clone(), job.rank, job);
    };
    loop {
        context.pulse.fetches.beat(context.clock.now().monotonic);
        let (begun, wait) = start_what_may(&context, &mut scheduler);
        for fetching in begun {
            in_flight.spawn(fetching);
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(Ok(done)) = in_flight.join_next() => finish(&context, &mut scheduler, done),
            Some(job) = jobs.recv() => {
                push(&mut scheduler, job);
                // Jobs that arrive together are ranked together.
                while let Ok(job) = jobs.try_recv() {
                    push(&mut scheduler, job);
                }
            }
            () = tokio::time::sleep(wait) => {}
        }
    }
    while let Some(done) = in_flight.join_next().await {
        if let Ok(finished) = done {
            finish(&context, &mut scheduler, finished);
        }
    }
}

/// Starts every job that may start and returns how long to wait before looking again.
pub(super) fn start_what_may(
    context: &Arc<Context>,
    scheduler: &mut Scheduler<Job>,
) -> (Vec<Fetching>, Duration) {
    /// Longest wait. Every event wakes the loop; this is a backstop.
    const IDLE: Duration = Duration::from_secs(30);
    /// Wait while the lease is too short for a request: it is renewed within seconds, or lost.
    const LEASE: Duration = Duration::from_secs(1);
    // Otherwise another replica might fetch the same token before this fetch has ended.
    if !context
        .leadership
        .outlasts(dingtalk::REQUEST_TIMEOUT, context.clock.now())
    {
        let wait = if scheduler.is_empty() { IDLE } else { LEASE };
        return (Vec::new(), wait);
    }
    let now = context.clock.now().monotonic;
    let is_wanted = |job: &Job| {
        let core = context.core();
        core.tokens.wants(&job.pending)
            && !core.credentials_changed(&job.app, &job.pending)
            && !core.wants_no_longer(&job.app, &job.pending, &job.call)
    };
    let Started {
        starting,
        unwanted,
        next,
    } = scheduler.start(is_wanted, now);
    context.metrics.queued(scheduler.len());
    for job in unwanted {
        context.drop_fetch(&job);
    }
    let begun = starting.into_iter().map(|(_, job)| {
        context.metrics.waited(now.duration_since(job.queued_at));
        context.core().tokens.started(&job.pending);
        let is_proven = scheduler.is_proven(&job.call);
        fetch(Arc::clone(context), job, is_proven)
    });
    let wait = next.map_or(IDLE, |next| next.duration_since(now).min(IDLE));
    (begun.collect(), wait)
}

/// (client) Makes a call.
fn fetch(context: Arc<Context>, job: Job, is_proven: bool) -> Fetching {
    Box::pin(async move {
        let started = context.clock.now();
        let known = job.known.as_ref().map(AccessToken::expose);
        let endpoint = &context.dingtalk;
        let fetch = endpoint.fetch(&job.call, &job.credentials, known, is_proven);
        let answer = fetch.await;
        let ended = context.clock.now().monotonic;
        Finished {
            job,
            answer,
            requested_at: started.wall,
            took: ended.saturating_duration_since(started.monotonic),
        }
    })
}

/// Records a fetch's outcome.
pub(super) fn finish(context: &Context, scheduler: &mut Scheduler<Job>, finished: Finished) {
    let Finished {
        job,
        answer,
        requested_at,
        took,
    } = finished;
    let (call, cause) = (&job.call, job.pending.why.cause);
    report_clock(context, &call.site, &answer);
    context.metrics.requested(&call.site, took);
    match answer.result {
        Ok(response) => {
            for recovery in scheduler.succeeded(call, context.clock.now().monotonic) {
                context.hurry(&call.site, &recovery);
            }
            context.measure(&job.app, Metrics::fetched);
            context.metrics.request(&call.site, cause, None);
            let expires_at = lifetime(requested_at, response.expires_in).expires_at;
            let is_shown = match &job.known {
                Some(known) => *known == response.token,
                // A new process does not know the value.
                None => context
                    .core()
                    .shows(&job.app, &call.corp_id, &response.token),
            };
            log_success(&job, expires_at, !is_shown);
            context.record_success(&job, response, requested_at);
        }
        Err(failure) => {
            let now = context.clock.now().monotonic;
            let Consequences {
                failure,
                rejected_too,
                is_site_down,
            } = scheduler.failed(call, failure, job.failing_since, now);
            let reason = Some(failure.reason);
            context.metrics.request(&call.site, cause, reason);
            log_failure(&job, context.dingtalk.host(&call.site), &failure);
            for job in rejected_too {
                context.record_failure(&job, failure.clone(), false);
            }
            context.record_failure(&job, failure, is_site_down);
        }
    }
}

fn log_success(job: &Job, expires_at: Timestamp, value_changed: bool) {
    let former = job.expires_at.map(whole_seconds);
    info!(
        kind = DingTalkApp::NAME,
        namespace = job.app.namespace,
        name = job.app.name,
        corp_id = &*job.call.corp_id,
        site = &*job.call.site,
        cause = job.pending.why.cause.as_str(),
        renew_requested_at = job.pending.why.renew_requested_at.as_deref(),
        generation = job.pending.generation,
        credentials_secret = job.pending.reference.name,
        credentials_version = job.pending.credentials.resource_version,
        former_expires_at = former.map(tracing::field::display),
        expires_at = %whole_seconds(expires_at),
        value_changed,
        "token fetched"
    );
}

fn log_failure(job: &Job, host: Option<&str>, failure: &Failure) {
    let held_until = job.expires_at.map(whole_seconds);
    warn!(
        kind = DingTalkApp::NAME,
        namespace = job.app.namespace,
        name = job.app.name,
        corp_id = &*job.call.corp_id,
        site = &*job.call.site,
        host,
        cause = job.pending.why.cause.as_str(),
        renew_requested_at = job.pending.why.renew_requested_at.as_deref(),
        generation = job.pending.generation,
        credentials_secret = job.pending.reference.name,
        credentials_version = job.pending.credentials.resource_version,
        expires_at = held_until.map(tracing::field::display),
        reason = failure.reason.as_str(),
        code = failure.code,
        http_status = failure.http_status,
        request_id = failure.request_id,
        message = failure.message,
        see = failure.reason.page(),
        "token fetch failed"
    );
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
        let difference_seconds = difference.as_secs();
        warn!(
            site,
            difference_seconds, "the site's clock differs from this node's"
        );
    }
}
