//! Gauges for the times of the tokens of each app.

use std::collections::BTreeMap;
use std::sync::Mutex;

use jiff::{SignedDuration, Timestamp};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::lock::lock;
use super::series::{Key, count, encode_gauge, key};

/// Times of a token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenTimes {
    /// The corp of the token.
    pub corp_id: String,
    /// Expiry of the token in the Secret.
    pub expires_at: Option<Timestamp>,
    /// Time of the next fetch.
    pub next_attempt_at: Option<Timestamp>,
    /// Time since which the token cannot be fetched or written, and the reason.
    pub failing: Option<(Timestamp, String)>,
}

/// Minimum time from a token's expiry to its next attempt to be counted as expiring too early. A token that
/// cannot be extended is regularly fetched right after its expiry.
const GRACE: SignedDuration = SignedDuration::from_secs(60);

/// Gauges for the tokens of all apps.
#[derive(Debug)]
pub struct TokenGauges {
    apps: Mutex<BTreeMap<Key, AppTimes>>,
    by_corp: bool,
}

#[derive(Debug)]
struct AppTimes {
    /// The exported times: of each token, or the earliest ones of all tokens.
    series: Vec<TokenTimes>,
    /// Expiries of the tokens that expire before their next attempt.
    too_late: Vec<Timestamp>,
}

impl AppTimes {
    fn of(tokens: impl Iterator<Item = TokenTimes>, by_corp: bool) -> Self {
        let tokens: Vec<TokenTimes> = tokens.collect();
        // Compare the times of each token: the earliest times of an app may belong to different tokens.
        let too_late = tokens.iter().filter_map(TokenTimes::too_late).collect();
        let series = match by_corp {
            true => tokens,
            false => vec![
                tokens
                    .iter()
                    .fold(TokenTimes::default(), TokenTimes::earliest),
            ],
        };
        Self { series, too_late }
    }

    /// Returns the number of tokens that are still valid but expire before their next attempt.
    fn expiring_before_next_attempt(&self, now: Timestamp) -> usize {
        self.too_late.iter().filter(|expiry| **expiry > now).count()
    }
}

impl TokenGauges {
    /// Creates gauges with one series per corp if `by_corp`, or else one per app with its earliest times.
    pub fn new(by_corp: bool) -> Self {
        Self {
            apps: Mutex::default(),
            by_corp,
        }
    }

    /// Sets the times of an app's tokens.
    pub fn set(&self, namespace: &str, app: &str, tokens: impl Iterator<Item = TokenTimes>) {
        let times = AppTimes::of(tokens, self.by_corp);
        lock(&self.apps).insert(key(namespace, app), times);
    }

    /// Removes the series of an app.
    pub fn remove(&self, namespace: &str, app: &str) {
        lock(&self.apps).remove(&key(namespace, app));
    }

    fn encode_times(
        &self,
        encoder: &mut DescriptorEncoder,
        name: &str,
        help: &str,
        time: impl Fn(&TokenTimes) -> Option<(Timestamp, Option<&str>)>,
    ) -> Result<(), std::fmt::Error> {
        let apps = lock(&self.apps);
        let (time, by_corp) = (&time, self.by_corp);
        let series = apps.iter().flat_map(|((namespace, app), times)| {
            times.series.iter().filter_map(move |token| {
                let (time, reason) = time(token)?;
                let mut labels = vec![("namespace", namespace.as_str()), ("name", app.as_str())];
                if by_corp {
                    labels.push(("corp_id", token.corp_id.as_str()));
                }
                labels.extend(reason.map(|reason| ("reason", reason)));
                Some((labels, time.as_second()))
            })
        });
        encode_gauge(encoder, name, help, series)
    }
}

impl TokenTimes {
    /// Returns the expiry, if it is more than [`GRACE`] before the next attempt.
    fn too_late(&self) -> Option<Timestamp> {
        let expiry = self.expires_at?;
        let attempt = self.next_attempt_at?;
        (attempt.duration_since(expiry) > GRACE).then_some(expiry)
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
            "Expiry of the token in the Secret",
            |token| Some((token.expires_at?, None)),
        )?;
        self.encode_times(
            &mut encoder,
            "token_next_attempt_timestamp_seconds",
            "Time of the next fetch of the token",
            |token| Some((token.next_attempt_at?, None)),
        )?;
        self.encode_times(
            &mut encoder,
            "token_failing_since_timestamp_seconds",
            "Time since which the token cannot be fetched or written, by reason; absent if there is no problem",
            |token| {
                let (since, reason) = token.failing.as_ref()?;
                Some((*since, Some(reason.as_str())))
            },
        )?;
        let now = Timestamp::now();
        let apps = lock(&self.apps);
        let series = apps.iter().map(|((namespace, app), times)| {
            let labels = [("namespace", namespace), ("name", app)];
            (labels, count(times.expiring_before_next_attempt(now)))
        });
        encode_gauge(
            &mut encoder,
            "tokens_expiring_before_next_attempt",
            "Number of valid tokens that expire more than a minute before their next attempt",
            series,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    fn token(corp_id: &str, expires_at: i64, next_attempt_at: i64) -> TokenTimes {
        TokenTimes {
            corp_id: corp_id.to_owned(),
            expires_at: Some(at(expires_at)),
            next_attempt_at: Some(at(next_attempt_at)),
            failing: None,
        }
    }

    #[test]
    fn a_token_that_expires_before_its_next_attempt_counts_with_or_without_series_by_corp() {
        // The earliest expiry is after the earliest next attempt, so only the individual tokens show the problem.
        let tokens = [token("a", 7200, 8400), token("b", 9000, 4800)];
        for by_corp in [true, false] {
            let times = AppTimes::of(tokens.iter().cloned(), by_corp);
            assert_eq!(times.series.len(), if by_corp { 2 } else { 1 });
            assert_eq!(times.expiring_before_next_attempt(at(0)), 1);
            assert_eq!(times.expiring_before_next_attempt(at(7200)), 0, "expired");
        }
        let fetched_right_after_expiry = [token("a", 7200, 7260)];
        let times = AppTimes::of(fetched_right_after_expiry.into_iter(), false);
        assert_eq!(times.expiring_before_next_attempt(at(0)), 0);
    }
}
