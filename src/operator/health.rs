//! The HTTP servers for health probes and for metrics.
//!
//! They are separate so that a NetworkPolicy can distinguish them, and so that neither can block the other.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use bytes::Bytes;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::exposition::Exposition;
use super::lock::lock;
use super::server::{Bounds, Server, ServerError};
use super::{Metrics, Pulse};

/// Metrics are encoded at most once in this time; further requests share the result.
const METRICS_FRESH: Duration = Duration::from_secs(1);

#[derive(Clone)]
struct Probed {
    ready: watch::Receiver<bool>,
    pulse: Arc<Pulse>,
}

/// Binds `address`, then serves `/healthz` and `/readyz` in a task until `stop`.
pub async fn serve_probes(
    address: SocketAddr,
    ready: watch::Receiver<bool>,
    pulse: Arc<Pulse>,
    stop: CancellationToken,
) -> Result<(), ServerError> {
    let server = Server::bind(address, "--health-probe-bind-address").await?;
    let routes = Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .with_state(Probed { ready, pulse });
    server.serve("/healthz /readyz", routes, Bounds::default(), stop);
    Ok(())
}

/// Binds `address`, then serves `/metrics` in a task until `stop`.
pub async fn serve_metrics(
    address: SocketAddr,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) -> Result<(), ServerError> {
    let server = Server::bind(address, "--metrics-bind-address").await?;
    let last = Mutex::default();
    let routes = Router::new()
        .route("/metrics", get(metrics_text))
        .with_state(Arc::new(Scraped { metrics, last }));
    server.serve("/metrics", routes, Bounds::default(), stop);
    Ok(())
}

/// Fails only if a loop is stuck, which a restart fixes. It does not fail while the API server or a site is
/// unavailable.
async fn healthz(State(probed): State<Probed>) -> impl IntoResponse {
    match probed.pulse.stands_still(Instant::now()) {
        None => (StatusCode::OK, "ok".to_owned()),
        Some((name, silence)) => (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("the loop {name} has been stuck for {} s", silence.as_secs()),
        ),
    }
}

async fn readyz(State(probed): State<Probed>) -> impl IntoResponse {
    match *probed.ready.borrow() {
        true => (StatusCode::OK, "ok"),
        false => (
            StatusCode::SERVICE_UNAVAILABLE,
            "the initial lists of the watches are not complete",
        ),
    }
}

struct Scraped {
    metrics: Arc<Metrics>,
    /// Time and text of the last encoding in each format.
    last: Mutex<HashMap<Exposition, (Instant, Bytes)>>,
}

impl Scraped {
    /// Returns the metrics in this format. Requests within [`METRICS_FRESH`] share a copy, so that many or
    /// slow clients need no additional time or memory.
    fn text(&self, format: Exposition, now: Instant) -> Result<Bytes, std::fmt::Error> {
        let mut last = lock(&self.last);
        if let Some((at, text)) = last.get(&format)
            && now.saturating_duration_since(*at) < METRICS_FRESH
        {
            return Ok(text.clone());
        }
        let text = Bytes::from(format.of(self.metrics.open_metrics()?));
        last.insert(format, (now, text.clone()));
        Ok(text)
    }
}

async fn metrics_text(
    State(scraped): State<Arc<Scraped>>,
    headers: HeaderMap,
) -> impl IntoResponse {
    let accept = headers.get(header::ACCEPT).and_then(|it| it.to_str().ok());
    let format = Exposition::accepted(accept);
    let kind = [(header::CONTENT_TYPE, format.content_type())];
    match scraped.text(format, Instant::now()) {
        Ok(text) => (StatusCode::OK, kind, text),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, kind, Bytes::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::{Leadership, Replica, WatchTimes};

    fn metrics() -> Metrics {
        let replica = Replica {
            leadership: Arc::new(Leadership::default()),
            watches: WatchTimes::default(),
        };
        Metrics::new(true, replica)
    }

    #[tokio::test]
    async fn liveness_fails_where_a_loop_stands_still_and_nowhere_else() {
        // Neither incomplete lists nor a missing leader are a reason for a restart.
        let probed = Probed {
            ready: watch::channel(false).1,
            pulse: Arc::default(),
        };
        let status = async || {
            healthz(State(probed.clone()))
                .await
                .into_response()
                .status()
        };
        assert_eq!(status().await, StatusCode::OK);
        let ready = readyz(State(probed.clone())).await.into_response();
        assert_eq!(ready.status(), StatusCode::SERVICE_UNAVAILABLE);
        let long_ago = Instant::now().checked_sub(Duration::from_secs(100));
        probed
            .pulse
            .alarm
            .beat(long_ago.expect("the machine is up for longer"));
        assert_eq!(status().await, StatusCode::SERVICE_UNAVAILABLE);
        probed.pulse.alarm.beat(Instant::now());
        assert_eq!(status().await, StatusCode::OK);
    }

    #[test]
    fn metrics_are_written_out_once_a_second() {
        let scraped = Scraped {
            metrics: Arc::new(metrics()),
            last: Mutex::default(),
        };
        let now = Instant::now();
        let text = |milliseconds| {
            let at = now + Duration::from_millis(milliseconds);
            scraped.text(Exposition::Text, at).expect("metrics")
        };
        let first = text(0);
        scraped.metrics.queued(7);
        assert_eq!(text(999), first);
        let depth = "dingtalk_token_operator_token_request_queue_depth 7";
        let second = text(1000);
        let second = std::str::from_utf8(&second).expect("text");
        assert!(second.contains(depth), "{second}");
        assert!(!second.contains("# EOF"), "{second}");
    }
}
