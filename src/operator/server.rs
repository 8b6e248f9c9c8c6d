//! An HTTP server that clients cannot exhaust: it limits connections, requests and time.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
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
use super::lock::lock;

/// Pause after a connection could not be accepted, for example due to a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Maximum size of a request's header, in bytes.
const HEADER_MAX: usize = 16 * 1024;

/// A server could not be started.
#[derive(Debug, Error)]
#[error("cannot listen on {address} ({flag}): {source}")]
pub struct ServerError {
    address: SocketAddr,
    flag: &'static str,
    source: std::io::Error,
}

/// Limits for the clients of a server.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Maximum number of open connections.
    pub(super) connections: usize,
    /// Time-out for a request's header. Each connection serves a single request, so that none is idle.
    pub(super) header: Duration,
    /// Time-out from the start of a connection to the end of the response.
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

/// A server that is bound to an address but not serving yet.
pub(super) struct Server {
    listener: TcpListener,
}

impl Server {
    /// Binds `address`, which comes from `flag`.
    pub(super) async fn bind(address: SocketAddr, flag: &'static str) -> Result<Self, ServerError> {
        let listener = TcpListener::bind(address).await;
        let listener = listener.map_err(|source| ServerError {
            address,
            flag,
            source,
        })?;
        Ok(Self { listener })
    }

    /// Serves requests in a task until `stop`; `paths` is only logged.
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
        // Serve a client that has already sent its request before accepting the next one.
        tokio::task::yield_now().await;
    }
}

async fn converse(stream: TcpStream, place: Place, routes: Router, bounds: Bounds) {
    let service = service_fn(|request: hyper::Request<hyper::body::Incoming>| {
        place.requested();
        routes.clone().call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.header)
        .keep_alive(false)
        .max_buf_size(HEADER_MAX)
        .serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        // Errors of a connection are ignored, since the client causes them.
        _ = connection => {}
        () = place.close.cancelled() => {}
        () = tokio::time::sleep(bounds.total) => {}
    }
}

/// Places for a limited number of connections.
struct Places {
    connections: Arc<Mutex<Connections>>,
    permits: Arc<Semaphore>,
}

impl Places {
    /// Takes a place. If all are taken, waits for one or closes a connection. Returns `None` when the server
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

/// A connection's place, which is released on drop.
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

#[cfg(test)]
mod tests;
