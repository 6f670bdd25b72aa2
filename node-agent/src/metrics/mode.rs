//! The mode in use.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use sluice_crds::v1alpha1::ActiveMode;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ModeLabel {
    mode: &'static str,
}

/// Metrics of the mode.
#[derive(Debug, Default)]
pub struct ModeMetrics {
    in_use: Family<ModeLabel, Gauge>,
    /// Another mode still has connections.
    draining: Gauge,
}

impl ModeMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let ours = registry.sub_registry_with_prefix("sluice");
        ours.register(
            "mode",
            "1 for the mode that new connections are served in, 0 for the others",
            metrics.in_use.clone(),
        );
        ours.register(
            "mode_draining",
            "1 while the mode before still has connections",
            metrics.draining.clone(),
        );
        metrics
    }

    /// New connections are served in this mode; the one before may have connections still.
    pub fn set(&self, in_use: ActiveMode, draining: bool) {
        for (mode, label) in [
            (ActiveMode::IPTables, "IPTables"),
            (ActiveMode::IPVS, "IPVS"),
        ] {
            let gauge = self.in_use.get_or_create(&ModeLabel { mode: label });
            gauge.set(i64::from(mode == in_use));
        }
        self.draining.set(i64::from(draining));
    }
}
