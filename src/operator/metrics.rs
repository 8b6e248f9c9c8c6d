//! Metrics, by Prometheus' conventions.

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, PoisonError};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

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

/// What the process counts.
pub struct Metrics {
    registry: Registry,
    attempts: Family<Outcome, Counter>,
    secret_writes: Family<WriteOutcome, Counter>,
    clock_differences: Family<Site, Gauge<f64, AtomicU64>>,
    far_clocks: Mutex<HashMap<String, bool>>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix(PREFIX);
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
            registry,
            attempts,
            secret_writes,
            clock_differences,
            far_clocks: Mutex::default(),
        }
    }
}

impl Metrics {
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

    /// Counts a write of a target Secret.
    pub fn secret_write(&self, success: bool) {
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
