//! The API server, as the agent meets it.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use sluice_api_access::Requests;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WatchLabel {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ErrorLabel {
    kind: &'static str,
    error: &'static str,
}

/// Metrics of the API server.
#[derive(Debug, Default)]
pub struct ApiMetrics {
    connected: Family<WatchLabel, Gauge>,
    errors: Family<ErrorLabel, Counter>,
    status_writes: Counter,
    status_refusals: Counter,
    requests: Requests,
}

impl ApiMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let ours = registry.sub_registry_with_prefix("sluice_api");
        ours.register(
            "connected",
            "The watch of a kind works (1), or was told of an error last (0)",
            metrics.connected.clone(),
        );
        ours.register(
            "errors",
            "Errors of watches, by kind and cause",
            metrics.errors.clone(),
        );
        ours.register(
            "status_writes",
            "Writes of the status of this node's NodeServiceProxy",
            metrics.status_writes.clone(),
        );
        ours.register(
            "status_refusals",
            "Writes of the status that failed",
            metrics.status_refusals.clone(),
        );
        metrics.requests.register(ours);
        metrics
    }

    /// Requests, where clients count them.
    pub fn requests(&self) -> &Requests {
        &self.requests
    }

    /// Whether the watch of a kind works.
    pub fn set_connected(&self, kind: &'static str, connected: bool) {
        let gauge = self.connected.get_or_create(&WatchLabel { kind });
        gauge.set(i64::from(connected));
    }

    /// Nobody watches a kind any more.
    pub fn forget(&self, kind: &'static str) {
        self.connected.remove(&WatchLabel { kind });
    }

    /// A watch failed.
    pub fn count_error(&self, kind: &'static str, error: &'static str) {
        self.errors.get_or_create(&ErrorLabel { kind, error }).inc();
    }

    /// The status was written.
    pub fn count_status_write(&self) {
        self.status_writes.inc();
    }

    /// The status could not be written.
    pub fn count_status_refusal(&self) {
        self.status_refusals.inc();
    }
}
