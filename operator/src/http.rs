//! Health and metrics over HTTP.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::cluster::{Cluster, Kind};
use crate::metrics::Metrics;

/// A listening socket.
pub(crate) async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Answers for ever: `/healthz` while the process works, `/readyz` when everything has been listed, `/metrics`.
pub(crate) async fn serve(
    listener: TcpListener,
    cluster: Arc<Cluster>,
    metrics: Arc<Metrics>,
) -> std::io::Result<()> {
    let ready = move || {
        let missing = cluster.missing();
        async move { readiness(&missing) }
    };
    let text = move || {
        let text = metrics.text();
        async move { text.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR) }
    };
    let router = Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(text));
    axum::serve(listener, router).await
}

fn readiness(missing: &[Kind]) -> (StatusCode, String) {
    if missing.is_empty() {
        return (StatusCode::OK, "ok\n".to_owned());
    }
    let names: Vec<&str> = missing.iter().map(|kind| kind.as_str()).collect();
    let words = format!("not listed yet: {}\n", names.join(", "));
    (StatusCode::SERVICE_UNAVAILABLE, words)
}
