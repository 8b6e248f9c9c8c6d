//! Backoff of a failing watch.

use std::time::Duration;

use futures::{Stream, StreamExt, stream};
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{DefaultBackoff, Event, Result};

use crate::operator::Outages;

/// Longest wait: nothing announces that a missing role has been granted.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// How long a watch waits after an error: the client library's backoff, up to [`WAIT_MAX`].
#[derive(Default)]
struct Pace {
    backoff: DefaultBackoff,
    has_failed: bool,
}

impl Pace {
    fn follow<K>(&mut self, item: &Result<Event<K>>) {
        self.has_failed = item.is_err();
        // `Init` precedes a list, which may fail.
        if !matches!(item, Err(_) | Ok(Event::Init)) {
            self.backoff.reset();
        }
    }

    fn wait(&mut self) -> Option<Duration> {
        let wait = self.has_failed.then(|| self.backoff.next()).flatten();
        wait.map(|wait| wait.min(WAIT_MAX))
    }
}

/// Waits after each error, or until an outage of the API server ends.
pub(super) fn with_backoff<S, K>(
    watch: S,
    outages: &Outages,
) -> impl Stream<Item = Result<Event<K>>> + Send + use<S, K>
where
    S: Stream<Item = Result<Event<K>>> + Send + 'static,
    K: Send,
{
    let paced = (Box::pin(watch), Pace::default(), outages.ends());
    stream::unfold(paced, |(mut watch, mut pace, mut outage_ends)| async move {
        if let Some(wait) = pace.wait() {
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = outage_ends.next() => {}
            }
        }
        let item = watch.next().await?;
        pace.follow(&item);
        Some((item, (watch, pace, outage_ends)))
    })
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use futures::FutureExt;
    use k8s_openapi::api::core::v1::Secret;
    use kube::runtime::watcher::Error;

    use super::*;

    fn failed() -> Result<Event<Secret>> {
        Err(Error::NoResourceVersion)
    }

    #[tokio::test]
    async fn a_watch_that_fails_waits_until_an_outage_ends() {
        let (outages, start) = (Outages::default(), Instant::now());
        outages.answered(start);
        let watch = stream::repeat_with(failed);
        let mut watch = Box::pin(with_backoff(watch, &outages));
        for second in 1..4 {
            assert!(matches!(watch.next().now_or_never(), Some(Some(Err(_)))));
            assert!(watch.next().now_or_never().is_none(), "it waits");
            outages.failed();
            outages.answered(start + Duration::from_secs(10 * second));
        }
    }

    /// Regression: the event before each list reset the backoff, so that a list without permission
    /// was tried every second.
    #[test]
    fn a_list_that_keeps_failing_is_tried_less_often_up_to_a_bound_and_a_success_ends_that() {
        let mut pace = Pace::default();
        let mut wait = || {
            pace.follow::<Secret>(&Ok(Event::Init));
            assert_eq!(pace.wait(), None, "no failure");
            pace.follow(&failed());
            pace.wait().expect("a failure")
        };
        let waits: Vec<Duration> = (0..10).map(|_| wait()).collect();
        let soon = Duration::from_secs(2);
        assert!(waits[0] < soon, "{waits:?}");
        assert!(waits[5..].iter().all(|wait| *wait == WAIT_MAX), "{waits:?}");
        pace.follow::<Secret>(&Ok(Event::InitDone));
        pace.follow(&failed());
        assert!(pace.wait().is_some_and(|wait| wait < soon));
    }
}
