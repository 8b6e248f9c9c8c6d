//! Limits the size of list pages.
//!
//! The client library requests pages of 500 objects, whatever their size, and a tenant can make 500 Secrets take
//! 300 MB with annotations alone. This layer drops a page that exceeds a budget and requests it again with a
//! smaller limit. The response then has fewer objects and a `continue` token, which the client library follows.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use futures::future::BoxFuture;
use futures::{StreamExt, TryStreamExt, stream};
use http::uri::PathAndQuery;
use http::{Method, Request, Response, Uri};
use kube::client::Body as RequestBody;
use tokio::sync::Semaphore;
use tokio_util::task::AbortOnDropHandle;
use tower::{BoxError, Layer, Service, ServiceExt};
use tracing::debug;

use super::lock::lock;

/// Maximum size of a page with more than one object, in bytes. Parsing it takes several times as much memory.
const BUDGET: usize = 2 << 20;
/// Limit of the first page of a path, in objects.
const FIRST_LIMIT: u32 = 50;
/// Maximum number of pages that are read at once. Watches for many namespaces all list at the same time.
const READS_MAX: usize = 4;
/// Maximum number of paths whose limits are remembered.
const PATHS_MAX: usize = 1024;

/// Layer that limits the size of pages. Remembers a suitable limit for each path.
#[derive(Clone, Debug)]
pub struct PagesByWeight(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    limits: Mutex<HashMap<String, u32>>,
    reads: Semaphore,
}

impl Default for PagesByWeight {
    fn default() -> Self {
        Self(Arc::new(Shared {
            limits: Mutex::default(),
            reads: Semaphore::new(READS_MAX),
        }))
    }
}

impl Shared {
    fn limit(&self, path: &str) -> u32 {
        let limit = lock(&self.limits).get(path).copied();
        limit.unwrap_or(FIRST_LIMIT)
    }

    fn remember(&self, path: &str, limit: u32) {
        let mut limits = lock(&self.limits);
        if limits.len() >= PATHS_MAX && !limits.contains_key(path) {
            limits.clear();
        }
        limits.insert(path.to_owned(), limit);
    }
}

/// Returns the limit to use after a page with this limit and weight in bytes.
fn next_limit(limit: u32, weight: usize) -> u32 {
    if weight > BUDGET {
        (limit / 4).max(1)
    } else if weight <= BUDGET / 4 {
        limit.saturating_mul(2)
    } else {
        limit
    }
}

/// Returns the limit of a list request; `None` for any other request.
fn page_limit(method: &Method, uri: &Uri) -> Option<u32> {
    let parameters = || uri.query().unwrap_or_default().split('&');
    let is_watch = parameters().any(|parameter| matches!(parameter, "watch=true" | "watch=1"));
    if method != Method::GET || is_watch {
        return None;
    }
    let limit = parameters().find_map(|parameter| parameter.strip_prefix("limit="))?;
    limit.parse().ok().filter(|limit| *limit > 0)
}

/// Replaces the limit in the URI of a list request.
fn with_limit(uri: &Uri, limit: u32) -> Result<Uri, http::Error> {
    let parameters = uri.query().unwrap_or_default().split('&');
    let parameters = parameters.map(|parameter| match parameter.starts_with("limit=") {
        true => format!("limit={limit}"),
        false => parameter.to_owned(),
    });
    let query = parameters.collect::<Vec<_>>().join("&");
    let path_and_query = PathAndQuery::try_from(format!("{}?{query}", uri.path()))?;
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(path_and_query);
    Ok(Uri::from_parts(parts)?)
}

impl<S> Layer<S> for PagesByWeight {
    type Service = Weighed<S>;

    fn layer(&self, inner: S) -> Weighed<S> {
        Weighed {
            inner,
            shared: Arc::clone(&self.0),
        }
    }
}

/// A client whose pages are limited in size.
#[derive(Clone, Debug)]
pub struct Weighed<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S, B> Service<Request<RequestBody>> for Weighed<S>
where
    S: Service<Request<RequestBody>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError> + Send,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<Body>, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<RequestBody>) -> Self::Future {
        let clone = self.inner.clone();
        // Use the instance that `poll_ready` was called on.
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let Some(asked) = page_limit(request.method(), request.uri()) else {
            let answer = inner.call(request);
            return Box::pin(async move {
                let response = answer.await.map_err(Into::into)?;
                Ok(response.map(Body::new))
            });
        };
        // Read in a task of its own: if the caller were not polled, the page would block other reads.
        let page = read_page(inner, Arc::clone(&self.shared), request, asked);
        let page = AbortOnDropHandle::new(tokio::spawn(page));
        Box::pin(async move { page.await? })
    }
}

/// Reads a page with a suitable limit, at most `asked`. A page with a single object may have any size.
async fn read_page<S, B>(
    mut inner: S,
    shared: Arc<Shared>,
    request: Request<RequestBody>,
    asked: u32,
) -> Result<Response<Body>, BoxError>
where
    S: Service<Request<RequestBody>, Response = Response<B>> + Send,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let _permit = shared.reads.acquire().await?;
    let (parts, _) = request.into_parts();
    let path = parts.uri.path().to_owned();
    loop {
        let limit = shared.limit(&path).min(asked);
        let mut parts = parts.clone();
        parts.uri = with_limit(&parts.uri, limit)?;
        let request = Request::from_parts(parts, RequestBody::empty());
        let ready = inner.ready().await.map_err(Into::into)?;
        let response = ready.call(request).await.map_err(Into::into)?;
        let (head, body) = response.into_parts();
        let body = Body::new(body);
        if !head.status.is_success() {
            return Ok(Response::from_parts(head, body));
        }
        let (chunks, weight) = read(body, (limit > 1).then_some(BUDGET)).await?;
        let next = next_limit(limit, weight).min(asked);
        shared.remember(&path, next);
        if limit == 1 || weight <= BUDGET {
            let chunks = stream::iter(chunks.into_iter().map(Ok::<_, BoxError>));
            return Ok(Response::from_parts(head, Body::from_stream(chunks)));
        }
        debug!(
            path,
            limit, next, "page too large; retrying with a smaller limit"
        );
    }
}

/// Reads a body. Returns its chunks and their total size, or no chunks if it exceeds `budget`.
async fn read(body: Body, budget: Option<usize>) -> Result<(Vec<Bytes>, usize), BoxError> {
    let mut body = body.into_data_stream().map_err(axum::Error::into_inner);
    let (mut chunks, mut weight) = (Vec::new(), 0);
    while let Some(chunk) = body.next().await {
        let chunk = chunk?;
        weight += chunk.len();
        if budget.is_some_and(|budget| weight > budget) {
            return Ok((Vec::new(), weight));
        }
        chunks.push(chunk);
    }
    Ok((chunks, weight))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    const LIST: &str = "/api/v1/secrets?&limit=500&continue=a%3D";

    #[test]
    fn only_pages_of_lists_are_weighed() {
        let limit = |method: Method, uri| page_limit(&method, &Uri::from_static(uri));
        assert_eq!(limit(Method::GET, LIST), Some(500));
        assert_eq!(limit(Method::GET, "/api/v1/secrets?limit=0"), None);
        assert_eq!(
            limit(Method::GET, "/api/v1/secrets?resourceVersion=0"),
            None
        );
        assert_eq!(
            limit(Method::GET, "/api/v1/secrets?limit=5&watch=true"),
            None
        );
        assert_eq!(
            limit(Method::GET, "/api/v1/namespaces/hr/secrets/limit"),
            None
        );
        assert_eq!(limit(Method::DELETE, LIST), None);
    }

    #[test]
    fn the_other_parameters_are_kept() {
        let uri = with_limit(&Uri::from_static(LIST), 12).expect("a URI");
        assert_eq!(uri.to_string(), "/api/v1/secrets?&limit=12&continue=a%3D");
        let whole = "https://server:6443/api/v1/pods?labelSelector=a%3Db&limit=500&fieldSelector=c";
        let uri = with_limit(&Uri::from_static(whole), 1).expect("a URI");
        assert_eq!(uri.to_string(), whole.replace("500", "1"));
    }

    #[test]
    fn a_heavy_page_is_quartered_a_light_one_doubled() {
        assert_eq!(next_limit(500, BUDGET + 1), 125);
        assert_eq!(next_limit(3, BUDGET + 1), 1);
        assert_eq!(next_limit(1, BUDGET * 100), 1);
        assert_eq!(next_limit(50, BUDGET), 50);
        assert_eq!(next_limit(50, BUDGET / 4), 100);
    }

    /// Serves objects of these sizes, starting at the index in `continue`, and records each limit.
    fn server(
        weights: Vec<usize>,
        limits: Arc<Mutex<Vec<u32>>>,
    ) -> impl Service<
        Request<RequestBody>,
        Response = Response<Body>,
        Error = Infallible,
        Future: Send + 'static,
    > + Clone
    + Send
    + 'static {
        tower::service_fn(move |request: Request<RequestBody>| {
            let parameter = |name: &str| {
                let query = request.uri().query().unwrap_or_default().to_owned();
                let found = query
                    .split('&')
                    .find_map(|it| it.strip_prefix(name)?.parse().ok());
                found.unwrap_or_default()
            };
            let (start, limit): (usize, usize) = (parameter("continue="), parameter("limit="));
            limits
                .lock()
                .expect("unpoisoned")
                .push(u32::try_from(limit).expect("small"));
            let page = weights.iter().skip(start).take(limit);
            let objects = page.map(|weight| Ok::<_, Infallible>(Bytes::from(vec![b'x'; *weight])));
            let body = Body::from_stream(stream::iter(objects.collect::<Vec<_>>()));
            let is_authorized = request.headers().contains_key(http::header::AUTHORIZATION);
            async move {
                let status = if is_authorized { 200 } else { 401 };
                Ok(Response::builder()
                    .status(status)
                    .body(body)
                    .expect("a response"))
            }
        })
    }

    async fn page<S>(service: &mut Weighed<S>, query: &str) -> (u16, usize)
    where
        Weighed<S>: Service<Request<RequestBody>, Response = Response<Body>, Error = BoxError>,
    {
        let request = Request::get(format!("/api/v1/secrets?{query}"))
            .header(http::header::AUTHORIZATION, "x")
            .body(RequestBody::empty())
            .expect("a request");
        let ready = service.ready().await.expect("ready");
        let response = ready.call(request).await.expect("a response");
        let status = response.status().as_u16();
        let (_, weight) = read(response.into_body(), None).await.expect("a body");
        (status, weight)
    }

    #[tokio::test]
    async fn no_page_of_several_objects_weighs_more_than_the_budget() {
        let heavy = 300_000;
        let weights = [vec![heavy; 400], vec![BUDGET * 5], vec![100; 3000]].concat();
        let limits = Arc::new(Mutex::new(Vec::new()));
        let inner = server(weights.clone(), Arc::clone(&limits));
        let mut service = PagesByWeight::default().layer(inner);
        let mut seen = 0;
        while seen < weights.len() {
            let (status, weight) = page(&mut service, &format!("&limit=500&continue={seen}")).await;
            let limit = limits.lock().expect("unpoisoned").last().copied();
            let limit = limit.expect("asked") as usize;
            assert_eq!(status, 200);
            let expected: usize = weights.iter().skip(seen).take(limit).sum();
            assert_eq!(weight, expected, "nothing is left out");
            assert!(
                weight <= BUDGET || limit == 1,
                "{weight} bytes with {limit}"
            );
            seen += limit;
        }
        let limits = limits.lock().expect("unpoisoned").clone();
        assert_eq!(limits[..3], [50, 12, 3]);
        assert_eq!(limits.last(), Some(&500), "light pages grow again");
        assert!(limits.len() < 400 / 3 + 40, "{} requests", limits.len());
    }

    #[tokio::test]
    async fn a_limit_that_was_asked_for_is_never_exceeded_and_a_refusal_passes() {
        let limits = Arc::new(Mutex::new(Vec::new()));
        let inner = server(vec![10; 100], Arc::clone(&limits));
        let mut service = PagesByWeight::default().layer(inner);
        assert_eq!(page(&mut service, "limit=7").await, (200, 70));
        assert_eq!(page(&mut service, "limit=7").await, (200, 70));
        let request = Request::get("/api/v1/secrets?limit=500").body(RequestBody::empty());
        let ready = service.ready().await.expect("ready");
        let refused = ready.call(request.expect("a request")).await;
        assert_eq!(refused.expect("a response").status(), 401);
        let whole = Request::get("/api/v1/secrets?resourceVersion=0").body(RequestBody::empty());
        let ready = service.ready().await.expect("ready");
        ready
            .call(whole.expect("a request"))
            .await
            .expect("a response");
        assert_eq!(*limits.lock().expect("unpoisoned"), [7, 7, 7, 0]);
    }

    #[test]
    fn the_paths_remembered_are_bounded() {
        let pages = PagesByWeight::default();
        for n in 0..=PATHS_MAX {
            pages
                .0
                .remember(&format!("/api/v1/namespaces/n{n}/pods"), 1);
        }
        let limits = pages.0.limits.lock().expect("unpoisoned");
        assert!(limits.len() <= PATHS_MAX);
    }
}
