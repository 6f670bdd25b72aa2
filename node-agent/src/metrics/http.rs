//! Answers on the health port, by kube-proxy's names.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::labels::CodeLabel;

/// Metrics of the health port.
#[derive(Debug)]
pub struct HttpMetrics {
    healthz: Family<CodeLabel, Counter>,
    livez: Family<CodeLabel, Counter>,
}

impl HttpMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            healthz: Family::default(),
            livez: Family::default(),
        };
        for code in [200, 503] {
            drop(metrics.healthz.get_or_create(&CodeLabel { code }));
            drop(metrics.livez.get_or_create(&CodeLabel { code }));
        }
        registry.register(
            "kubeproxy_proxy_healthz",
            "Answers of /healthz by HTTP status",
            metrics.healthz.clone(),
        );
        registry.register(
            "kubeproxy_proxy_livez",
            "Answers of /livez by HTTP status",
            metrics.livez.clone(),
        );
        metrics
    }

    /// `/healthz` was answered with this HTTP status.
    pub fn count_healthz(&self, code: u16) {
        self.healthz.get_or_create(&CodeLabel { code }).inc();
    }

    /// `/livez` was answered with this HTTP status.
    pub fn count_livez(&self, code: u16) {
        self.livez.get_or_create(&CodeLabel { code }).inc();
    }
}
