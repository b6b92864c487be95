//! Metrics and health over HTTP.
//!
//! Read only and without a login, for the local network of the monitoring. A slow or idle client
//! costs one of a bounded number of connections for a bounded time, see the file `connection.rs`.

mod connection;
mod readiness;

use std::future::IntoFuture as _;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::base::metrics::Metrics;

pub use readiness::Readiness;

/// What the pages show.
#[derive(Debug, Clone)]
pub struct HttpState {
    /// For `/metrics`.
    pub metrics: Arc<Metrics>,
    /// For `/readyz`.
    pub readiness: Arc<Readiness>,
}

/// Answers in flight may finish for so long after the cancellation.
const GRACE: Duration = Duration::from_secs(2);

const INDEX: &str = "txguard\n\n/metrics  Prometheus metrics\n/healthz  200 while the process runs\n\
                     /readyz   200 if new clients are served, else 503 and why\n";

/// Serves until `cancel`, then lets answers in flight finish.
///
/// Cancel safe: dropping it closes the listener; connections end by their time limits.
///
/// # Errors
/// None after the listener is bound; the signature leaves room for them.
pub async fn serve(
    listener: TcpListener,
    state: HttpState,
    cancel: CancellationToken,
) -> io::Result<()> {
    let listener = connection::Limited::new(listener);
    let stop = cancel.clone();
    let server = axum::serve(listener, router(state))
        .with_graceful_shutdown(async move { stop.cancelled().await });
    let overdue = async {
        cancel.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        result = server.into_future() => result,
        () = overdue => Ok(()),
    }
}

fn router(state: HttpState) -> Router {
    Router::new()
        .route("/", get(async || INDEX))
        .route("/metrics", get(metrics))
        .route("/healthz", get(async || "ok"))
        .route("/readyz", get(readyz))
        .with_state(state)
}

async fn metrics(State(state): State<HttpState>) -> Response {
    ([(header::CONTENT_TYPE, Metrics::CONTENT_TYPE)], state.metrics.render()).into_response()
}

async fn readyz(State(state): State<HttpState>) -> Response {
    let report = state.readiness.report();
    let status = if report.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, axum::Json(report)).into_response()
}

#[cfg(test)]
mod tests;
