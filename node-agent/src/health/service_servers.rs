//! One HTTP server for each `healthCheckNodePort`, so that a load balancer sends only where a local endpoint is.

use std::collections::BTreeMap;
use std::net::{Ipv6Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use sluice_service_plan::model::ObjectName;
use sluice_service_plan::plan::HealthCheck;

use super::state::Health;
use crate::http;
use crate::metrics::Metrics;

/// Between two attempts to get ports that something else holds.
const RETRY: Duration = Duration::from_secs(5);

const WEIGHT: HeaderName = HeaderName::from_static("x-load-balancing-endpoint-weight");

/// The servers that should run, by service.
pub type HealthCheckTable = BTreeMap<ObjectName, HealthCheck>;

/// Runs the servers of the table, and follows its changes, until the table's sender is gone.
pub async fn serve_health_checks(
    mut table: watch::Receiver<HealthCheckTable>,
    health: Arc<Health>,
    metrics: Arc<Metrics>,
) {
    let mut servers = Servers {
        running: BTreeMap::new(),
        refused: BTreeMap::new(),
        health,
        metrics,
    };
    loop {
        let wanted = table.borrow_and_update().clone();
        servers.converge(&wanted).await;
        let changed = async {
            if servers.refused.is_empty() {
                table.changed().await
            } else {
                tokio::time::timeout(RETRY, table.changed())
                    .await
                    .unwrap_or(Ok(()))
            }
        };
        if changed.await.is_err() {
            return;
        }
    }
}

struct Servers {
    running: BTreeMap<ObjectName, Server>,
    /// Ports that could not be bound, so that each is logged once.
    refused: BTreeMap<ObjectName, u16>,
    health: Arc<Health>,
    metrics: Arc<Metrics>,
}

struct Server {
    port: u16,
    local_endpoints: watch::Sender<usize>,
    task: JoinHandle<()>,
}

impl Server {
    /// Ends it and waits until its port is free for the next one.
    async fn stop(self) {
        self.task.abort();
        // The only outcome is that it was cancelled.
        let _ = self.task.await;
    }
}

impl Servers {
    async fn converge(&mut self, wanted: &HealthCheckTable) {
        let is_wanted =
            |name: &ObjectName, port: u16| wanted.get(name).is_some_and(|w| w.port == port);
        self.refused.retain(|name, port| is_wanted(name, *port));
        let (kept, ended) = std::mem::take(&mut self.running)
            .into_iter()
            .partition::<BTreeMap<_, _>, _>(|(name, server)| is_wanted(name, server.port));
        self.running = kept;
        for server in ended.into_values() {
            server.stop().await;
        }
        for (name, check) in wanted {
            if let Some(server) = self.running.get(name) {
                server.local_endpoints.send_replace(check.local_endpoints);
            } else {
                self.start(name, *check);
            }
        }
        self.metrics
            .objects
            .set_health_check_servers(self.running.len(), self.refused.len());
    }

    fn start(&mut self, name: &ObjectName, check: HealthCheck) {
        match http::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, check.port))) {
            Ok(listener) => {
                if self.refused.remove(name).is_some() {
                    tracing::info!(service = %name, port = check.port, "health check port is served now");
                }
                self.running
                    .insert(name.clone(), self.serve(name, check, listener));
            }
            Err(error) => {
                self.metrics.objects.count_health_check_failure();
                if self.refused.insert(name.clone(), check.port).is_none() {
                    tracing::warn!(
                        service = %name, port = check.port, error = %error, cause = %error.source,
                        "health check port cannot be served; trying again every few seconds"
                    );
                }
            }
        }
    }

    fn serve(&self, name: &ObjectName, check: HealthCheck, listener: TcpListener) -> Server {
        let (sender, receiver) = watch::channel(check.local_endpoints);
        let (name, health) = (name.clone(), Arc::clone(&self.health));
        let router = Router::new().fallback(async move || {
            // A kept-alive connection outlives its server.
            let ended = receiver.has_changed().is_err();
            let local_endpoints = if ended { 0 } else { *receiver.borrow() };
            answer(&name, local_endpoints, health.is_healthy())
        });
        let task = tokio::spawn(async move {
            if let Err(error) = http::serve(listener, router).await {
                tracing::warn!(%error, "health check server ended");
            }
        });
        Server {
            port: check.port,
            local_endpoints: sender,
            task,
        }
    }
}

fn answer(name: &ObjectName, local_endpoints: usize, proxy_healthy: bool) -> Response {
    let status = if local_endpoints > 0 && proxy_healthy {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let headers = [
        (header::CONTENT_TYPE, "application/json".to_owned()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (WEIGHT, local_endpoints.to_string()),
    ];
    let body = json!({
        "service": {"namespace": &*name.namespace, "name": &*name.name},
        "localEndpoints": local_endpoints,
        "serviceProxyHealthy": proxy_healthy,
    });
    (status, headers, body.to_string()).into_response()
}
