//! Pods' attachments to the network.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabel {
    request: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RepairLabel {
    what: &'static str,
}

/// Metrics of attachments.
#[derive(Debug, Default)]
pub struct AttachmentMetrics {
    attachments: Gauge,
    requests: Family<RequestLabel, Counter>,
    repairs: Family<RepairLabel, Counter>,
}

impl AttachmentMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "sluice_attachments",
            "Attachments of pods that the CNI plugin has on record",
            metrics.attachments.clone(),
        );
        registry.register(
            "sluice_attachment_requests",
            "Requests of the CNI plugin, and what was wrong with some of them",
            metrics.requests.clone(),
        );
        registry.register(
            "sluice_attachment_repairs",
            "Entries of sets and flags of ports that were put right after the attachment",
            metrics.repairs.clone(),
        );
        metrics
    }

    /// So many are on record.
    pub fn set_attachments(&self, count: usize) {
        self.attachments
            .set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// The plugin asked.
    pub fn count_request(&self, request: &'static str) {
        self.requests.get_or_create(&RequestLabel { request }).inc();
    }

    /// So much was put right.
    pub fn count_repairs(&self, what: &'static str, count: usize) {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.repairs
            .get_or_create(&RepairLabel { what })
            .inc_by(count);
    }
}
