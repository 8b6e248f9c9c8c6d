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
        Box::pin(async move {
            let answer = answer.await;
            match &answer {
                // A load balancer responds for an unavailable API server.
                Ok(response) if response.status().is_server_error() => answers.outages.failed(),
                Ok(_) => answers.outages.answered(Instant::now()),
                Err(_) => answers.outages.failed(),
            }
            let response = answer?;
            if let Some(path) = watched.filter(|_| response.status().is_success()) {
                answers.watches.answered(path, Timestamp::now());
            }
            Ok(response)
        })
    }
}
