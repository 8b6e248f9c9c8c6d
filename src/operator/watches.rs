//! When each watch was last answered. The client starts a watch again after five minutes at most,
//! so one that is older has been forgotten by somebody.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use http::{Request, Response, Uri};
use jiff::Timestamp;
use tower::{Layer, Service};

/// The times, by the path of what is watched.
#[derive(Clone, Debug, Default)]
pub struct WatchTimes(Arc<Mutex<BTreeMap<String, Timestamp>>>);

impl WatchTimes {
    pub(super) fn answered(&self, path: String, now: Timestamp) {
        let mut times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        times.insert(path, now);
    }

    /// When the watch of each resource was answered last that was answered longest ago.
    pub fn last_answers(&self) -> BTreeMap<String, Timestamp> {
        let times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut earliest = BTreeMap::new();
        for (path, at) in &*times {
            let resource = path.rsplit('/').next().unwrap_or_default();
            let earlier = earliest.entry(resource.to_owned()).or_insert(*at);
            *earlier = (*earlier).min(*at);
        }
        earliest
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
                times.answered(path, Timestamp::now());
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

        let times = WatchTimes::default();
        let at = |second| Timestamp::from_second(second).expect("a time");
        times.answered(of("hr"), at(0));
        times.answered(of("payroll"), at(100));
        assert_eq!(times.last_answers()["secrets"], at(0));
        times.answered(of("hr"), at(290));
        assert_eq!(times.last_answers()["secrets"], at(100));
    }
}
