//! What the planner is told: Kubernetes objects reduced to the fields that matter, node facts, settings.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

pub use crate::label_selector::{LabelRequirement, LabelSelector};
pub use crate::pod_class::{PodAction, PodClass};

/// The label of a Service that names the proxy that serves it,
pub const SERVICE_PROXY_NAME: &str = "service.kubernetes.io/service-proxy-name";
/// and the value that means us.
pub const OUR_PROXY_NAME: &str = "sluice.dev";

/// Layer-4 protocol of a Service port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP, IP protocol 6.
    Tcp,
    /// UDP, IP protocol 17.
    Udp,
    /// SCTP, IP protocol 132.
    Sctp,
}

impl Protocol {
    /// All protocols that a Service may use.
    pub const ALL: [Self; 3] = [Self::Tcp, Self::Udp, Self::Sctp];

    /// The lower-case name that iptables and people use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// IP family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both families.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// The family of an address.
    pub fn of(ip: IpAddr) -> Self {
        if ip.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// The family of a network.
    pub fn of_net(net: &IpNet) -> Self {
        Self::of(net.addr())
    }
}

/// Namespace and name of an object. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName {
    /// Namespace.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
}

impl ObjectName {
    /// Makes a name of its two parts.
    pub fn new(namespace: impl Into<Arc<str>>, name: impl Into<Arc<str>>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// `spec.type` of a Service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum ServiceType {
    /// Reached by its cluster IPs (and external IPs).
    #[default]
    ClusterIp,
    /// Also by a port on every node.
    NodePort,
    /// Also by load-balancer addresses.
    LoadBalancer,
    /// A DNS alias: never proxied.
    ExternalName,
}

/// `internalTrafficPolicy` and `externalTrafficPolicy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum TrafficPolicy {
    /// All endpoints.
    #[default]
    Cluster,
    /// Only endpoints on this node.
    Local,
}

/// A Service, as far as its packets depend on it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Service {
    /// Namespace and name.
    pub name: ObjectName,
    /// `metadata.creationTimestamp`, seconds since the epoch; of two claims on one frontend the older wins.
    pub created: i64,
    /// Labels; `service.kubernetes.io/service-proxy-name` is read from here, overrides select by them.
    pub labels: BTreeMap<String, String>,
    /// `spec.type`.
    pub kind: ServiceType,
    /// `spec.clusterIPs`; empty for a headless service.
    pub cluster_ips: Vec<IpAddr>,
    /// `spec.externalIPs`.
    pub external_ips: Vec<IpAddr>,
    /// `status.loadBalancer.ingress[].ip`, those with `ipMode: Proxy` left out, and those that packets from other hosts cannot have.
    pub load_balancer_ips: Vec<IpAddr>,
    /// `spec.loadBalancerSourceRanges`, both families, host bits cleared.
    pub source_ranges: Vec<IpNet>,
    /// `spec.internalTrafficPolicy`.
    pub internal_policy: TrafficPolicy,
    /// `spec.externalTrafficPolicy`.
    pub external_policy: TrafficPolicy,
    /// Timeout of `sessionAffinity: ClientIP` in seconds; absent means no affinity.
    pub affinity_seconds: Option<u32>,
    /// `spec.healthCheckNodePort`, absent when zero.
    pub health_check_port: Option<u16>,
    /// `spec.ports`.
    pub ports: Vec<ServicePort>,
}

impl Service {
    /// A Service of which only the name is given, with the API's defaults: type `ClusterIP`, policies Cluster, no affinity;
    /// no addresses and no ports yet.
    pub fn new(name: ObjectName) -> Self {
        Self {
            name,
            created: 0,
            labels: BTreeMap::new(),
            kind: ServiceType::default(),
            cluster_ips: Vec::new(),
            external_ips: Vec::new(),
            load_balancer_ips: Vec::new(),
            source_ranges: Vec::new(),
            internal_policy: TrafficPolicy::default(),
            external_policy: TrafficPolicy::default(),
            affinity_seconds: None,
            health_check_port: None,
            ports: Vec::new(),
        }
    }
}

/// One entry of `spec.ports`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServicePort {
    /// Port name, empty when the service has one unnamed port.
    pub name: Arc<str>,
    /// Protocol.
    pub protocol: Protocol,
    /// The port on the service's addresses.
    pub port: u16,
    /// The port on the node's addresses, absent when zero.
    pub node_port: Option<u16>,
}

/// `addressType` of an `EndpointSlice`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AddressType {
    /// IPv4 addresses.
    Ipv4,
    /// IPv6 addresses.
    Ipv6,
    /// Names, which are not proxied.
    Fqdn,
}

/// An `EndpointSlice`, as far as packets depend on it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EndpointSlice {
    /// Namespace and name of the slice.
    pub name: ObjectName,
    /// Name of its service (label `kubernetes.io/service-name`), same namespace.
    pub service: Arc<str>,
    /// Carries the label `service.kubernetes.io/headless`: not seen by proxies.
    pub headless: bool,
    /// Kind of its addresses.
    pub address_type: AddressType,
    /// Ports; those without a name or number are left out by the source.
    pub ports: Vec<SlicePort>,
    /// Endpoints.
    pub endpoints: Vec<SliceEndpoint>,
}

/// One port of a slice.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SlicePort {
    /// Port name, matched with the service port's.
    pub name: Arc<str>,
    /// Protocol.
    pub protocol: Protocol,
    /// Port number on the endpoint.
    pub port: u16,
}

/// One endpoint of a slice.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SliceEndpoint {
    /// The first address of the endpoint.
    pub address: IpAddr,
    /// Condition ready (nil means true).
    pub ready: bool,
    /// Condition serving (nil means ready).
    pub serving: bool,
    /// Condition terminating (nil means false).
    pub terminating: bool,
    /// The node it runs on.
    pub node: Option<Arc<str>>,
    /// The zone it runs in.
    pub zone: Option<Arc<str>>,
    /// Topology hints; boxed because most endpoints have none.
    pub hints: Option<Box<Hints>>,
}

impl SliceEndpoint {
    /// An endpoint of which only the address is given, with the API's defaults: ready, on an unknown node.
    pub fn new(address: IpAddr) -> Self {
        Self {
            address,
            ready: true,
            serving: true,
            terminating: false,
            node: None,
            zone: None,
            hints: None,
        }
    }
}

/// `hints` of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Default, Hash)]
pub struct Hints {
    /// Zones that should use the endpoint.
    pub zones: Vec<Arc<str>>,
    /// Nodes that should use the endpoint.
    pub nodes: Vec<Arc<str>>,
}

/// What the planner must know of the node it plans for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeFacts {
    /// Node name.
    pub name: Arc<str>,
    /// Label `topology.kubernetes.io/zone`.
    pub zone: Option<Arc<str>>,
    /// `status.addresses` of type `InternalIP`.
    pub internal_ips: Vec<IpAddr>,
    /// Every address that an interface of the node holds now, loopback included.
    pub addresses: Vec<IpAddr>,
    /// `spec.podCIDRs`.
    pub pod_cidrs: Vec<IpNet>,
    /// The node is going away (deletion timestamp, or the autoscaler's taint).
    pub being_deleted: bool,
    /// TCP port on which this node's proxy tells its health on every address, as load balancers ask for it; absent where it does not.
    pub health_port: Option<u16>,
}

/// How traffic from this node's own pods is told from other traffic.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum LocalDetector {
    /// It is not told: nothing is masqueraded for coming from outside.
    #[default]
    None,
    /// Source inside one of these networks (`ClusterCIDR`, `NodeCIDR`).
    Cidrs(Vec<IpNet>),
    /// Arrives on this bridge.
    BridgeInterface(String),
    /// Arrives on an interface whose name starts so.
    InterfaceNamePrefix(String),
}

/// Which of the node's addresses serve node ports.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum NodePortAddresses {
    /// All but loopback.
    #[default]
    All,
    /// Those inside these networks.
    Cidrs(Vec<IpNet>),
    /// The node's `InternalIP`s.
    Primary,
}

/// What the owner of the node chose, as far as plans and packets depend on it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of its own in the policy"
)]
pub struct Settings {
    /// Local detector.
    pub detect_local: LocalDetector,
    /// Masquerade all cluster-IP traffic.
    pub masquerade_all: bool,
    /// Service traffic to endpoints in these networks keeps its source.
    pub exclude_destinations: Vec<IpNet>,
    /// Source-NAT to this node's own addresses inside these networks, not to the outgoing interface's address.
    pub snat_addresses: Vec<IpNet>,
    /// First and last source port of masqueraded connections; absent leaves the choice to the kernel.
    pub snat_ports: Option<(u16, u16)>,
    /// Choose source ports at random.
    pub random_fully: bool,
    /// Classes of pods with a source of their own.
    pub pod_classes: Vec<PodClass>,
    /// Number of the packet mark's bit that means "masquerade" (0 to 31).
    pub mark_bit: u8,
    /// Addresses that serve node ports.
    pub node_port_addresses: NodePortAddresses,
    /// Serve node ports on 127.0.0.1 too.
    pub localhost_node_ports: bool,
    /// Packets that conntrack calls INVALID are forwarded, not dropped.
    pub tcp_be_liberal: bool,
    /// Weights of endpoints; first match wins, no match is weight 1.
    pub endpoint_weights: Vec<EndpointWeight>,
    /// How IPVS balances, where it does.
    pub ipvs: IpvsSettings,
    /// What some services want else; first match wins.
    pub service_overrides: Vec<ServiceOverride>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            detect_local: LocalDetector::None,
            masquerade_all: false,
            exclude_destinations: Vec::new(),
            snat_addresses: Vec::new(),
            snat_ports: None,
            random_fully: true,
            pod_classes: Vec::new(),
            mark_bit: 14,
            node_port_addresses: NodePortAddresses::All,
            localhost_node_ports: false,
            tcp_be_liberal: false,
            endpoint_weights: Vec::new(),
            ipvs: IpvsSettings::default(),
            service_overrides: Vec::new(),
        }
    }
}

/// How IPVS balances.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IpvsSettings {
    /// Scheduler of services without an override, by the kernel's name.
    pub scheduler: Arc<str>,
    /// How the node comes to take service addresses as its own.
    pub vip_binding: VipBinding,
    /// Seconds that a real server with weight 0 keeps its connections.
    pub grace_seconds: u32,
    /// Lifetimes of idle connections in seconds; an absent one is left as it is.
    pub timeouts: IpvsTimeouts,
    /// Virtual servers of addresses in these networks are neither made nor touched.
    pub excluded: Vec<IpNet>,
}

impl Default for IpvsSettings {
    fn default() -> Self {
        Self {
            scheduler: "rr".into(),
            vip_binding: VipBinding::LocalRoute,
            grace_seconds: 900,
            timeouts: IpvsTimeouts::default(),
            excluded: Vec::new(),
        }
    }
}

/// How the node comes to take service addresses as its own: IPVS sees only what is delivered locally.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum VipBinding {
    /// A local route on the device `kube-ipvs0`.
    #[default]
    LocalRoute,
    /// An address of the device `kube-ipvs0`.
    Dummy,
}

/// Lifetimes of idle IPVS connections, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct IpvsTimeouts {
    /// Of TCP connections.
    pub tcp: Option<u32>,
    /// Of TCP connections after a FIN.
    pub tcp_fin: Option<u32>,
    /// Of UDP flows.
    pub udp: Option<u32>,
}

/// What some services want else than the others. Empty parts match every service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceOverride {
    /// Labels that the service must have.
    pub selector: LabelSelector,
    /// Namespaces it may be in.
    pub namespaces: Vec<Arc<str>>,
    /// Its IPVS scheduler.
    pub ipvs_scheduler: Arc<str>,
}

/// One row of the weights table. An empty list matches everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointWeight {
    /// Zones it matches.
    pub zones: Vec<Arc<str>>,
    /// Nodes it matches.
    pub nodes: Vec<Arc<str>>,
    /// Share of new connections relative to other endpoints (1 to 65535).
    pub weight: u16,
}
