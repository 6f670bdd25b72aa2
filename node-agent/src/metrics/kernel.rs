//! What was done to the kernel, what stands there, and what was found changed.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::labels::KindLabel;
use crate::data_plane::{Drift, Programmed, SyncReport};

/// Metrics of the kernel side.
#[derive(Debug, Default)]
pub struct KernelMetrics {
    transactions: Counter,
    bytes_written: Counter,
    set_entries_written: Counter,
    ipvs_commands: Counter,
    bindings_changed: Counter,
    flows_deleted: Counter,
    syncs_without_write: Counter,
    chains: Gauge,
    rules: Gauge,
    sets: Gauge,
    set_entries: Gauge,
    virtual_servers: Gauge,
    real_servers: Gauge,
    drift_found: Family<KindLabel, Counter>,
    drift_repairs: Family<KindLabel, Counter>,
    checks: Family<KindLabel, Counter>,
    address_changes: Counter,
    sysctls_not_in_force: Gauge,
}

impl KernelMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let ours = registry.sub_registry_with_prefix("sluice");
        ours.register(
            "transactions",
            "Kernel transactions: restores that changed something",
            metrics.transactions.clone(),
        );
        ours.register(
            "written_bytes",
            "Bytes sent to programs that write rules",
            metrics.bytes_written.clone(),
        );
        ours.register(
            "set_entries_written",
            "Address set entries added and deleted",
            metrics.set_entries_written.clone(),
        );
        ours.register(
            "ipvs_commands",
            "Commands sent to IPVS",
            metrics.ipvs_commands.clone(),
        );
        ours.register(
            "binding_changes",
            "Routes and addresses of services that came or went, IPVS mode only",
            metrics.bindings_changed.clone(),
        );
        ours.register(
            "virtual_servers",
            "Virtual servers of ours in IPVS",
            metrics.virtual_servers.clone(),
        );
        ours.register(
            "real_servers",
            "Real servers behind them, those included that only let connections end",
            metrics.real_servers.clone(),
        );
        ours.register(
            "conntrack_deleted_entries",
            "Connection tracking entries deleted because their endpoint went",
            metrics.flows_deleted.clone(),
        );
        ours.register(
            "syncs_without_write",
            "Syncs that found the kernel as it should be",
            metrics.syncs_without_write.clone(),
        );
        ours.register(
            "chains",
            "Chains of ours in the kernel",
            metrics.chains.clone(),
        );
        ours.register(
            "rules",
            "Rules of ours in the kernel",
            metrics.rules.clone(),
        );
        ours.register(
            "sets",
            "Address sets of ours in the kernel",
            metrics.sets.clone(),
        );
        ours.register(
            "set_entries",
            "Entries of our address sets, affinity apart",
            metrics.set_entries.clone(),
        );
        ours.register(
            "drift_found",
            "Objects of ours found changed or gone, by kind",
            metrics.drift_found.clone(),
        );
        ours.register(
            "drift_repairs",
            "Objects of ours repaired after somebody changed them, by kind",
            metrics.drift_repairs.clone(),
        );
        ours.register(
            "drift_checks",
            "Looks for drift, by kind (counts, full)",
            metrics.checks.clone(),
        );
        ours.register(
            "node_address_changes",
            "Changes of the node's addresses",
            metrics.address_changes.clone(),
        );
        ours.register(
            "sysctls_not_in_force",
            "Wanted sysctls that this node does not take",
            metrics.sysctls_not_in_force.clone(),
        );
        for kind in ["chain", "rule", "set", "other"] {
            drop(metrics.drift_found.get_or_create(&KindLabel { kind }));
            drop(metrics.drift_repairs.get_or_create(&KindLabel { kind }));
        }
        metrics
    }

    /// A sync did this.
    pub fn wrote(&self, report: &SyncReport, programmed: Programmed) {
        self.transactions.inc_by(report.transactions);
        self.bytes_written.inc_by(report.bytes_written);
        self.set_entries_written.inc_by(report.set_entries);
        self.ipvs_commands.inc_by(report.ipvs_commands);
        self.bindings_changed.inc_by(report.bindings);
        self.flows_deleted.inc_by(report.flows_deleted);
        if report.is_noop() {
            self.syncs_without_write.inc();
        }
        set(&self.chains, programmed.chains);
        set(&self.rules, programmed.rules);
        set(&self.sets, programmed.sets);
        set(&self.set_entries, programmed.set_entries);
        set(&self.virtual_servers, programmed.virtual_servers);
        set(&self.real_servers, programmed.real_servers);
    }

    /// The counts were compared.
    pub fn count_check(&self) {
        self.checks
            .get_or_create(&KindLabel { kind: "counts" })
            .inc();
    }

    /// Everything was compared.
    pub fn count_verification(&self) {
        self.checks.get_or_create(&KindLabel { kind: "full" }).inc();
    }

    /// Objects were found changed or gone.
    pub fn drifted(&self, drift: &[Drift]) {
        for one in drift {
            self.drift_found.get_or_create(&kind_of(one)).inc();
        }
    }

    /// They are repaired.
    pub fn repaired(&self, drift: &[Drift]) {
        for one in drift {
            self.drift_repairs.get_or_create(&kind_of(one)).inc();
        }
    }

    /// The node got or lost addresses.
    pub fn count_address_change(&self) {
        self.address_changes.inc();
    }

    /// So many wanted sysctls are not in force.
    pub fn set_sysctls_not_in_force(&self, count: usize) {
        set(&self.sysctls_not_in_force, count as u64);
    }
}

fn set(gauge: &Gauge, value: u64) {
    gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
}

/// The kind is the first word of the object's description.
fn kind_of(drift: &Drift) -> KindLabel {
    let kind = match drift.object.split(' ').next() {
        Some("chain") => "chain",
        Some("rule" | "jump") => "rule",
        Some("set") => "set",
        _ => "other",
    };
    KindLabel { kind }
}
