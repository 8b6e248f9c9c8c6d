//! Gauges for the conditions of apps and references.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

/// Gauges for the conditions of all objects of a kind.
#[derive(Debug)]
pub struct ConditionGauges {
    metric: &'static str,
    help: &'static str,
    objects: Mutex<Objects>,
}

/// Conditions by namespace and name of the object.
type Objects = BTreeMap<(String, String), Vec<Shown>>;

/// A condition without its message.
#[derive(Debug)]
struct Shown {
    type_: String,
    status: String,
    reason: String,
}

impl ConditionGauges {
    /// Creates a gauge with this name and help text, without series.
    pub fn new(metric: &'static str, help: &'static str) -> Self {
        Self {
            metric,
            help,
            objects: Mutex::default(),
        }
    }

    /// Sets the conditions of an object.
    pub fn set(&self, namespace: &str, name: &str, conditions: &[Condition]) {
        let shown = conditions.iter().map(|condition| Shown {
            type_: condition.type_.clone(),
            status: condition.status.clone(),
            reason: condition.reason.clone(),
        });
        let key = (namespace.to_owned(), name.to_owned());
        self.lock().insert(key, shown.collect());
    }

    /// Removes the series of an object.
    pub fn remove(&self, namespace: &str, name: &str) {
        let key = (namespace.to_owned(), name.to_owned());
        self.lock().remove(&key);
    }

    fn lock(&self) -> MutexGuard<'_, Objects> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Collector for ConditionGauges {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let gauge = MetricType::Gauge;
        let mut family = encoder.encode_descriptor(self.metric, self.help, None, gauge)?;
        for ((namespace, name), conditions) in &*self.lock() {
            for condition in conditions {
                let labels = [
                    ("namespace", namespace.as_str()),
                    ("name", name.as_str()),
                    ("condition", condition.type_.as_str()),
                    ("status", condition.status.as_str()),
                    ("reason", condition.reason.as_str()),
                ];
                ConstGauge::new(1).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}
