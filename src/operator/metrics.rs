//! Metrics, named by Prometheus' conventions.

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry};

use super::lock::lock;
use super::series::{count, encode_gauge};
use super::{ConditionGauges, Leadership, Moment, ObjectGauges, TokenGauges, WatchTimes};
use crate::api::{Cause, Reason};

const PREFIX: &str = "dingtalk_token_operator";

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    site: String,
    cause: &'static str,
    outcome: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Write {
    kind: &'static str,
    cause: &'static str,
    outcome: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Site {
    site: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct App {
    namespace: String,
    name: String,
}

/// Outcome of a write of a target Secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretWrite {
    /// The write succeeded.
    Written,
    /// The Secret had changed or was deleted in the meantime; it is read again.
    Conflict,
    /// The write failed with this reason.
    Refused(Reason),
}

/// Creates a histogram with buckets from 5 ms to 10 s, the time-out of every call.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.005, 2.0, 12))
}

/// Collects the metrics of this replica.
#[derive(Debug)]
pub struct Replica {
    /// Whether this replica leads.
    pub leadership: Arc<Leadership>,
    /// The watches of this replica.
    pub watches: WatchTimes,
}

impl Collector for Replica {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let leads = self.leadership.holds(Moment::now());
        let help = "1 if this replica leads, otherwise 0";
        let leader = encoder.encode_descriptor("leader", help, None, MetricType::Gauge)?;
        ConstGauge::new(i64::from(leads)).encode(leader)?;
        let answers = self.watches.last_answers().into_iter();
        encode_gauge(
            &mut encoder,
            "watch_last_answer_timestamp_seconds",
            "Time of the last response to a watch of a resource; the earliest one if there are several watches. Normally at most 300 s ago",
            answers.map(|(resource, at)| ([("resource", resource)], at.as_second())),
        )
    }
}

/// All metrics of the operator.
pub struct Metrics {
    /// Times of the tokens of each app.
    pub tokens: Arc<TokenGauges>,
    /// Conditions of each app.
    pub apps: Arc<ConditionGauges>,
    /// Conditions of each reference.
    pub references: Arc<ConditionGauges>,
    /// Other gauges about apps and references.
    pub objects: Arc<ObjectGauges>,
    registry: Registry,
    requests: Family<Request, Counter>,
    fetches: Family<App, Counter>,
    request_durations: Family<Site, Histogram>,
    queue_depth: Gauge,
    queue_waits: Histogram,
    secret_writes: Family<Write, Counter>,
    write_durations: Histogram,
    clock_differences: Family<Site, Gauge<f64, AtomicU64>>,
    far_clocks: Mutex<HashMap<String, bool>>,
}

/// Registers metrics and hands them back.
struct Registration(Registry);

impl Registration {
    fn metric<M: Metric + Clone>(&mut self, name: &str, help: &str, metric: M) -> M {
        self.0.register(name, help, metric.clone());
        metric
    }

    fn collector<C>(&mut self, collector: C) -> Arc<C>
    where
        Arc<C>: Collector,
    {
        let collector = Arc::new(collector);
        self.0.register_collector(Box::new(Arc::clone(&collector)));
        collector
    }

    fn with_version(mut self) -> Registry {
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        self.0.register("build", "Version of the operator", build);
        self.0
    }
}

impl Metrics {
    /// Creates the metrics. With `by_corp`, gauges of tokens have one series per corp instead of one per app.
    pub fn new(by_corp: bool, replica: Replica) -> Self {
        let mut all = Registration(Registry::with_prefix(PREFIX));
        all.0.register_collector(Box::new(replica));
        Self {
            tokens: all.collector(TokenGauges::new(by_corp)),
            apps: all.collector(ConditionGauges::new(
                "app_status_condition",
                "Conditions of each DingTalkApp: 1 for the current status and reason",
            )),
            references: all.collector(ConditionGauges::new(
                "reference_status_condition",
                "Conditions of each DingTalkTokenReference: 1 for the current status and reason",
            )),
            objects: all.collector(ObjectGauges::default()),
            fetches: all.metric(
                "tokens_fetched",
                "Number of fetched tokens, by the requesting app",
                Family::default(),
            ),
            request_durations: all.metric(
                "token_request_duration_seconds",
                "Duration of token requests, by site",
                Family::new_with_constructor(seconds as fn() -> Histogram),
            ),
            queue_depth: all.metric(
                "token_request_queue_depth",
                "Number of token requests that wait because of rate limits",
                Gauge::default(),
            ),
            queue_waits: all.metric(
                "token_request_wait_seconds",
                "Time that token requests waited because of rate limits",
                Histogram::new(exponential_buckets(0.01, 4.0, 10)),
            ),
            write_durations: all.metric(
                "secret_write_duration_seconds",
                "Duration of writes of target Secrets",
                seconds(),
            ),
            requests: all.metric(
                "token_requests",
                "Number of token requests, by site, cause, outcome, and reason of the failure",
                Family::default(),
            ),
            secret_writes: all.metric(
                "secret_writes",
                "Number of writes of target Secrets, by the owner's kind, cause, outcome, and reason of the failure",
                Family::default(),
            ),
            clock_differences: all.metric(
                "site_clock_difference_seconds",
                "Difference between the clocks of a site and of the operator, in seconds; positive if the site is ahead",
                Family::default(),
            ),
            far_clocks: Mutex::default(),
            registry: all.with_version(),
        }
    }

    /// Counts a token request; `reason` is `None` if it succeeded.
    pub fn request(&self, site: &str, cause: Cause, reason: Option<Reason>) {
        let (outcome, reason) = match reason {
            None => ("success", ""),
            Some(reason) => ("failure", reason.as_str()),
        };
        let request = Request {
            site: site.to_owned(),
            cause: cause.as_str(),
            outcome,
            reason,
        };
        self.requests.get_or_create(&request).inc();
    }

    /// Counts a fetched token for the requesting app.
    pub fn fetched(&self, namespace: &str, name: &str) {
        self.fetches.get_or_create(&App::of(namespace, name)).inc();
    }

    /// Records the duration of a token request.
    pub fn requested(&self, site: &str, took: Duration) {
        let durations = self.request_durations.get_or_create(&Site::of(site));
        durations.observe(took.as_secs_f64());
    }

    /// Records the time that a token request waited in the queue.
    pub fn waited(&self, wait: Duration) {
        self.queue_waits.observe(wait.as_secs_f64());
    }

    /// Sets the number of waiting token requests.
    pub fn queued(&self, waiting: usize) {
        self.queue_depth.set(count(waiting));
    }

    /// Removes the series of an app.
    pub fn forget_app(&self, namespace: &str, name: &str) {
        self.tokens.remove(namespace, name);
        self.apps.remove(namespace, name);
        self.objects.remove_app(namespace, name);
        self.fetches.remove(&App::of(namespace, name));
    }

    /// Removes the series of a reference.
    pub fn forget_reference(&self, namespace: &str, name: &str) {
        self.references.remove(namespace, name);
        self.objects.copy_expires(namespace, name, None);
    }

    /// Counts a write of a target Secret and records its duration; `kind` is that of the owner.
    pub fn secret_write(
        &self,
        kind: &'static str,
        cause: Cause,
        written: SecretWrite,
        took: Duration,
    ) {
        self.write_durations.observe(took.as_secs_f64());
        let (outcome, reason) = match written {
            SecretWrite::Written => ("success", ""),
            SecretWrite::Conflict => ("conflict", ""),
            SecretWrite::Refused(reason) => ("failure", reason.as_str()),
        };
        let write = Write {
            kind,
            cause: cause.as_str(),
            outcome,
            reason,
        };
        self.secret_writes.get_or_create(&write).inc();
    }

    /// Records the difference between the clocks of a site and of the operator, and whether it is `far` off.
    /// Returns the previous value of `far`.
    pub fn clock_difference(&self, site: &str, seconds: f64, far: bool) -> bool {
        let difference = self.clock_differences.get_or_create(&Site::of(site));
        difference.set(seconds);
        let former = lock(&self.far_clocks).insert(site.to_owned(), far);
        former.unwrap_or_default()
    }

    /// Returns all metrics as OpenMetrics.
    ///
    /// # Errors
    /// A metric could not be encoded.
    pub fn open_metrics(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

impl Site {
    fn of(site: &str) -> Self {
        Self {
            site: site.to_owned(),
        }
    }
}

impl App {
    fn of(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }
}
