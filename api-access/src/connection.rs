//! Connections to an API server on which it is noticed soon that nobody is at the other end: a machine that lost its power says no word, nor does the one
//! that took over its address, and whoever only listens, as watches do, would listen for minutes.

use std::time::Duration;

use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kube::client::retry::RetryPolicy;
use kube::client::{ClientBuilder, ConfigExt as _};
use kube::{Client, Config};
use tower::retry::RetryLayer;
use tower::{BoxError, ServiceBuilder};

/// After so long without a packet the other end is asked for one (tcp(7), `TCP_KEEPIDLE`).
const IDLE: Duration = Duration::from_secs(15);
/// And again (`TCP_KEEPINTVL`).
const ASKED_EVERY: Duration = Duration::from_secs(5);
/// A connection ends when nothing was acknowledged for so long, data or such a question (`TCP_USER_TIMEOUT`).
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

/// What [`Client::try_from`] makes, of such connections. Wants to be called in a runtime.
pub(crate) fn client(config: Config) -> kube::Result<Client> {
    if config.proxy_url.is_some() {
        return Client::try_from(config);
    }
    let mut tcp = HttpConnector::new();
    // It carries TLS too.
    tcp.enforce_http(false);
    tcp.set_keepalive(Some(IDLE));
    tcp.set_keepalive_interval(Some(ASKED_EVERY));
    tcp.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
    let mut connector = TimeoutConnector::new(config.rustls_https_connector_with_connector(tcp)?);
    connector.set_connect_timeout(config.connect_timeout);
    connector.set_read_timeout(config.read_timeout);
    connector.set_write_timeout(config.write_timeout);
    connector.set_reset_reader_on_write(config.reset_reader_on_write);
    let retry = || RetryLayer::new(RetryPolicy::server_retry());
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.default_retry.then(retry))
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(legacy::Client::builder(TokioExecutor::new()).build(connector));
    Ok(ClientBuilder::new(service, config.default_namespace).build())
}

#[cfg(test)]
mod tests;
