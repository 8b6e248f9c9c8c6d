//! Example metrics with a series of each metric, for the reference documentation.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::exposition::Exposition;
use super::{Leadership, Metrics, Replica, SecretWrite, TokenTimes, WatchTimes};
use crate::api::{CONDITION_READY, Cause, Reason};

/// Returns the response of `/metrics` in the text format, with a series of each metric.
///
/// # Errors
/// A metric could not be encoded.
pub fn example_metrics(by_corp: bool) -> Result<String, std::fmt::Error> {
    let now = Timestamp::UNIX_EPOCH;
    let watches = WatchTimes::default();
    watches.answered("/api/v1/secrets".to_owned(), now);
    let leadership = Arc::new(Leadership::default());
    let replica = Replica {
        leadership,
        watches,
    };
    let metrics = Metrics::new(by_corp, replica);
    let (namespace, name, site) = ("hr", "payroll", "china");
    let (cause, reason) = (Cause::FirstToken, Reason::Throttled);
    metrics.request(site, cause, Some(reason));
    metrics.fetched(namespace, name);
    metrics.requested(site, Duration::ZERO);
    metrics.secret_write("DingTalkApp", cause, SecretWrite::Written, Duration::ZERO);
    metrics.clock_difference(site, 0.0, false);
    let ready = Condition {
        type_: CONDITION_READY.to_owned(),
        status: "False".to_owned(),
        reason: reason.as_str().to_owned(),
        message: String::new(),
        observed_generation: None,
        last_transition_time: Time(now),
    };
    for conditions in [&metrics.apps, &metrics.references] {
        conditions.set(namespace, name, std::slice::from_ref(&ready));
    }
    let times = TokenTimes {
        corp_id: "ding1".to_owned(),
        expires_at: Some(now),
        next_attempt_at: Some(now),
        failing: Some((now, reason.as_str().to_owned())),
    };
    metrics.tokens.set(namespace, name, std::iter::once(times));
    let objects = &metrics.objects;
    objects.not_served(namespace, 1);
    objects.copy_expires(namespace, name, Some(now));
    objects.undelivered(namespace, name, Reason::PropagationFailed, now);
    Ok(Exposition::Text.of(metrics.open_metrics()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text contains no line for a registered metric without a series.
    #[test]
    fn every_metric_has_a_series() {
        let text = example_metrics(true).expect("text");
        let sources = [
            include_str!("metrics.rs"),
            include_str!("gauges.rs"),
            include_str!("objects.rs"),
        ];
        // Most names stand on a line of their own.
        let lines = sources.into_iter().flat_map(str::lines);
        let literals = lines.filter_map(|line| line.trim().strip_prefix('"')?.strip_suffix("\","));
        let is_name = |text: &&str| text.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        let names: Vec<&str> = literals.filter(is_name).collect();
        assert!(names.len() >= 18, "{names:?}");
        for name in names {
            let has_series = text.lines().any(|line| {
                let line = line.strip_prefix("dingtalk_token_operator_");
                let rest = line.and_then(|line| line.strip_prefix(name));
                rest.is_some_and(|rest| {
                    ["{", " ", "_total", "_bucket"]
                        .iter()
                        .any(|it| rest.starts_with(it))
                })
            });
            assert!(has_series, "{name} in {text}");
        }
    }
}
