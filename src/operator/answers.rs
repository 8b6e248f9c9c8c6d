//! Observes the responses of the API server.

use std::task::{Context, Poll};
use std::time::Instant;

use futures::future::BoxFuture;
use http::{Request, Response};
use jiff::Timestamp;
use tower::{Layer, Service};

use super::outages::Outages;
use super::watches::{WatchTimes, watched};

/// Records from the API server's responses. Add it to the client as a layer.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    /// Times of the responses to watches.
    pub watches: WatchTimes,
    /// Outages of the API server.
    pub outages: Outages,
}

impl<S> Layer<S> for Answers {
    type Service = Observed<S>;

    fn layer(&self, inner: S) -> Observed<S> {
        Observed {
            inner,
            answers: self.clone(),
        }
    }
}

/// A client whose responses are observed.
#[derive(Clone, Debug)]
pub struct Observed<S> {
    inner: S,
    answers: Answers,
}

/// A call that has no response yet. Its caller may stop waiting and drop it, which is a failure, too.
struct Unanswered(Option<Outages>);

impl Unanswered {
    fn answered(mut self) {
        if let Some(outages) = self.0.take() {
            outages.answered(Instant::now());
        }
    }
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        if let Some(outages) = &self.0 {
            outages.failed();
        }
    }
}

impl<S, A, B> Service<Request<A>> for Observed<S>
where
    S: Service<Request<A>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: 'static,
    B: 'static,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<B>, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let watched = watched(request.uri());
        let (answers, answer) = (self.answers.clone(), self.inner.call(request));
        let unanswered = Unanswered(Some(answers.outages.clone()));
        Box::pin(async move {
            let response = answer.await?;
            // A load balancer responds for an unavailable API server.
            if !response.status().is_server_error() {
                unanswered.answered();
            }
            if let Some(path) = watched.filter(|_| response.status().is_success()) {
                answers.watches.answered(path, Timestamp::now());
            }
            Ok(response)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::future::{Ready, pending, ready};
    use std::time::Duration;

    use futures::FutureExt;
    use http::StatusCode;
    use tower::service_fn;

    use super::*;

    type Answer = Result<Response<()>, std::convert::Infallible>;

    fn answer(status: StatusCode) -> Ready<Answer> {
        let mut response = Response::new(());
        *response.status_mut() = status;
        ready(Ok(response))
    }

    /// Regression: the end of an outage in which calls hung until their callers gave up was not
    /// noticed.
    #[test]
    fn a_call_that_is_dropped_or_answered_by_something_else_is_a_failure() {
        for is_dropped in [true, false] {
            let answers = Answers::default();
            let mut ends = answers.outages.ends();
            let long_ago = Instant::now().checked_sub(Duration::from_secs(60));
            answers.outages.answered(long_ago.expect("a time"));
            let request = || Request::new(());
            match is_dropped {
                true => {
                    let hanging = service_fn(|_| pending::<Answer>());
                    drop(answers.layer(hanging).call(request()));
                }
                false => {
                    let unavailable = service_fn(|_| answer(StatusCode::SERVICE_UNAVAILABLE));
                    let answered = answers.layer(unavailable).call(request()).now_or_never();
                    assert!(answered.is_some_and(|answer| answer.is_ok()));
                }
            }
            assert!(ends.next().now_or_never().is_none());
            let available = service_fn(|_| answer(StatusCode::OK));
            drop(answers.layer(available).call(request()).now_or_never());
            assert!(ends.next().now_or_never().is_some(), "it is over");
        }
    }
}
