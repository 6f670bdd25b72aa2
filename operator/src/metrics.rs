//! What the operator counts.

use std::fmt;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use sluice_api_access::Requests;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WriteLabel {
    kind: &'static str,
    result: &'static str,
}

/// All metrics of the operator.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    leader: Gauge,
    policies: Gauge,
    nodes: Gauge,
    services: Gauge,
    writes: Family<WriteLabel, Counter>,
    watch_errors: Family<KindLabel, Counter>,
    requests: Requests,
    registry: Registry,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut metrics = Self::default();
        let registry = metrics.registry.sub_registry_with_prefix("sluice_operator");
        registry.register("leader", "This replica leads (1)", metrics.leader.clone());
        registry.register("policies", "ServiceProxyPolicies", metrics.policies.clone());
        registry.register("nodes", "Nodes", metrics.nodes.clone());
        registry.register(
            "services",
            "Services that are proxied",
            metrics.services.clone(),
        );
        registry.register(
            "writes",
            "Writes to the API server, by what and how they ended",
            metrics.writes.clone(),
        );
        registry.register(
            "watch_errors",
            "Errors of watches, by kind",
            metrics.watch_errors.clone(),
        );
        let api = registry.sub_registry_with_prefix("api");
        metrics.requests.register(api);
        metrics
    }

    /// Requests, where clients count them.
    pub(crate) fn requests(&self) -> &Requests {
        &self.requests
    }

    pub(crate) fn set_leader(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    pub(crate) fn set_counts(&self, [policies, nodes, services]: [usize; 3]) {
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.policies.set(number(policies));
        self.nodes.set(number(nodes));
        self.services.set(number(services));
    }

    pub(crate) fn count_write(&self, kind: &'static str, went_well: bool) {
        let result = if went_well { "ok" } else { "failed" };
        self.writes
            .get_or_create(&WriteLabel { kind, result })
            .inc();
    }

    pub(crate) fn count_watch_error(&self, kind: &'static str) {
        self.watch_errors.get_or_create(&KindLabel { kind }).inc();
    }

    /// The text of a scrape, in `OpenMetrics` 1.0.
    pub(crate) fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
