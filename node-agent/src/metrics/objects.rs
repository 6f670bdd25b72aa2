//! Kubernetes objects as the agent sees them: planned, refused, in conflict.

use std::collections::{BTreeMap, BTreeSet};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use sluice_service_plan::model::Family as IpFamily;
use sluice_service_plan::plan::{FrontendKind, PlanChange, Pool, ServicePlan};

use super::labels::{KindLabel, PolicyLabel, family_name};

/// Metrics of objects.
#[derive(Debug, Default)]
pub struct ObjectMetrics {
    services: Gauge,
    frontends: Gauge,
    endpoints: Gauge,
    lost_claims: Gauge,
    no_local_endpoints: Family<PolicyLabel, Gauge>,
    refused: Family<KindLabel, Gauge>,
    refusals: Family<KindLabel, Counter>,
    conditions: Gauge,
    health_check_servers: Gauge,
    health_check_refused: Gauge,
    health_check_failures: Counter,
}

impl ObjectMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "kubeproxy_sync_proxy_rules_no_local_endpoints_total",
            "Services with a Local traffic policy and no endpoint on this node",
            metrics.no_local_endpoints.clone(),
        );
        let ours = registry.sub_registry_with_prefix("sluice");
        ours.register(
            "services",
            "Services that are proxied",
            metrics.services.clone(),
        );
        ours.register(
            "frontends",
            "Addresses and ports of the proxied services",
            metrics.frontends.clone(),
        );
        ours.register(
            "endpoints",
            "Usable endpoints, summed over service ports",
            metrics.endpoints.clone(),
        );
        ours.register(
            "lost_claims",
            "Frontends that an older service holds",
            metrics.lost_claims.clone(),
        );
        ours.register(
            "refused_objects",
            "Objects refused now, by kind",
            metrics.refused.clone(),
        );
        ours.register(
            "refusals",
            "Refusals of objects so far, by kind",
            metrics.refusals.clone(),
        );
        ours.register(
            "settings_conditions",
            "Settings that this node cannot follow as asked",
            metrics.conditions.clone(),
        );
        ours.register(
            "health_check_servers",
            "Servers that run on health check node ports",
            metrics.health_check_servers.clone(),
        );
        ours.register(
            "health_check_servers_refused",
            "Health check node ports that something else holds",
            metrics.health_check_refused.clone(),
        );
        ours.register(
            "health_check_server_failures",
            "Failed attempts to serve a health check node port",
            metrics.health_check_failures.clone(),
        );
        for family in IpFamily::ALL {
            for traffic_policy in [INTERNAL, EXTERNAL] {
                let label = PolicyLabel {
                    ip_family: family_name(family),
                    traffic_policy,
                };
                drop(metrics.no_local_endpoints.get_or_create(&label));
            }
        }
        metrics
    }

    /// The plan changed: sizes follow by the difference, so that 20,000 services are not counted for one.
    pub fn count_change(&self, change: &PlanChange) {
        for service in &change.services {
            self.add(service.before.as_deref(), -1);
            self.add(service.after.as_deref(), 1);
        }
    }

    fn add(&self, plan: Option<&ServicePlan>, sign: i64) {
        let Some(plan) = plan else { return };
        let counts = PlanCounts::of(plan);
        self.services.inc_by(sign);
        self.frontends.inc_by(sign * counts.frontends);
        self.endpoints.inc_by(sign * counts.endpoints);
        self.lost_claims.inc_by(sign * counts.lost_claims);
        for (family, traffic_policy) in counts.without_local {
            let label = PolicyLabel {
                ip_family: family_name(family),
                traffic_policy,
            };
            self.no_local_endpoints.get_or_create(&label).inc_by(sign);
        }
    }

    /// So many objects of each kind are refused now.
    pub fn set_refused(&self, by_kind: &BTreeMap<&'static str, usize>) {
        self.refused.clear();
        for (kind, count) in by_kind {
            let count = i64::try_from(*count).unwrap_or(i64::MAX);
            self.refused.get_or_create(&KindLabel { kind }).set(count);
        }
    }

    /// An object of this kind was refused, or is refused for another reason now.
    pub fn count_refusal(&self, kind: &'static str) {
        self.refusals.get_or_create(&KindLabel { kind }).inc();
    }

    /// So many settings cannot be followed as asked.
    pub fn set_conditions(&self, count: usize) {
        self.conditions
            .set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// So many health-check servers run, and so many cannot.
    pub fn set_health_check_servers(&self, running: usize, refused: usize) {
        self.health_check_servers
            .set(i64::try_from(running).unwrap_or(i64::MAX));
        self.health_check_refused
            .set(i64::try_from(refused).unwrap_or(i64::MAX));
    }

    /// A health-check port could not be served.
    pub fn count_health_check_failure(&self) {
        self.health_check_failures.inc();
    }
}

const INTERNAL: &str = "internal";
const EXTERNAL: &str = "external";

/// Sizes of one service's plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanCounts {
    /// Frontends.
    pub frontends: i64,
    /// Usable endpoints over its ports.
    pub endpoints: i64,
    /// Frontends that another service holds.
    pub lost_claims: i64,
    /// Families and traffic policies that say Local where no endpoint is.
    pub without_local: BTreeSet<(IpFamily, &'static str)>,
}

impl PlanCounts {
    /// Counts a plan.
    pub fn of(plan: &ServicePlan) -> Self {
        let mut counts = Self {
            frontends: 0,
            endpoints: 0,
            lost_claims: i64::try_from(plan.lost.len()).unwrap_or(i64::MAX),
            without_local: BTreeSet::new(),
        };
        for port in &plan.ports {
            counts.frontends += i64::try_from(port.frontends.len()).unwrap_or(i64::MAX);
            counts.endpoints +=
                i64::try_from(port.cluster.len().max(port.local.len())).unwrap_or(i64::MAX);
            if !port.local.is_empty() || port.cluster.is_empty() {
                continue;
            }
            for frontend in port.frontends.iter().filter(|f| f.outside == Pool::Local) {
                let policy = if frontend.kind == FrontendKind::ClusterIp {
                    INTERNAL
                } else {
                    EXTERNAL
                };
                counts.without_local.insert((port.key.family, policy));
            }
        }
        counts
    }
}
