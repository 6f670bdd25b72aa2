//! One HTTP server for each `healthCheckNodePort`, so that a load balancer sends only where a local endpoint is.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{Ipv6Addr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

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
use crate::ports;

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
    let mut servers = Servers::new(health, metrics, ports::describe_tcp_holders);
    loop {
        let wanted = table.borrow_and_update().clone();
        servers.converge(&wanted, Instant::now()).await;
        let changed = match servers.next_attempt() {
            None => table.changed().await,
            Some(at) => tokio::time::timeout_at(at.into(), table.changed())
                .await
                .unwrap_or(Ok(())),
        };
        if changed.is_err() {
            return;
        }
    }
}

/// Says who holds ports. It takes long, where other tasks would wait for it.
type DescribeHolders = fn(&BTreeSet<u16>) -> BTreeMap<u16, String>;

struct Servers {
    running: BTreeMap<ObjectName, Server>,
    /// Ports that could not be bound, so that each is logged once.
    refused: BTreeMap<ObjectName, Refused>,
    health: Arc<Health>,
    metrics: Arc<Metrics>,
    describe_holders: DescribeHolders,
}

struct Refused {
    port: u16,
    last_attempt: Instant,
}

/// A port that could not be bound, and was not refused before.
struct Refusal {
    name: ObjectName,
    port: u16,
    error: io::Error,
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
    fn new(health: Arc<Health>, metrics: Arc<Metrics>, describe_holders: DescribeHolders) -> Self {
        Self {
            running: BTreeMap::new(),
            refused: BTreeMap::new(),
            health,
            metrics,
            describe_holders,
        }
    }

    /// When a refused port is to be tried again.
    fn next_attempt(&self) -> Option<Instant> {
        let attempts = self.refused.values().map(|refused| refused.last_attempt);
        Some(attempts.min()? + RETRY)
    }

    async fn converge(&mut self, wanted: &HealthCheckTable, now: Instant) {
        let is_wanted =
            |name: &ObjectName, port: u16| wanted.get(name).is_some_and(|w| w.port == port);
        self.refused
            .retain(|name, refused| is_wanted(name, refused.port));
        let (kept, ended) = std::mem::take(&mut self.running)
            .into_iter()
            .partition::<BTreeMap<_, _>, _>(|(name, server)| is_wanted(name, server.port));
        self.running = kept;
        for server in ended.into_values() {
            server.stop().await;
        }
        let mut refusals = Vec::new();
        for (name, check) in wanted {
            if let Some(server) = self.running.get(name) {
                server.local_endpoints.send_replace(check.local_endpoints);
            } else if !self.is_resting(name, now) {
                refusals.extend(self.start(name, *check, now));
            }
        }
        if !refusals.is_empty() {
            let describe_holders = self.describe_holders;
            tokio::task::spawn_blocking(move || tell(&refusals, describe_holders));
        }
        self.metrics
            .objects
            .set_health_check_servers(self.running.len(), self.refused.len());
    }

    /// Changes of the table come often; a port that was refused a moment ago is not tried at each.
    fn is_resting(&self, name: &ObjectName, now: Instant) -> bool {
        let refused = self.refused.get(name);
        refused.is_some_and(|refused| now < refused.last_attempt + RETRY)
    }

    /// Returns what is to be told.
    fn start(&mut self, name: &ObjectName, check: HealthCheck, now: Instant) -> Option<Refusal> {
        let port = check.port;
        match http::listen((Ipv6Addr::UNSPECIFIED, port).into()) {
            Ok(listener) => {
                if self.refused.remove(name).is_some() {
                    tracing::info!(service = %name, port, "health check port is served now");
                }
                self.running
                    .insert(name.clone(), self.serve(name, check, listener));
                None
            }
            Err(error) => {
                self.metrics.objects.count_health_check_failure();
                let refused = Refused {
                    port,
                    last_attempt: now,
                };
                let before = self.refused.insert(name.clone(), refused);
                before.is_none().then(|| Refusal {
                    name: name.clone(),
                    port,
                    error,
                })
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

fn tell(refusals: &[Refusal], describe_holders: DescribeHolders) {
    let in_use = refusals
        .iter()
        .filter(|refusal| refusal.error.kind() == io::ErrorKind::AddrInUse)
        .map(|refusal| refusal.port)
        .collect::<BTreeSet<_>>();
    let holders = if in_use.is_empty() {
        BTreeMap::new()
    } else {
        describe_holders(&in_use)
    };
    for Refusal { name, port, error } in refusals {
        tracing::warn!(
            service = %name, port, %error, holder = holders.get(port).map(String::as_str).unwrap_or_default(),
            "health check port cannot be served; trying again every few seconds"
        );
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
