//! Metrics, by Prometheus' conventions.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, PoisonError};
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
use prometheus_client::registry::Registry;

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

/// What came of a write of a target Secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretWrite {
    /// It was made.
    Written,
    /// The Secret had changed or gone meanwhile, and is looked at again.
    Conflict,
    /// It was refused, for this reason of the condition.
    Refused(Reason),
}

/// From 5 ms to 10 s, which is the time-out of every call.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.005, 2.0, 12))
}

/// What is measured of this replica when it is asked for.
#[derive(Debug)]
pub struct Replica {
    /// Whether it leads.
    pub leadership: Arc<Leadership>,
    /// Its watches.
    pub watches: WatchTimes,
}

impl Collector for Replica {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let help = "Whether this replica leads: 1, or 0";
        let gauge = MetricType::Gauge;
        let leads = self.leadership.holds(Moment::now());
        let leader = encoder.encode_descriptor("leader", help, None, gauge)?;
        ConstGauge::new(i64::from(leads)).encode(leader)?;
        let metric = "watch_last_answer_timestamp_seconds";
        let help = "When the watch of a resource was answered last; of several, the earliest. More than 300 s ago for moments at most";
        let mut family = encoder.encode_descriptor(metric, help, None, gauge)?;
        for (resource, at) in self.watches.last_answers() {
            let labels = [("resource", resource.as_str())];
            ConstGauge::new(at.as_second()).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

/// What the process counts.
pub struct Metrics {
    /// The times of each app's tokens.
    pub tokens: Arc<TokenGauges>,
    /// The conditions of each app.
    pub apps: Arc<ConditionGauges>,
    /// The conditions of each reference.
    pub references: Arc<ConditionGauges>,
    /// What else is measured of objects.
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

impl Metrics {
    /// Nothing counted yet; `by_corp` gives each organisation of an app a series of its own.
    pub fn new(by_corp: bool, replica: Replica) -> Self {
        let mut registry = Registry::with_prefix(PREFIX);
        registry.register_collector(Box::new(replica));
        let tokens = Arc::new(TokenGauges::new(by_corp));
        registry.register_collector(Box::new(Arc::clone(&tokens)));
        let help = "Conditions of each DingTalkApp: 1 for the status and reason that each has";
        let apps = Arc::new(ConditionGauges::new("app_status_condition", help));
        registry.register_collector(Box::new(Arc::clone(&apps)));
        let help =
            "Conditions of each DingTalkTokenReference: 1 for the status and reason that each has";
        let references = Arc::new(ConditionGauges::new("reference_status_condition", help));
        registry.register_collector(Box::new(Arc::clone(&references)));
        let objects = Arc::new(ObjectGauges::default());
        registry.register_collector(Box::new(Arc::clone(&objects)));
        let fetches = Family::<App, Counter>::default();
        let help = "Tokens that were fetched, by the app that asked";
        registry.register("tokens_fetched", help, fetches.clone());
        let request_durations = Family::<Site, Histogram>::new_with_constructor(seconds);
        let help = "How long token requests took, by site";
        registry.register(
            "token_request_duration_seconds",
            help,
            request_durations.clone(),
        );
        let queue_depth = Gauge::default();
        let help = "Token requests that wait for the limits";
        registry.register("token_request_queue_depth", help, queue_depth.clone());
        let queue_waits = Histogram::new(exponential_buckets(0.01, 4.0, 10));
        let help = "How long token requests waited for the limits";
        registry.register("token_request_wait_seconds", help, queue_waits.clone());
        let write_durations = seconds();
        let help = "How long writes of target Secrets took";
        registry.register(
            "secret_write_duration_seconds",
            help,
            write_durations.clone(),
        );
        let requests = Family::<Request, Counter>::default();
        let secret_writes = Family::<Write, Counter>::default();
        let clock_differences = Family::<Site, Gauge<f64, AtomicU64>>::default();
        let help = "Token requests, by site, cause, outcome, and reason of the failure";
        registry.register("token_requests", help, requests.clone());
        let help = "Writes of target Secrets, by their owner's kind, cause, outcome, and reason of the failure";
        registry.register("secret_writes", help, secret_writes.clone());
        let help = "The clock of a site minus ours, in seconds";
        registry.register(
            "site_clock_difference_seconds",
            help,
            clock_differences.clone(),
        );
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The operator's build", build);
        Self {
            tokens,
            apps,
            references,
            objects,
            registry,
            requests,
            fetches,
            request_durations,
            queue_depth,
            queue_waits,
            secret_writes,
            write_durations,
            clock_differences,
            far_clocks: Mutex::default(),
        }
    }

    /// Counts a token request; `reason` is that of its failure.
    pub fn request(&self, site: &str, cause: Cause, reason: Option<Reason>) {
        let outcome = if reason.is_none() {
            "success"
        } else {
            "failure"
        };
        let request = Request {
            site: site.to_owned(),
            cause: cause.as_str(),
            outcome,
            reason: reason.map_or("", Reason::as_str),
        };
        self.requests.get_or_create(&request).inc();
    }

    /// Counts a token that was fetched for an app.
    pub fn fetched(&self, namespace: &str, name: &str) {
        self.fetches.get_or_create(&App::of(namespace, name)).inc();
    }

    /// Records how long a token request took.
    pub fn requested(&self, site: &str, took: Duration) {
        let site = Site {
            site: site.to_owned(),
        };
        self.request_durations
            .get_or_create(&site)
            .observe(took.as_secs_f64());
    }

    /// Records a token request that starts after this wait.
    pub fn waited(&self, wait: Duration) {
        self.queue_waits.observe(wait.as_secs_f64());
    }

    /// Sets how many token requests wait.
    pub fn queued(&self, count: usize) {
        self.queue_depth
            .set(i64::try_from(count).unwrap_or(i64::MAX));
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

    /// Counts a write of a target Secret of an object of this kind.
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
        let cause = cause.as_str();
        let write = Write {
            kind,
            cause,
            outcome,
            reason,
        };
        self.secret_writes.get_or_create(&write).inc();
    }

    /// Notes the difference of a site's clock to ours; returns whether it was far off before.
    pub fn clock_difference(&self, site: &str, seconds: f64, far: bool) -> bool {
        self.clock_differences
            .get_or_create(&Site {
                site: site.to_owned(),
            })
            .set(seconds);
        let mut far_clocks = self
            .far_clocks
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        far_clocks.insert(site.to_owned(), far).unwrap_or_default()
    }

    /// All of it, as OpenMetrics.
    ///
    /// # Errors
    /// Writing to the string failed.
    pub fn open_metrics(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
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
