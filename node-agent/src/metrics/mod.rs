//! What the agent counts: kube-proxy's names where the meaning is the same, ours prefixed `sluice_`.

mod api;
mod attachments;
mod conntrack;
mod http;
mod ipvs;
mod ipvs_services;
mod ipvs_table;
mod kernel;
mod labels;
mod mode;
mod network_programming;
mod objects;
mod process;
mod router;
mod scraped;
mod sync;
mod tally;

use std::fmt;

use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

pub use api::ApiMetrics;
pub use attachments::AttachmentMetrics;
pub use http::HttpMetrics;
pub use ipvs_services::IpvsServiceMetrics;
pub use kernel::KernelMetrics;
pub use mode::ModeMetrics;
pub use network_programming::NetworkProgrammingMetrics;
pub use objects::{ObjectMetrics, PlanCounts};
pub use router::metrics_router;
pub use sync::{SyncKind, SyncMetrics};
pub use tally::TallyMetrics;

/// All metrics of the agent.
#[derive(Debug)]
pub struct Metrics {
    /// Syncs, as kube-proxy counts them.
    pub sync: SyncMetrics,
    /// What was done to the kernel, and what stands there.
    pub kernel: KernelMetrics,
    /// Services, refusals, lost claims, health-check servers.
    pub objects: ObjectMetrics,
    /// Answers on the health port.
    pub http: HttpMetrics,
    /// The mode in use.
    pub mode: ModeMetrics,
    /// From the cause of a change to the kernel.
    pub network_programming: NetworkProgrammingMetrics,
    /// What data planes count beside their reports.
    pub tally: TallyMetrics,
    /// The API server.
    pub api: ApiMetrics,
    /// Pods, as the CNI plugin attaches them.
    pub attachments: AttachmentMetrics,
    /// What IPVS counts of services, where that is asked for.
    pub ipvs_services: IpvsServiceMetrics,
    registry: Registry,
}

impl Default for Metrics {
    /// Without the counters of single services.
    fn default() -> Self {
        Self::with_ipvs_services(0)
    }
}

impl Metrics {
    /// With the counters that IPVS has of at most so many service ports.
    pub fn with_ipvs_services(most: usize) -> Self {
        let mut registry = Registry::default();
        let metrics = Self {
            sync: SyncMetrics::register(&mut registry),
            kernel: KernelMetrics::register(&mut registry),
            objects: ObjectMetrics::register(&mut registry),
            http: HttpMetrics::register(&mut registry),
            mode: ModeMetrics::register(&mut registry),
            network_programming: NetworkProgrammingMetrics::register(&mut registry),
            tally: TallyMetrics::register(&mut registry),
            api: ApiMetrics::register(&mut registry),
            attachments: AttachmentMetrics::register(&mut registry),
            ipvs_services: IpvsServiceMetrics::register(&mut registry, most),
            registry: Registry::default(),
        };
        conntrack::register(&mut registry);
        ipvs::register(&mut registry);
        process::register(&mut registry);
        Self {
            registry,
            ..metrics
        }
    }

    /// The text of a scrape, in `OpenMetrics` 1.0.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use sluice_crds::v1alpha1::ActiveMode;

    use super::*;

    /// Those that only a kernel or an API server tells are left out, and the operator's.
    #[test]
    fn alerts_and_dashboard_go_by_metrics_that_there_are() {
        let metrics = Metrics::default();
        let took = std::time::Duration::from_millis(3);
        metrics.sync.synced(SyncKind::Full, took);
        metrics.sync.failed("ipvs");
        metrics.mode.set(ActiveMode::IPVS, false);
        metrics.objects.set_refused(&[("Service", 1)].into());
        let now = jiff::Timestamp::now();
        let family = sluice_service_plan::model::Family::V4;
        metrics.network_programming.programmed(family, now, now);
        let text = metrics.text().unwrap();
        let files = concat!(
            include_str!("../../../charts/sluice/files/alerts.yaml"),
            include_str!("../../../charts/sluice/files/dashboard.json")
        );
        let rules = files
            .lines()
            .filter(|line| !line.trim_start().starts_with('#'));
        let words = rules.flat_map(|line| line.split(|c: char| !c.is_alphanumeric() && c != '_'));
        let ours =
            words.filter(|word| word.starts_with("sluice_") || word.starts_with("kubeproxy_"));
        let told_here = |word: &&str| {
            !word.starts_with("sluice_conntrack_")
                && !word.starts_with("sluice_operator_")
                && !word.starts_with("sluice_api_requests")
                && !word.starts_with("sluice_ipvs_service_")
                && !word.starts_with("sluice_ipvs_connection_table")
        };
        let names: Vec<&str> = ours.filter(told_here).collect();
        assert!(names.len() > 20, "{names:?}");
        for name in names {
            let is_there = text.lines().any(|line| line.starts_with(name));
            assert!(is_there, "{name} is missing in\n{text}");
        }
    }

    #[test]
    fn the_names_of_kube_proxy_are_there_with_its_labels() {
        let metrics = Metrics::default();
        metrics.sync.queued((1, 0), (1, 0));
        metrics
            .sync
            .synced(SyncKind::Full, std::time::Duration::from_millis(3));
        metrics.http.count_healthz(503);
        let text = metrics.text().unwrap();
        for line in [
            "kubeproxy_sync_proxy_rules_service_changes_total 1",
            "kubeproxy_sync_proxy_rules_service_changes_pending 1",
            "kubeproxy_sync_proxy_rules_duration_seconds_count{ip_family=\"IPv4\"} 1",
            "kubeproxy_sync_full_proxy_rules_duration_seconds_count{ip_family=\"IPv6\"} 1",
            "kubeproxy_proxy_healthz_total{code=\"503\"} 1",
            "process_open_fds",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }
}
