//! Health and metrics over HTTP.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::cluster::{Cluster, Kind};
use crate::metrics::Metrics;

/// A listening socket. The unspecified address of either family means all addresses of both, because a pod may have those of one only; on a kernel
/// without IPv6, all of IPv4.
pub(crate) async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    if !address.ip().is_unspecified() {
        return TcpListener::bind(address).await;
    }
    // It answers on IPv4 too: `net.ipv6.bindv6only` is off in every new network namespace.
    match TcpListener::bind((Ipv6Addr::UNSPECIFIED, address.port())).await {
        Err(error) if error.kind() != ErrorKind::AddrInUse => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await
        }
        bound => bound,
    }
}

/// Answers for ever: `/healthz` while the process works, `/readyz` when everything has been listed, `/metrics`.
pub(crate) async fn serve(
    listener: TcpListener,
    cluster: Arc<Cluster>,
    metrics: Arc<Metrics>,
) -> io::Result<()> {
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

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn the_unspecified_address_answers_on_ipv4_and_where_there_is_ipv6_on_that_too() {
        for address in ["0.0.0.0:0", "[::]:0"] {
            let listener = bind(address.parse().unwrap()).await.unwrap();
            let port = listener.local_addr().unwrap().port();
            TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            if TcpListener::bind("[::1]:0").await.is_ok() {
                TcpStream::connect(("::1", port)).await.unwrap();
            }
        }
    }

    #[tokio::test]
    async fn a_port_in_use_is_refused() {
        let taken = bind("0.0.0.0:0".parse().unwrap()).await.unwrap();
        let port = taken.local_addr().unwrap().port();
        let again = bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))).await;
        assert_eq!(again.unwrap_err().kind(), ErrorKind::AddrInUse);
    }
}
