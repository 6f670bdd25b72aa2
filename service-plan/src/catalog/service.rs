//! The plan of one service.

use std::sync::Arc;

use super::claims::{Claim, Claims};
use super::endpoints::{Pools, ready_here};
use super::frontends::{families, frontend, health_check_port, wishes};
use super::objects::{Slice, Spec};
use crate::model::{
    Family, NodeFacts, ObjectName, Protocol, ServiceOverride, ServicePort, Settings,
};
use crate::plan::{
    Endpoint, Frontend, FrontendAddress, HealthCheck, LostClaim, Pool, PortKey, PortPlan, Refusal,
    ServicePlan,
};

/// Where cluster DNS runs, what it is named there, and the label that it has.
const DNS_NAMESPACE: &str = "kube-system";
const DNS_NAMES: [&str; 2] = ["kube-dns", "coredns"];
const DNS_LABEL: (&str, &str) = ("k8s-app", "kube-dns");

/// All that one service's plan is made from.
pub(super) struct ServiceScope<'a> {
    pub(super) name: &'a ObjectName,
    pub(super) service: &'a Spec,
    pub(super) slices: &'a [Slice],
    pub(super) claims: &'a Claims,
    pub(super) node: &'a NodeFacts,
    pub(super) settings: &'a Settings,
}

impl ServiceScope<'_> {
    /// The plan; absent where there is nothing to serve and nothing to report.
    pub(super) fn plan(&self) -> Option<ServicePlan> {
        let mut lost = Vec::new();
        let ports = self.port_plans(&mut lost);
        let health_check = self.health_check(&mut lost);
        lost.sort_unstable();
        lost.dedup();
        lost.shrink_to_fit();
        let served = !ports.is_empty() || !lost.is_empty();
        served.then(|| ServicePlan {
            name: self.name.clone(),
            ports,
            ipvs_scheduler: self.ipvs_scheduler(),
            health_check,
            lost,
            is_cluster_dns: self.is_cluster_dns(),
        })
    }

    /// By its name, or by the label that installers give it whatever they name it.
    fn is_cluster_dns(&self) -> bool {
        let is_named_so = || DNS_NAMES.contains(&&*self.name.name);
        let is_labelled_so = || self.service.labels.get(DNS_LABEL.0) == Some(DNS_LABEL.1);
        *self.name.namespace == *DNS_NAMESPACE && (is_named_so() || is_labelled_so())
    }

    /// What the first override that fits says.
    fn ipvs_scheduler(&self) -> Option<Arc<str>> {
        let label = |key: &str| self.service.labels.get(key);
        let fits = |row: &&ServiceOverride| {
            let namespaces = &row.namespaces;
            (namespaces.is_empty() || namespaces.contains(&self.name.namespace))
                && row.selector.matches(label)
        };
        let row = self.settings.service_overrides.iter().find(fits)?;
        Some(Arc::clone(&row.ipvs_scheduler))
    }

    fn port_plans(&self, lost: &mut Vec<LostClaim>) -> Vec<PortPlan> {
        let mut ports: Vec<&ServicePort> = self.service.ports.iter().collect();
        ports.sort_by(|a, b| (&a.name, a.protocol).cmp(&(&b.name, b.protocol)));
        let mut taken = Vec::new();
        let mut shared = SharedPools::default();
        let mut plans = Vec::with_capacity(families(self.service).count() * ports.len());
        for family in families(self.service) {
            for port in &ports {
                plans.extend(self.port_plan(family, port, &mut taken, &mut shared, lost));
            }
        }
        plans.shrink_to_fit();
        plans
    }

    fn port_plan(
        &self,
        family: Family,
        port: &ServicePort,
        taken: &mut Vec<Claim>,
        shared: &mut SharedPools,
        lost: &mut Vec<LostClaim>,
    ) -> Option<PortPlan> {
        let granted: Vec<_> = wishes(self.service, family, port)
            .filter(|wish| {
                let claim = Claim::Frontend {
                    family,
                    address: wish.address,
                    port: wish.port,
                    protocol: port.protocol,
                };
                // A service that asks twice for the same gets it once, as the first kind.
                let granted = !taken.contains(&claim) && self.holds(claim, lost);
                if granted {
                    taken.push(claim);
                }
                granted
            })
            .collect();
        if granted.is_empty() {
            return None;
        }
        let mut pools = Pools::of_port(
            self.slices,
            family,
            &port.name,
            port.protocol,
            self.node,
            self.settings,
        );
        let refusal = if pools.cluster.is_empty() {
            Refusal::Reject
        } else {
            Refusal::Drop
        };
        let mut frontends: Vec<Frontend> = granted
            .into_iter()
            .map(|wish| frontend(self.service, family, wish, refusal, self.settings))
            .collect();
        frontends.sort_unstable();
        if !frontends
            .iter()
            .any(|one| one.outside == Pool::Local || one.inside == Pool::Local)
        {
            pools.local.clear();
        }
        if port.protocol != Protocol::Udp {
            pools.serving.clear();
        }
        Some(PortPlan {
            key: PortKey {
                service: self.name.clone(),
                family,
                port: port.name.clone(),
                protocol: port.protocol,
            },
            affinity_seconds: self.service.affinity_seconds,
            cluster: shared.share(pools.cluster),
            local: shared.share(pools.local),
            serving: shared.share(pools.serving),
            frontends,
        })
    }

    fn health_check(&self, lost: &mut Vec<LostClaim>) -> Option<HealthCheck> {
        let port = health_check_port(self.service)?;
        if !self.holds(Claim::HealthCheck(port), lost) {
            return None;
        }
        // A dual-stack endpoint has an address in each family, and is one endpoint.
        let local_endpoints = families(self.service)
            .map(|family| ready_here(self.slices, family, self.node))
            .max()
            .unwrap_or(0);
        Some(HealthCheck {
            port,
            local_endpoints,
        })
    }

    /// Whether the service has what it claims; what another one has is noted in `lost`.
    fn holds(&self, claim: Claim, lost: &mut Vec<LostClaim>) -> bool {
        let Some(holder) = self.claims.holder(&claim) else {
            return false;
        };
        if holder == self.name {
            return true;
        }
        let (address, port, protocol) = match claim {
            Claim::Frontend {
                address,
                port,
                protocol,
                ..
            } => (address, port, protocol),
            Claim::HealthCheck(port) => (FrontendAddress::NodePort, port, Protocol::Tcp),
        };
        lost.push(LostClaim {
            address,
            port,
            protocol,
            holder: holder.clone(),
        });
        false
    }
}

/// Equal pools of one service, such as those of a port served over TCP and UDP, in one allocation.
#[derive(Default)]
struct SharedPools(Vec<Arc<[Endpoint]>>);

impl SharedPools {
    fn share(&mut self, pool: Vec<Endpoint>) -> Arc<[Endpoint]> {
        if pool.is_empty() {
            return Arc::default();
        }
        if let Some(known) = self.0.iter().find(|known| ***known == *pool) {
            return known.clone();
        }
        let pool: Arc<[Endpoint]> = pool.into();
        self.0.push(pool.clone());
        pool
    }
}
