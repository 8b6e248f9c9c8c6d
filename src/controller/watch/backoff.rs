//! Backoff of a failing watch.

use std::pin::Pin;

use futures::{Stream, StreamExt, stream};
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::DefaultBackoff;

use crate::operator::{OutageEnds, Outages};

struct Paced<S> {
    stream: Pin<Box<S>>,
    backoff: DefaultBackoff,
    has_failed: bool,
    outage_ends: OutageEnds,
}

/// Waits after each error for the client library's backoff, or until an outage of the API server
/// ends.
pub(super) fn with_backoff<S, T, E>(
    watch: S,
    outages: &Outages,
) -> impl Stream<Item = Result<T, E>> + Send + use<S, T, E>
where
    S: Stream<Item = Result<T, E>> + Send + 'static,
    T: Send,
    E: Send,
{
    let paced = Paced {
        stream: Box::pin(watch),
        backoff: DefaultBackoff::default(),
        has_failed: false,
        outage_ends: outages.ends(),
    };
    stream::unfold(paced, |mut paced| async {
        if paced.has_failed
            && let Some(wait) = paced.backoff.next()
        {
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = paced.outage_ends.next() => {}
            }
        }
        let item = paced.stream.next().await?;
        paced.has_failed = item.is_err();
        if item.is_ok() {
            paced.backoff.reset();
        }
        Some((item, paced))
    })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_watch_that_fails_waits_until_an_outage_ends() {
        let (outages, start) = (Outages::default(), Instant::now());
        outages.answered(start);
        let watch = stream::repeat(Err::<(), _>(()));
        let mut watch = Box::pin(with_backoff(watch, &outages));
        for second in 1..4 {
            assert_eq!(watch.next().now_or_never(), Some(Some(Err(()))));
            assert_eq!(watch.next().now_or_never(), None, "it waits");
            outages.failed();
            outages.answered(start + Duration::from_secs(10 * second));
        }
    }
}
