//! Gauges for the conditions of apps and references.

use std::collections::BTreeMap;
use std::sync::Mutex;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::lock::lock;
use super::series::{Key, encode_gauge, key};

/// Gauges for the conditions of all objects of a kind.
#[derive(Debug)]
pub struct ConditionGauges {
    metric: &'static str,
    help: &'static str,
    objects: Mutex<BTreeMap<Key, Vec<Shown>>>,
}

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
        lock(&self.objects).insert(key(namespace, name), shown.collect());
    }

    /// Removes the series of an object.
    pub fn remove(&self, namespace: &str, name: &str) {
        lock(&self.objects).remove(&key(namespace, name));
    }
}

impl Collector for ConditionGauges {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let objects = lock(&self.objects);
        let series = objects.iter().flat_map(|((namespace, name), conditions)| {
            conditions.iter().map(move |condition| {
                let labels = [
                    ("namespace", namespace),
                    ("name", name),
                    ("condition", &condition.type_),
                    ("status", &condition.status),
                    ("reason", &condition.reason),
                ];
                (labels, 1)
            })
        });
        encode_gauge(&mut encoder, self.metric, self.help, series)
    }
}
