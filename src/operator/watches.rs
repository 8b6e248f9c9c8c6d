//! When each watch was last answered. The client starts a watch again after five minutes at most,
//! so one that is older has been forgotten by somebody.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use http::{Request, Response, Uri};
use tower::{Layer, Service};

/// The times, by the path of what is watched.
#[derive(Clone, Debug, Default)]
pub struct WatchTimes(Arc<Mutex<BTreeMap<String, Instant>>>);

impl WatchTimes {
    fn answered(&self, path: String, now: Instant) {
        let mut times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        times.insert(path, now);
    }

    /// The age of the oldest watch of each resource.
    pub fn ages(&self, now: Instant) -> BTreeMap<String, Duration> {
        let times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut ages = BTreeMap::new();
        for (path, at) in &*times {
            let resource = path.rsplit('/').next().unwrap_or_default();
            let age = now.saturating_duration_since(*at);
            let oldest: &mut Duration = ages.entry(resource.to_owned()).or_default();
            *oldest = age.max(*oldest);
        }
        ages
    }
}

impl<S> Layer<S> for WatchTimes {
    type Service = Timed<S>;

    fn layer(&self, inner: S) -> Timed<S> {
        Timed {
            inner,
            times: self.clone(),
        }
    }
}

/// A client whose watches are timed.
#[derive(Clone, Debug)]
pub struct Timed<S> {
    inner: S,
    times: WatchTimes,
}

impl<S, A, B> Service<Request<A>> for Timed<S>
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
        let (times, answer) = (self.times.clone(), self.inner.call(request));
        Box::pin(async move {
            let response = answer.await?;
            if let Some(path) = watched.filter(|_| response.status().is_success()) {
                times.answered(path, Instant::now());
            }
            Ok(response)
        })
    }
}

/// The path of a watch.
fn watched(uri: &Uri) -> Option<String> {
    let mut parameters = uri.query()?.split('&');
    parameters
        .any(|parameter| parameter == "watch=true")
        .then(|| uri.path().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_watches_count_and_the_oldest_of_a_resource_stands_for_all() {
        let path = |uri: &'static str| watched(&Uri::from_static(uri));
        let of = |namespace: &str| format!("/api/v1/namespaces/{namespace}/secrets");
        let watch = "/api/v1/namespaces/hr/secrets?&watch=true&timeoutSeconds=290";
        assert_eq!(path(watch), Some(of("hr")));
        assert_eq!(path("/api/v1/namespaces/hr/secrets?limit=500"), None);
        assert_eq!(path("/api/v1/namespaces/hr/secrets/watch"), None);

        let (times, start) = (WatchTimes::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        times.answered(of("hr"), at(0));
        times.answered(of("payroll"), at(100));
        let age = |now| times.ages(now)["secrets"].as_secs();
        assert_eq!(age(at(290)), 290);
        times.answered(of("hr"), at(290));
        assert_eq!(age(at(290)), 190);
    }
}
