//! An HTTP server that nobody can fill up: a few connections, one request on each, little time.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Request;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tower::Service as _;
use tracing::{debug, info};

use super::connections::Connections;

/// After a connection could not be accepted, for want of file descriptors for example.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The request's header may not be larger, in bytes.
const HEADER_MAX: usize = 16 * 1024;

/// Why a server cannot run.
#[derive(Debug, Error)]
#[error("listen on {address} ({flag}): {source}")]
pub struct ServerError {
    address: SocketAddr,
    flag: &'static str,
    source: std::io::Error,
}

/// What a server allows its clients.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Connections at a time.
    pub(super) connections: usize,
    /// To send a request's header. A connection carries one request, so that none is idle after it.
    pub(super) header: Duration,
    /// From the connection to the end of the answer.
    pub(super) total: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            connections: 128,
            header: Duration::from_secs(5),
            total: Duration::from_secs(10),
        }
    }
}

/// A server that listens, and does not answer yet.
pub(super) struct Server {
    listener: TcpListener,
}

impl Server {
    /// Listens on the address that `flag` names.
    pub(super) async fn bind(address: SocketAddr, flag: &'static str) -> Result<Self, ServerError> {
        let listener = TcpListener::bind(address).await;
        let listener = listener.map_err(|source| ServerError {
            address,
            flag,
            source,
        })?;
        Ok(Self { listener })
    }

    /// Answers in a task until `stop`; `paths` are for the log.
    pub(super) fn serve(
        self,
        paths: &str,
        routes: Router,
        bounds: Bounds,
        stop: CancellationToken,
    ) {
        if let Ok(address) = self.listener.local_addr() {
            info!(%address, paths, "server listening");
        }
        let places = Places {
            connections: Arc::default(),
            permits: Arc::new(Semaphore::new(bounds.connections)),
        };
        tokio::spawn(async move {
            stop.run_until_cancelled(accept(self.listener, places, &routes, bounds))
                .await;
        });
    }
}

async fn accept(listener: TcpListener, places: Places, routes: &Router, bounds: Bounds) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                debug!(%error, "accepting a connection failed; retrying");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(place) = places.take().await else {
            return;
        };
        tokio::spawn(converse(stream, place, routes.clone(), bounds));
        // A client that has sent its request already is heard before the next one is accepted.
        tokio::task::yield_now().await;
    }
}

async fn converse(stream: TcpStream, place: Place, routes: Router, bounds: Bounds) {
    let service = service_fn(|request: hyper::Request<hyper::body::Incoming>| {
        place.requested();
        answer(routes.clone(), request.map(axum::body::Body::new))
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.header)
        .keep_alive(false)
        .max_buf_size(HEADER_MAX)
        .serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        // A broken connection is the client's affair.
        _ = connection => {}
        () = place.close.cancelled() => {}
        () = tokio::time::sleep(bounds.total) => {}
    }
}

fn answer(
    mut routes: Router,
    request: Request,
) -> impl Future<Output = Result<axum::response::Response, Infallible>> {
    routes.call(request)
}

/// The places for connections.
struct Places {
    connections: Arc<Mutex<Connections>>,
    permits: Arc<Semaphore>,
}

impl Places {
    /// Takes a place; if all are taken, as soon as somebody has made room. `None` when the server
    /// ends.
    async fn take(&self) -> Option<Place> {
        let permits = &self.permits;
        let permit = loop {
            if let Ok(permit) = Arc::clone(permits).try_acquire_owned() {
                break permit;
            }
            let at = lock(&self.connections).make_room(Instant::now());
            let free = Arc::clone(permits).acquire_owned();
            match at {
                None => break free.await.ok()?,
                Some(at) => {
                    if let Ok(permit) = tokio::time::timeout_at(at.into(), free).await {
                        break permit.ok()?;
                    }
                }
            }
        };
        let close = CancellationToken::new();
        let number = lock(&self.connections).opened(Instant::now(), close.clone());
        Some(Place {
            number,
            close,
            connections: Arc::clone(&self.connections),
            _permit: permit,
        })
    }
}

/// A connection's place, free again when this is dropped.
struct Place {
    number: u64,
    close: CancellationToken,
    connections: Arc<Mutex<Connections>>,
    _permit: OwnedSemaphorePermit,
}

impl Place {
    fn requested(&self) {
        lock(&self.connections).requested(self.number, Instant::now());
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.connections).closed(self.number);
    }
}

fn lock(connections: &Mutex<Connections>) -> std::sync::MutexGuard<'_, Connections> {
    connections.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
