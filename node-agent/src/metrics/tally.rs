//! Programs, rules and looks through connection tracking, the last two by kube-proxy's names.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use super::labels::{FamilyLabel, family_name};
use crate::family::plan_family;
use crate::tally::Tally;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TableLabel {
    ip_family: &'static str,
    table: &'static str,
}

/// Metrics of what a data plane counts beside its reports.
#[derive(Debug)]
pub struct TallyMetrics {
    programs_started: Counter,
    rules: Family<TableLabel, Gauge<u64, AtomicU64>>,
    rules_written: Family<TableLabel, Gauge<u64, AtomicU64>>,
    flow_looks: Family<FamilyLabel, Histogram, fn() -> Histogram>,
    flows_deleted: Family<FamilyLabel, Counter>,
}

impl TallyMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            programs_started: Counter::default(),
            rules: Family::default(),
            rules_written: Family::default(),
            // kube-proxy's buckets: 1 ms to 16 s.
            flow_looks: Family::new_with_constructor(|| {
                Histogram::new(exponential_buckets(0.001, 2.0, 15))
            }),
            flows_deleted: Family::default(),
        };
        registry.register(
            "sluice_programs_started",
            "Programs started, listings included",
            metrics.programs_started.clone(),
        );
        let kube_proxy = registry.sub_registry_with_prefix("kubeproxy");
        kube_proxy.register(
            "sync_proxy_rules_iptables_total",
            "Rules of ours in the kernel, by table",
            metrics.rules.clone(),
        );
        kube_proxy.register(
            "sync_proxy_rules_iptables_last",
            "Rules written by the last sync that wrote any, by table",
            metrics.rules_written.clone(),
        );
        kube_proxy.register(
            "conntrack_reconciler_sync_duration_seconds",
            "Latency of looks for connection tracking entries that lead astray",
            metrics.flow_looks.clone(),
        );
        kube_proxy.register(
            "conntrack_reconciler_deleted_entries",
            "Connection tracking entries deleted because they led astray",
            metrics.flows_deleted.clone(),
        );
        for family in &FamilyLabel::BOTH {
            drop(metrics.flows_deleted.get_or_create(family));
        }
        metrics
    }

    /// A data plane counted this since it was asked before.
    pub fn add(&self, tally: &Tally) {
        self.programs_started.inc_by(tally.programs_started);
        let written = tally.rules.iter().any(|rules| rules.written > 0);
        for rules in &tally.rules {
            let label = TableLabel {
                ip_family: family_name(plan_family(rules.family)),
                table: rules.table.name(),
            };
            self.rules.get_or_create(&label).set(rules.present);
            if written {
                self.rules_written.get_or_create(&label).set(rules.written);
            }
        }
        for look in &tally.flow_looks {
            let label = FamilyLabel {
                ip_family: family_name(plan_family(look.family)),
            };
            self.flow_looks
                .get_or_create(&label)
                .observe(look.took.as_secs_f64());
            self.flows_deleted
                .get_or_create(&label)
                .inc_by(look.deleted);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use sluice_kernel::iptables::{Family as IpFamily, Table};

    use super::super::Metrics;
    use super::*;
    use crate::tally::{FlowLook, TableRules};

    #[test]
    fn rules_and_looks_have_the_names_of_kube_proxy() {
        let metrics = Metrics::default();
        let rules = |written| TableRules {
            family: IpFamily::V4,
            table: Table::Nat,
            present: 12,
            written,
        };
        let look = FlowLook {
            family: IpFamily::V6,
            took: Duration::from_millis(2),
            deleted: 3,
        };
        metrics.tally.add(&Tally {
            programs_started: 2,
            flow_looks: vec![look],
            rules: vec![rules(5)],
        });
        metrics.tally.add(&Tally {
            rules: vec![rules(0)],
            ..Tally::default()
        });
        let text = metrics.text().unwrap();
        for line in [
            "sluice_programs_started_total 2",
            "kubeproxy_sync_proxy_rules_iptables_total{ip_family=\"IPv4\",table=\"nat\"} 12",
            "kubeproxy_sync_proxy_rules_iptables_last{ip_family=\"IPv4\",table=\"nat\"} 5",
            "kubeproxy_conntrack_reconciler_sync_duration_seconds_count{ip_family=\"IPv6\"} 1",
            "kubeproxy_conntrack_reconciler_deleted_entries_total{ip_family=\"IPv6\"} 3",
            "kubeproxy_conntrack_reconciler_deleted_entries_total{ip_family=\"IPv4\"} 0",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }
}
