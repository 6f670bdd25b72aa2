//! Syncs, by kube-proxy's names. One sync of ours programs both families, so each is observed for both.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use jiff::Timestamp;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use super::labels::{CategoryLabel, FamilyLabel};

type Durations = Family<FamilyLabel, Histogram, fn() -> Histogram>;
type Times = Family<FamilyLabel, Gauge<f64, AtomicU64>>;

/// Whether a sync compared everything or programmed a change only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncKind {
    /// The whole plan against the kernel.
    Full,
    /// One change.
    Partial,
}

/// Metrics of syncs.
#[derive(Debug)]
pub struct SyncMetrics {
    duration: Durations,
    full_duration: Durations,
    partial_duration: Durations,
    last: Times,
    last_queued: Times,
    service_changes: Counter,
    service_changes_pending: Gauge,
    endpoint_changes: Counter,
    endpoint_changes_pending: Gauge,
    restore_failures: Family<FamilyLabel, Counter>,
    partial_restore_failures: Family<FamilyLabel, Counter>,
    failures: Family<CategoryLabel, Counter>,
    failing: Family<CategoryLabel, Gauge>,
}

fn durations() -> Durations {
    // kube-proxy's buckets: 1 ms to 16 s.
    Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.001, 2.0, 15)))
}

impl SyncMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            duration: durations(),
            full_duration: durations(),
            partial_duration: durations(),
            last: Family::default(),
            last_queued: Family::default(),
            service_changes: Counter::default(),
            service_changes_pending: Gauge::default(),
            endpoint_changes: Counter::default(),
            endpoint_changes_pending: Gauge::default(),
            restore_failures: Family::default(),
            partial_restore_failures: Family::default(),
            failures: Family::default(),
            failing: Family::default(),
        };
        let kube_proxy = registry.sub_registry_with_prefix("kubeproxy");
        kube_proxy.register(
            "sync_proxy_rules_duration_seconds",
            "Latency of syncs, both families in one",
            metrics.duration.clone(),
        );
        kube_proxy.register(
            "sync_full_proxy_rules_duration_seconds",
            "Latency of syncs that compared the whole plan with the kernel",
            metrics.full_duration.clone(),
        );
        kube_proxy.register(
            "sync_partial_proxy_rules_duration_seconds",
            "Latency of syncs that programmed one change",
            metrics.partial_duration.clone(),
        );
        kube_proxy.register(
            "sync_proxy_rules_last_timestamp_seconds",
            "When the kernel was last brought up to date, seconds since the epoch",
            metrics.last.clone(),
        );
        kube_proxy.register(
            "sync_proxy_rules_last_queued_timestamp_seconds",
            "When a change was last queued, seconds since the epoch",
            metrics.last_queued.clone(),
        );
        kube_proxy.register(
            "sync_proxy_rules_service_changes",
            "Changes of Services",
            metrics.service_changes.clone(),
        );
        kube_proxy.register(
            "sync_proxy_rules_service_changes_pending",
            "Changes of Services that the kernel does not hold yet",
            metrics.service_changes_pending.clone(),
        );
        kube_proxy.register(
            "sync_proxy_rules_endpoint_changes",
            "Changes of EndpointSlices",
            metrics.endpoint_changes.clone(),
        );
        kube_proxy.register(
            "sync_proxy_rules_endpoint_changes_pending",
            "Changes of EndpointSlices that the kernel does not hold yet",
            metrics.endpoint_changes_pending.clone(),
        );
        kube_proxy.register(
            "sync_proxy_rules_iptables_restore_failures",
            "Failures of iptables-restore",
            metrics.restore_failures.clone(),
        );
        kube_proxy.register(
            "sync_proxy_rules_iptables_partial_restore_failures",
            "Failures of iptables-restore with one change",
            metrics.partial_restore_failures.clone(),
        );
        registry.register(
            "sluice_sync_failures",
            "Failed syncs, by cause",
            metrics.failures.clone(),
        );
        registry.register(
            "sluice_sync_failing",
            "1 for the cause for which the last sync failed; nothing when it did not",
            metrics.failing.clone(),
        );
        for family in &FamilyLabel::BOTH {
            drop(metrics.restore_failures.get_or_create(family));
            drop(metrics.partial_restore_failures.get_or_create(family));
        }
        metrics
    }

    /// So many Services and slices changed; so many wait now.
    pub fn queued(&self, changes: (usize, usize), waiting: (usize, usize)) {
        self.service_changes.inc_by(changes.0 as u64);
        self.endpoint_changes.inc_by(changes.1 as u64);
        set_now(&self.last_queued);
        self.set_pending(waiting);
    }

    /// So many changes of Services and slices wait.
    pub fn set_pending(&self, waiting: (usize, usize)) {
        let gauge = |count| i64::try_from(count).unwrap_or(i64::MAX);
        self.service_changes_pending.set(gauge(waiting.0));
        self.endpoint_changes_pending.set(gauge(waiting.1));
    }

    /// A sync ended well.
    pub fn synced(&self, kind: SyncKind, took: Duration) {
        let of_kind = match kind {
            SyncKind::Full => &self.full_duration,
            SyncKind::Partial => &self.partial_duration,
        };
        for family in &FamilyLabel::BOTH {
            self.duration
                .get_or_create(family)
                .observe(took.as_secs_f64());
            of_kind.get_or_create(family).observe(took.as_secs_f64());
        }
        set_now(&self.last);
        self.failing.clear();
    }

    /// A sync failed.
    pub fn failed(&self, category: &'static str) {
        let label = CategoryLabel { category };
        self.failures.get_or_create(&label).inc();
        self.set_failing(category);
    }

    /// What failed before, for this cause, is still to be made.
    pub fn set_failing(&self, category: &'static str) {
        let label = CategoryLabel { category };
        self.failing.clear();
        self.failing.get_or_create(&label).set(1);
    }

    /// An iptables-restore (`ip6tables-restore` when `ipv6`) was refused.
    pub fn restore_failed(&self, kind: SyncKind, ipv6: bool) {
        let family = if ipv6 {
            FamilyLabel::V6
        } else {
            FamilyLabel::V4
        };
        self.restore_failures.get_or_create(&family).inc();
        if kind == SyncKind::Partial {
            self.partial_restore_failures.get_or_create(&family).inc();
        }
    }
}

fn set_now(times: &Times) {
    for family in &FamilyLabel::BOTH {
        times
            .get_or_create(family)
            .set(Timestamp::now().as_duration().as_secs_f64());
    }
}
