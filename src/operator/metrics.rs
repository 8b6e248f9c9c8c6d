//! Metrics, by Prometheus' conventions.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

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

use super::{Leadership, Moment, TokenGauges, WatchTimes};

const PREFIX: &str = "dingtalk_token_operator";

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WriteOutcome {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Site {
    site: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct App {
    namespace: String,
    app: String,
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
        let help = "Since when the oldest watch of a resource was not answered anew; above 300 s at most for moments";
        let mut family = encoder.encode_descriptor("watch_age_seconds", help, None, gauge)?;
        for (resource, age) in self.watches.ages(Instant::now()) {
            let labels = [("resource", resource.as_str())];
            ConstGauge::new(age.as_secs_f64()).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

/// What the process counts.
pub struct Metrics {
    /// The times of each app's tokens.
    pub tokens: Arc<TokenGauges>,
    registry: Registry,
    attempts: Family<Outcome, Counter>,
    mints: Family<App, Counter>,
    request_durations: Family<Site, Histogram>,
    queue_depth: Gauge,
    queue_waits: Histogram,
    secret_writes: Family<WriteOutcome, Counter>,
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
        let mints = Family::<App, Counter>::default();
        let help = "Tokens that were fetched, by the app that asked";
        registry.register("tokens_minted", help, mints.clone());
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
        let attempts = Family::<Outcome, Counter>::default();
        let secret_writes = Family::<WriteOutcome, Counter>::default();
        let clock_differences = Family::<Site, Gauge<f64, AtomicU64>>::default();
        let help = "Token requests, by outcome and reason";
        registry.register("token_requests", help, attempts.clone());
        let help = "Writes of target Secrets, by outcome";
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
            registry,
            attempts,
            mints,
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
    pub fn attempt(&self, reason: Option<&'static str>) {
        let outcome = if reason.is_none() {
            "success"
        } else {
            "failure"
        };
        let reason = reason.unwrap_or_default();
        self.attempts
            .get_or_create(&Outcome { outcome, reason })
            .inc();
    }

    /// Counts a token that was fetched for an app.
    pub fn minted(&self, namespace: &str, app: &str) {
        self.mints.get_or_create(&App::of(namespace, app)).inc();
    }

    /// Takes note of how long a token request took.
    pub fn requested(&self, site: &str, took: Duration) {
        let site = Site {
            site: site.to_owned(),
        };
        self.request_durations
            .get_or_create(&site)
            .observe(took.as_secs_f64());
    }

    /// Takes note of a token request that starts after this wait.
    pub fn waited(&self, wait: Duration) {
        self.queue_waits.observe(wait.as_secs_f64());
    }

    /// Sets how many token requests wait.
    pub fn queued(&self, count: usize) {
        self.queue_depth
            .set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Forgets an app that is gone, and its series.
    pub fn forget(&self, namespace: &str, app: &str) {
        self.tokens.remove(namespace, app);
        self.mints.remove(&App::of(namespace, app));
    }

    /// Counts a write of a target Secret, and how long it took.
    pub fn secret_write(&self, success: bool, took: Duration) {
        self.write_durations.observe(took.as_secs_f64());
        let outcome = if success { "success" } else { "failure" };
        self.secret_writes
            .get_or_create(&WriteOutcome { outcome })
            .inc();
    }

    /// Notes the difference of a site's clock to ours; tells whether it was far off before.
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

    /// The text exposition format.
    ///
    /// # Errors
    /// Writing to the string failed.
    pub fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

impl App {
    fn of(namespace: &str, app: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            app: app.to_owned(),
        }
    }
}
