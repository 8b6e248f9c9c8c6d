//! Detects outages of the API server. Their end is announced, so that retries need not wait any longer.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tracing::info;

use super::lock::lock;

/// Minimum time without a response to count as an outage. Since the Lease is renewed every two seconds, a single
/// call that keeps failing is not taken for one.
const SILENCE: Duration = Duration::from_secs(3);

/// Detects outages of the API server.
#[derive(Clone, Debug, Default)]
pub struct Outages(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    seen: Mutex<Seen>,
    ended: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Seen {
    answered_at: Option<Instant>,
    has_failed_since: bool,
}

/// Receives the ends of outages.
#[derive(Debug)]
pub struct OutageEnds(watch::Receiver<()>);

impl Outages {
    /// Records a call without a response.
    pub fn failed(&self) {
        lock(&self.0.seen).has_failed_since = true;
    }

    /// Records a response.
    pub fn answered(&self, now: Instant) {
        let mut seen = lock(&self.0.seen);
        let silence = seen.answered_at.map(|at| now.saturating_duration_since(at));
        let is_over = seen.has_failed_since && silence.is_none_or(|silence| silence >= SILENCE);
        *seen = Seen {
            answered_at: Some(now),
            has_failed_since: false,
        };
        drop(seen);
        if is_over {
            let silent_seconds = silence.map(|silence| silence.as_secs());
            info!(silent_seconds, "API server responding again");
            self.0.ended.send_replace(());
        }
    }

    /// Returns a receiver for the ends of outages from now on.
    pub fn ends(&self) -> OutageEnds {
        OutageEnds(self.0.ended.subscribe())
    }
}

impl OutageEnds {
    /// Waits for the next end of an outage.
    pub async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            // The sender is gone, so there will be no further one.
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn an_outage_ends_with_the_first_answer_and_a_call_that_alone_fails_is_none() {
        let (outages, start) = (Outages::default(), Instant::now());
        let at = |second| start + Duration::from_secs(second);
        let mut ends = outages.ends();
        let mut has_ended = || ends.next().now_or_never().is_some();
        outages.answered(at(0));
        for second in 1..10 {
            outages.failed();
            outages.answered(at(2 * second));
        }
        assert!(!has_ended(), "others are answered");
        outages.answered(at(300));
        assert!(!has_ended(), "nobody asked");
        outages.failed();
        outages.failed();
        assert!(!has_ended());
        outages.answered(at(304));
        outages.answered(at(305));
        assert!(has_ended());
        assert!(!has_ended(), "once");
    }
}
