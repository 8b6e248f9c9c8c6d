//! The HTTP server for probes and metrics.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::{Metrics, Pulse};

/// Why the server cannot run.
#[derive(Debug, Error)]
pub enum HealthError {
    /// The address is taken or not ours.
    #[error("listen on {address} (--health-bind-address): {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
}

#[derive(Clone)]
struct Served {
    metrics: Arc<Metrics>,
    ready: watch::Receiver<bool>,
    pulse: Arc<Pulse>,
}

/// Listens on `address`, then serves `/healthz`, `/readyz` and `/metrics` in a task until `stop`.
pub async fn serve(
    address: SocketAddr,
    metrics: Arc<Metrics>,
    ready: watch::Receiver<bool>,
    pulse: Arc<Pulse>,
    stop: CancellationToken,
) -> Result<(), HealthError> {
    let listener = TcpListener::bind(address)
        .await
        .map_err(|source| HealthError::Bind { address, source })?;
    if let Ok(address) = listener.local_addr() {
        info!(%address, "serving /healthz, /readyz and /metrics");
    }
    let routes = Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics_text))
        .with_state(Served {
            metrics,
            ready,
            pulse,
        });
    tokio::spawn(async move {
        let _ = axum::serve(listener, routes)
            .with_graceful_shutdown(stop.cancelled_owned())
            .await;
    });
    Ok(())
}

/// Fails only where a loop stands still, which a restart mends; an API server or a site that is away
/// is no reason to.
async fn healthz(State(served): State<Served>) -> impl IntoResponse {
    match served.pulse.stands_still(Instant::now()) {
        None => (StatusCode::OK, "ok".to_owned()),
        Some((name, silence)) => (
            StatusCode::SERVICE_UNAVAILABLE,
            format!(
                "the loop {name} has stood still for {} s",
                silence.as_secs()
            ),
        ),
    }
}

async fn readyz(State(served): State<Served>) -> impl IntoResponse {
    if *served.ready.borrow() {
        (StatusCode::OK, "ok")
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "the watches have not been listed yet",
        )
    }
}

async fn metrics_text(State(served): State<Served>) -> impl IntoResponse {
    let kind = [(
        header::CONTENT_TYPE,
        "application/openmetrics-text; version=1.0.0; charset=utf-8",
    )];
    match served.metrics.text() {
        Ok(text) => (StatusCode::OK, kind, text),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, kind, String::new()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::operator::{Leadership, Replica, WatchTimes};

    #[tokio::test]
    async fn liveness_fails_where_a_loop_stands_still_and_nowhere_else() {
        let replica = Replica {
            leadership: Arc::new(Leadership::default()),
            watches: WatchTimes::default(),
        };
        // Nothing is listed, nobody leads: no reason to be restarted.
        let served = Served {
            metrics: Arc::new(Metrics::new(true, replica)),
            ready: watch::channel(false).1,
            pulse: Arc::default(),
        };
        let status = async || {
            healthz(State(served.clone()))
                .await
                .into_response()
                .status()
        };
        assert_eq!(status().await, StatusCode::OK);
        let ready = readyz(State(served.clone())).await.into_response();
        assert_eq!(ready.status(), StatusCode::SERVICE_UNAVAILABLE);
        let long_ago = Instant::now().checked_sub(Duration::from_secs(100));
        served
            .pulse
            .alarm
            .beat(long_ago.expect("the machine is up for longer"));
        assert_eq!(status().await, StatusCode::SERVICE_UNAVAILABLE);
        served.pulse.alarm.beat(Instant::now());
        assert_eq!(status().await, StatusCode::OK);
    }
}
