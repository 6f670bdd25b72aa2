//! What a data plane is told: frontends, pools, verdicts. The same for every data plane.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;

use crate::model::{Family, NodeFacts, ObjectName, Protocol, Settings};

pub use crate::service_plans::ServicePlans;

/// The plan of a whole node.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// Facts of the node the plan is for.
    pub node: Arc<NodeFacts>,
    /// Settings the plan was made with.
    pub settings: Arc<Settings>,
    /// Plans of the services that are proxied; one with neither a frontend nor a lost claim is absent.
    pub services: ServicePlans,
}

impl Plan {
    /// Makes a copy what `plan` is, from which it differs by this change.
    pub fn follow(&mut self, plan: &Self, change: &PlanChange) {
        self.node.clone_from(&plan.node);
        self.settings.clone_from(&plan.settings);
        for service in &change.services {
            match plan.services.get(&service.name) {
                Some(present) => self.services.insert(Arc::clone(present)),
                None => self.services.remove(&service.name),
            };
        }
    }
}

/// The plan of one service on this node, both families.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePlan {
    /// The service.
    pub name: ObjectName,
    /// One entry per family, port name and protocol, in that order.
    pub ports: Vec<PortPlan>,
    /// The IPVS scheduler that an override gives it.
    pub ipvs_scheduler: Option<Arc<str>>,
    /// The health-check server to run for it.
    pub health_check: Option<HealthCheck>,
    /// Frontends that an older service holds.
    pub lost: Vec<LostClaim>,
    /// The cluster's names are resolved by it.
    pub is_cluster_dns: bool,
}

/// Identity of a service port in one family.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortKey {
    /// The service.
    pub service: ObjectName,
    /// Family of its frontends and endpoints.
    pub family: Family,
    /// Port name, may be empty.
    pub port: Arc<str>,
    /// Protocol.
    pub protocol: Protocol,
}

impl fmt::Display for PortKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.service)?;
        if !self.port.is_empty() {
            write!(f, ":{}", self.port)?;
        }
        write!(f, "/{}", self.protocol)
    }
}

/// One service port in one family: its frontends and who answers them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortPlan {
    /// Identity.
    pub key: PortKey,
    /// Session affinity by client address, timeout in seconds.
    pub affinity_seconds: Option<u32>,
    /// Usable endpoints of the cluster, topology applied; sorted, without duplicates.
    pub cluster: Arc<[Endpoint]>,
    /// Usable endpoints of this node; sorted, without duplicates. Empty where no frontend picks from it.
    pub local: Arc<[Endpoint]>,
    /// Endpoints at which flows may stay that are there already: all that serve, whatever policies and hints say; sorted, without
    /// duplicates. Empty for TCP and SCTP, whose connections end by themselves.
    pub serving: Arc<[Endpoint]>,
    /// Addresses and ports that lead here; sorted.
    pub frontends: Vec<Frontend>,
}

impl PortPlan {
    /// The endpoints of a pool.
    pub fn pool(&self, pool: Pool) -> &Arc<[Endpoint]> {
        match pool {
            Pool::Cluster => &self.cluster,
            Pool::Local => &self.local,
        }
    }

    /// The pools that a frontend picks from.
    pub fn used_pools(&self) -> impl Iterator<Item = Pool> {
        let used = |pool| {
            let mut frontends = self.frontends.iter();
            frontends.any(|frontend| frontend.outside == pool || frontend.inside == pool)
        };
        [Pool::Cluster, Pool::Local]
            .into_iter()
            .filter(move |pool| used(*pool))
    }
}

/// One endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// Address and port.
    pub address: SocketAddr,
    /// Share of new connections, at least 1.
    pub weight: u16,
    /// Where it runs.
    pub node: EndpointNode,
}

impl Endpoint {
    /// Runs on this node, as far as is told.
    pub fn is_local(&self) -> bool {
        self.node == EndpointNode::Ours
    }
}

/// The node that an endpoint runs on, as its slice says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EndpointNode {
    /// The one that is planned for.
    Ours,
    /// Another one.
    Another,
    /// The slice does not say.
    Untold,
}

/// Which of a port's two pools.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pool {
    /// [`PortPlan::cluster`].
    Cluster,
    /// [`PortPlan::local`].
    Local,
}

/// Where a packet must be addressed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FrontendAddress {
    /// This address.
    Ip(IpAddr),
    /// Any address of the node that serves node ports.
    NodePort,
}

/// Why a frontend exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FrontendKind {
    /// `spec.clusterIPs`.
    ClusterIp,
    /// `spec.externalIPs`.
    ExternalIp,
    /// `status.loadBalancer.ingress`.
    LoadBalancer,
    /// `spec.ports[].nodePort`.
    NodePort,
}

/// What an empty pool means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refusal {
    /// TCP: reset; else ICMP port unreachable. Nothing usable anywhere.
    Reject,
    /// Silence. Nothing usable here, but elsewhere.
    Drop,
}

/// When packets to a frontend get a source address of this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Masquerade {
    /// Never (hairpin excepted).
    Never,
    /// When they do not come from this node's pods, as the local detector tells; never without a detector.
    Outside,
    /// When they start on the node itself.
    FromNode,
    /// Always.
    Always,
}

/// One address and port of a service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Frontend {
    /// Address, or node port as such.
    pub address: FrontendAddress,
    /// Port.
    pub port: u16,
    /// Why it exists.
    pub kind: FrontendKind,
    /// Clients that may use it; absent means all. Ranges of this family only, never `/0` (that is absent), sorted.
    pub source_ranges: Option<Vec<IpNet>>,
    /// The pool for clients outside this node.
    pub outside: Pool,
    /// The pool for this node's pods and the node itself.
    pub inside: Pool,
    /// The verdict where the *outside* pool is empty. Where the inside pool is empty, nothing is usable anywhere
    /// (or, with `internalTrafficPolicy: Local`, both pools are the same), so one verdict serves both.
    pub refusal: Refusal,
    /// Source NAT.
    pub masquerade: Masquerade,
}

/// What the server on `healthCheckNodePort` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HealthCheck {
    /// TCP port on the node.
    pub port: u16,
    /// Distinct ready, not terminating endpoint addresses on this node; of a dual-stack service the family with more.
    pub local_endpoints: usize,
}

/// A frontend that another service had first. A health-check port is told as a TCP node port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LostClaim {
    /// The frontend's address.
    pub address: FrontendAddress,
    /// The frontend's port.
    pub port: u16,
    /// The frontend's protocol.
    pub protocol: Protocol,
    /// Who holds it.
    pub holder: ObjectName,
}

/// One service's step from one plan to the next.
#[derive(Debug, Clone)]
pub struct ServiceChange {
    /// The service.
    pub name: ObjectName,
    /// What was planned before; absent when it was not proxied.
    pub before: Option<Arc<ServicePlan>>,
    /// What is planned now; absent when it is no longer proxied.
    pub after: Option<Arc<ServicePlan>>,
}

/// All that changed since the last time the catalog was asked.
#[derive(Debug, Clone, Default)]
pub struct PlanChange {
    /// Services whose plan differs, by name.
    pub services: Vec<ServiceChange>,
    /// Settings or node facts differ: whoever programs a kernel must look at its constant parts again.
    pub node_or_settings: bool,
}

impl PlanChange {
    /// Nothing differs.
    pub fn is_empty(&self) -> bool {
        self.services.is_empty() && !self.node_or_settings
    }
}
