//! The times of each app's tokens, as gauges that go with their app.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

/// The times of one token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenTimes {
    /// Its organisation.
    pub corp_id: String,
    /// When the token in the Secret expires.
    pub expires_at: Option<Timestamp>,
    /// When it is fetched next.
    pub next_attempt_at: Option<Timestamp>,
    /// Since when it cannot be fetched or written, and the reason.
    pub failing: Option<(Timestamp, String)>,
}

/// See the module.
#[derive(Debug)]
pub struct TokenGauges {
    apps: Mutex<BTreeMap<(String, String), Vec<TokenTimes>>>,
    by_corp: bool,
}

impl TokenGauges {
    /// With a series for each organisation, or only one for each app with its earliest times.
    pub fn new(by_corp: bool) -> Self {
        Self {
            apps: Mutex::default(),
            by_corp,
        }
    }

    /// Sets the times of an app's tokens.
    pub fn set(&self, namespace: &str, app: &str, tokens: impl Iterator<Item = TokenTimes>) {
        let tokens = match self.by_corp {
            true => tokens.collect(),
            false => vec![tokens.fold(TokenTimes::none(), |all, one| all.earliest(&one))],
        };
        let key = (namespace.to_owned(), app.to_owned());
        self.lock().insert(key, tokens);
    }

    /// Forgets an app that is gone.
    pub fn remove(&self, namespace: &str, app: &str) {
        let key = (namespace.to_owned(), app.to_owned());
        self.lock().remove(&key);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<(String, String), Vec<TokenTimes>>> {
        self.apps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn encode_times(
        &self,
        encoder: &mut DescriptorEncoder,
        name: &str,
        help: &str,
        time: impl Fn(&TokenTimes) -> Option<(Timestamp, Option<&str>)>,
    ) -> Result<(), std::fmt::Error> {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for ((namespace, app), tokens) in &*self.lock() {
            for token in tokens {
                let Some((time, reason)) = time(token) else {
                    continue;
                };
                let gauge = ConstGauge::new(time.as_second());
                let mut labels = vec![("namespace", namespace.as_str()), ("app", app.as_str())];
                if self.by_corp {
                    labels.push(("corp_id", token.corp_id.as_str()));
                }
                labels.extend(reason.map(|reason| ("reason", reason)));
                gauge.encode(family.encode_family(&labels.as_slice())?)?;
            }
        }
        Ok(())
    }
}

impl TokenTimes {
    fn none() -> Self {
        Self {
            corp_id: String::new(),
            expires_at: None,
            next_attempt_at: None,
            failing: None,
        }
    }

    fn earliest(mut self, other: &Self) -> Self {
        let min = |one: Option<Timestamp>, two| one.into_iter().chain(two).min();
        self.expires_at = min(self.expires_at, other.expires_at);
        self.next_attempt_at = min(self.next_attempt_at, other.next_attempt_at);
        let failing = [self.failing.take(), other.failing.clone()];
        self.failing = failing.into_iter().flatten().min();
        self
    }
}

impl Collector for TokenGauges {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        self.encode_times(
            &mut encoder,
            "token_expiry_timestamp_seconds",
            "When the token in the Secret expires",
            |token| Some((token.expires_at?, None)),
        )?;
        self.encode_times(
            &mut encoder,
            "token_next_attempt_timestamp_seconds",
            "When the token is fetched next",
            |token| Some((token.next_attempt_at?, None)),
        )?;
        self.encode_times(
            &mut encoder,
            "token_failing_since_timestamp_seconds",
            "Since when the token cannot be fetched or written, by reason; absent where all is well",
            |token| {
                let (since, reason) = token.failing.as_ref()?;
                Some((*since, Some(reason.as_str())))
            },
        )?;
        let first = self
            .lock()
            .values()
            .flatten()
            .filter_map(|token| token.expires_at)
            .min();
        let Some(first) = first else { return Ok(()) };
        let left = first.duration_since(Timestamp::now()).as_secs_f64();
        let help = "The least validity that is left to any token; negative where one has expired";
        let family = encoder.encode_descriptor(
            "token_least_validity_seconds",
            help,
            None,
            MetricType::Gauge,
        )?;
        ConstGauge::new(left).encode(family)
    }
}
