//! Other gauges about apps and references.

use std::collections::BTreeMap;
use std::sync::Mutex;

use jiff::Timestamp;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::lock::lock;
use super::series::{Key, count, encode_gauge, key};
use crate::api::Reason;

#[derive(Debug, Default)]
struct Measured {
    not_served: BTreeMap<String, usize>,
    copies: BTreeMap<Key, Timestamp>,
    undelivered: BTreeMap<(Key, Reason), Timestamp>,
}

/// Gauges for apps that are not served, expiries of copies, and failed deliveries.
#[derive(Debug, Default)]
pub struct ObjectGauges(Mutex<Measured>);

impl ObjectGauges {
    /// Sets the number of apps in a namespace that are not served because of its limits.
    pub fn not_served(&self, namespace: &str, count: usize) {
        let mut measured = lock(&self.0);
        match count {
            0 => measured.not_served.remove(namespace),
            _ => measured.not_served.insert(namespace.to_owned(), count),
        };
    }

    /// Sets the earliest expiry of the tokens in a reference's Secrets.
    pub fn copy_expires(&self, namespace: &str, name: &str, at: Option<Timestamp>) {
        let mut measured = lock(&self.0);
        match at {
            Some(at) => measured.copies.insert(key(namespace, name), at),
            None => measured.copies.remove(&key(namespace, name)),
        };
    }

    /// Records that a new token could not be delivered to the pods or workloads of an app.
    pub fn undelivered(&self, namespace: &str, name: &str, reason: Reason, now: Timestamp) {
        let key = (key(namespace, name), reason);
        lock(&self.0).undelivered.entry(key).or_insert(now);
    }

    /// Records that the problem passed to [`Self::undelivered`] is resolved.
    pub fn delivered(&self, namespace: &str, name: &str, reason: Reason) {
        lock(&self.0)
            .undelivered
            .remove(&(key(namespace, name), reason));
    }

    /// Removes the series of an app.
    pub fn remove_app(&self, namespace: &str, name: &str) {
        let key = key(namespace, name);
        lock(&self.0).undelivered.retain(|(of, _), _| *of != key);
    }
}

impl Collector for ObjectGauges {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let measured = lock(&self.0);
        let not_served = measured.not_served.iter();
        encode_gauge(
            &mut encoder,
            "apps_not_served",
            "Number of DingTalkApps that are not served because of the limits of their namespace",
            not_served.map(|(namespace, number)| ([("namespace", namespace)], count(*number))),
        )?;
        let copies = measured.copies.iter();
        encode_gauge(
            &mut encoder,
            "reference_token_expiry_timestamp_seconds",
            "Earliest expiry of the tokens in the Secrets of a DingTalkTokenReference",
            copies.map(|((namespace, name), at)| {
                let labels = [("namespace", namespace), ("name", name)];
                (labels, at.as_second())
            }),
        )?;
        let undelivered = measured.undelivered.iter();
        encode_gauge(
            &mut encoder,
            "delivery_failing_since_timestamp_seconds",
            "Time since which a new token could not be delivered to pods or workloads of an app, by reason",
            undelivered.map(|(((namespace, name), reason), since)| {
                let labels = [
                    ("namespace", namespace.as_str()),
                    ("name", name.as_str()),
                    ("reason", reason.as_str()),
                ];
                (labels, since.as_second())
            }),
        )
    }
}
