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

const MODES: [ActiveMode; 2] = [ActiveMode::IPTables, ActiveMode::IPVS];

/// Metrics of the mode.
#[derive(Debug, Default)]
pub struct ModeMetrics {
    in_use: Family<ModeLabel, Gauge>,
    /// Another mode still has connections.
    draining: Gauge,
    refused: Family<ModeLabel, Gauge>,
}

fn label(mode: ActiveMode) -> ModeLabel {
    let mode = match mode {
        ActiveMode::IPTables => "IPTables",
        ActiveMode::IPVS => "IPVS",
    };
    ModeLabel { mode }
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
        ours.register(
            "mode_refused",
            "1 for a mode that was tried and that this node cannot run",
            metrics.refused.clone(),
        );
        for mode in MODES {
            metrics.refused.get_or_create(&label(mode)).set(0);
        }
        metrics
    }

    /// New connections are served in this mode; the one before may have connections still.
    pub fn set(&self, in_use: ActiveMode, draining: bool) {
        for mode in MODES {
            let gauge = self.in_use.get_or_create(&label(mode));
            gauge.set(i64::from(mode == in_use));
        }
        self.draining.set(i64::from(draining));
    }

    /// This mode was tried, and the node cannot run it; or none.
    pub fn set_refused(&self, refused: Option<ActiveMode>) {
        for mode in MODES {
            let gauge = self.refused.get_or_create(&label(mode));
            gauge.set(i64::from(refused == Some(mode)));
        }
    }
}
