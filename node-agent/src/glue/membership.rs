//! Which address sets the glue needs, and what a plan puts into them. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use sluice_kernel::address_set::{Entry, SetKind};
use sluice_service_plan::access::admits_itself;
use sluice_service_plan::model::{Family, LocalDetector, NodeFacts, NodePortAddresses, Settings};
use sluice_service_plan::plan::{
    Frontend, FrontendAddress, FrontendKind, Masquerade, PortPlan, Refusal, ServicePlan,
};

use super::pod_classes::ClassKey;
use crate::family::kernel_protocol;

/// What a set is for. The order is the order in which entries are added; they are deleted the other way round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// The node's own addresses but loopback: they serve node ports, and are never closed when a service uses one of them.
    OwnIp,
    /// Sources that are this node's pods, where the local detector goes by network.
    Pods,
    /// Destinations towards which the source is kept.
    KeepSource,
    /// Addresses that serve node ports, where the policy names some.
    NodePortIp,
    /// Clients allowed to use a guarded frontend.
    Allowed,
    /// Load-balancer frontends with source ranges. After `Allowed`: a guard without its list would shut everybody out.
    Guarded,
    /// Pods of a class whose traffic to services keeps its source. What is in it is not the plan's, as for the next two.
    PodPreserve,
    /// Pods of a class whose traffic to services gets a source of this node.
    PodMasquerade,
    /// Pods of a class that needs rules of its own.
    PodClass(ClassKey),
    /// Frontends whose traffic gets a source of this node, always.
    Masquerade,
    /// ... when it does not come from this node's pods. Where these are not told, nobody's; classes of pods then tell by it what is to a service.
    MasqueradeOutside,
    /// ... when it starts on this node.
    MasqueradeNode,
    /// Node ports, as `Masquerade`.
    NodePortMasquerade,
    /// Node ports, as `MasqueradeNode`.
    NodePortMasqueradeNode,
    /// Endpoints of this node, with themselves as the source.
    Hairpin,
    /// Frontends without a usable endpoint here.
    Drop,
    /// Frontends without a usable endpoint anywhere.
    Reject,
    /// Node ports, as `Drop`.
    NodePortDrop,
    /// Node ports, as `Reject`.
    NodePortReject,
    /// Ports of health-check servers.
    HealthPort,
    /// Cluster IPs. Last of all: what is known as a service address and has no rule yet is refused.
    ClusterIp,
    /// External and load-balancer addresses.
    ExternalIp,
}

impl Role {
    /// All that are there whatever the settings, in order.
    pub const ALL: [Self; 21] = [
        Self::OwnIp,
        Self::Pods,
        Self::KeepSource,
        Self::NodePortIp,
        Self::Allowed,
        Self::Guarded,
        Self::PodPreserve,
        Self::PodMasquerade,
        Self::Masquerade,
        Self::MasqueradeOutside,
        Self::MasqueradeNode,
        Self::NodePortMasquerade,
        Self::NodePortMasqueradeNode,
        Self::Hairpin,
        Self::Drop,
        Self::Reject,
        Self::NodePortDrop,
        Self::NodePortReject,
        Self::HealthPort,
        Self::ClusterIp,
        Self::ExternalIp,
    ];

    const fn suffix(self) -> &'static str {
        match self {
            Self::OwnIp => "OWN-IP",
            Self::Pods => "PODS",
            Self::KeepSource => "KEEP-SOURCE",
            Self::NodePortIp => "NODEPORT-IP",
            Self::Allowed => "ALLOWED",
            Self::Guarded => "GUARDED",
            Self::PodPreserve => "POD-PRESERVE",
            Self::PodMasquerade => "POD-MASQ",
            Self::PodClass(_) => "POD-",
            Self::Masquerade => "MASQ",
            Self::MasqueradeOutside => "MASQ-OUTSIDE",
            Self::MasqueradeNode => "MASQ-NODE",
            Self::NodePortMasquerade => "NODEPORT-MASQ",
            Self::NodePortMasqueradeNode => "NODEPORT-MASQ-NODE",
            Self::Hairpin => "HAIRPIN",
            Self::Drop => "DROP",
            Self::Reject => "REJECT",
            Self::NodePortDrop => "NODEPORT-DROP",
            Self::NodePortReject => "NODEPORT-REJECT",
            Self::HealthPort => "HEALTH-PORT",
            Self::ClusterIp => "CLUSTER-IP",
            Self::ExternalIp => "EXTERNAL-IP",
        }
    }

    /// The kind of its sets.
    pub const fn kind(self) -> SetKind {
        match self {
            Self::OwnIp
            | Self::PodPreserve
            | Self::PodMasquerade
            | Self::PodClass(_)
            | Self::ClusterIp
            | Self::ExternalIp => SetKind::HashIp,
            Self::Pods | Self::KeepSource | Self::NodePortIp => SetKind::HashNet,
            Self::Allowed => SetKind::HashIpPortNet,
            Self::Hairpin => SetKind::HashIpPortIp,
            Self::HealthPort => SetKind::BitmapPort,
            Self::Guarded
            | Self::Masquerade
            | Self::MasqueradeOutside
            | Self::MasqueradeNode
            | Self::Drop
            | Self::Reject => SetKind::HashIpPort,
            Self::NodePortMasquerade
            | Self::NodePortMasqueradeNode
            | Self::NodePortDrop
            | Self::NodePortReject => SetKind::HashNetPort,
        }
    }

    /// Its entries are not the plan's: they are neither staged nor compared.
    pub const fn is_filled_by_others(self) -> bool {
        matches!(
            self,
            Self::PodPreserve | Self::PodMasquerade | Self::PodClass(_)
        )
    }

    /// Entries of it may be owed to several services at once; of the others the claim registry allows one.
    pub const fn is_shared(self) -> bool {
        matches!(
            self,
            Self::ClusterIp | Self::ExternalIp | Self::Hairpin | Self::HealthPort | Self::Allowed
        )
    }
}

/// One set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SetId {
    /// What it is for.
    pub role: Role,
    /// Family of its addresses.
    pub family: Family,
}

impl SetId {
    /// Its name in the kernel.
    pub fn name(self) -> String {
        let (prefix, suffix) = (prefix(self.family), self.role.suffix());
        match self.role {
            Role::PodClass(key) => format!("{prefix}{suffix}{key}"),
            _ => format!("{prefix}{suffix}"),
        }
    }
}

/// All sets of one family start so.
pub const fn prefix(family: Family) -> &'static str {
    match family {
        Family::V4 => "SLUICE-4-",
        Family::V6 => "SLUICE-6-",
    }
}

/// One entry of one set.
pub type Member = (SetId, Entry);

/// What node and settings put into the sets.
pub fn of_node(node: &NodeFacts, settings: &Settings) -> Vec<Member> {
    let mut members = Vec::new();
    for &ip in node.addresses.iter().filter(|ip| !ip.is_loopback()) {
        members.push((
            SetId {
                role: Role::OwnIp,
                family: Family::of(ip),
            },
            Entry::Ip(ip),
        ));
    }
    if let LocalDetector::Cidrs(nets) = &settings.detect_local {
        add_nets(&mut members, Role::Pods, nets);
    }
    add_nets(
        &mut members,
        Role::KeepSource,
        &settings.exclude_destinations,
    );
    match &settings.node_port_addresses {
        NodePortAddresses::All => {}
        NodePortAddresses::Cidrs(nets) => add_nets(&mut members, Role::NodePortIp, nets),
        NodePortAddresses::Primary => {
            let nets: Vec<IpNet> = node.internal_ips.iter().map(|&ip| ip.into()).collect();
            add_nets(&mut members, Role::NodePortIp, &nets);
        }
    }
    members
}

/// The service's entries depend on the addresses of the node, not only on its own plan.
pub fn depends_on_addresses(service: &ServicePlan) -> bool {
    service
        .ports
        .iter()
        .flat_map(|port| &port.frontends)
        .any(|frontend| frontend.source_ranges.is_some())
}

/// What one service puts into the sets. An entry may come more than once.
pub fn of_service(service: &ServicePlan, node: &NodeFacts, settings: &Settings) -> Vec<Member> {
    let mut members = Vec::new();
    for port in &service.ports {
        for frontend in &port.frontends {
            match frontend.address {
                FrontendAddress::Ip(ip) => {
                    add_frontend(&mut members, node, port, frontend, ip);
                    let has_classes = !settings.pod_classes.is_empty();
                    if frontend.masquerade == Masquerade::Never && has_classes {
                        add_for_classes(&mut members, port, frontend, ip);
                    }
                }
                FrontendAddress::NodePort => add_node_port(&mut members, port, frontend),
            }
        }
        add_hairpin(&mut members, node, port);
    }
    if let Some(health) = &service.health_check {
        for family in Family::ALL {
            members.push((
                SetId {
                    role: Role::HealthPort,
                    family,
                },
                Entry::Port(health.port),
            ));
        }
    }
    members
}

fn add_frontend(
    members: &mut Vec<Member>,
    node: &NodeFacts,
    port: &PortPlan,
    frontend: &Frontend,
    ip: IpAddr,
) {
    let protocol = kernel_protocol(port.key.protocol);
    let mut add = |role, entry| {
        members.push((
            SetId {
                role,
                family: port.key.family,
            },
            entry,
        ));
    };
    let itself = Entry::IpPort(ip, protocol, frontend.port);
    add(
        if frontend.kind == FrontendKind::ClusterIp {
            Role::ClusterIp
        } else {
            Role::ExternalIp
        },
        Entry::Ip(ip),
    );
    match frontend.masquerade {
        Masquerade::Never => {}
        Masquerade::Outside => add(Role::MasqueradeOutside, itself),
        Masquerade::FromNode => add(Role::MasqueradeNode, itself),
        Masquerade::Always => add(Role::Masquerade, itself),
    }
    if let Some(ranges) = &frontend.source_ranges {
        add(Role::Guarded, itself);
        for &range in ranges {
            add(
                Role::Allowed,
                Entry::IpPortNet(ip, protocol, frontend.port, range),
            );
        }
        if admits_itself(ranges, node) {
            add(
                Role::Allowed,
                Entry::IpPortNet(ip, protocol, frontend.port, ip.into()),
            );
        }
    }
    if port.pool(frontend.outside).is_empty() {
        add(
            match frontend.refusal {
                Refusal::Drop => Role::Drop,
                Refusal::Reject => Role::Reject,
            },
            itself,
        );
    }
}

/// No detector, so no rule goes by this set but those of classes.
fn add_for_classes(members: &mut Vec<Member>, port: &PortPlan, frontend: &Frontend, ip: IpAddr) {
    let set = SetId {
        role: Role::MasqueradeOutside,
        family: port.key.family,
    };
    let protocol = kernel_protocol(port.key.protocol);
    members.push((set, Entry::IpPort(ip, protocol, frontend.port)));
}

fn add_node_port(members: &mut Vec<Member>, port: &PortPlan, frontend: &Frontend) {
    let mut add = |role| {
        for half in everywhere(port.key.family) {
            let entry = Entry::NetPort(half, kernel_protocol(port.key.protocol), frontend.port);
            members.push((
                SetId {
                    role,
                    family: port.key.family,
                },
                entry,
            ));
        }
    };
    match frontend.masquerade {
        Masquerade::Never | Masquerade::Outside => {}
        Masquerade::FromNode => add(Role::NodePortMasqueradeNode),
        Masquerade::Always => add(Role::NodePortMasquerade),
    }
    if port.pool(frontend.outside).is_empty() {
        add(match frontend.refusal {
            Refusal::Drop => Role::NodePortDrop,
            Refusal::Reject => Role::NodePortReject,
        });
    }
}

/// Only a pod of this node can meet itself here. A slice made by hand may not say the node: then the pod network tells.
fn add_hairpin(members: &mut Vec<Member>, node: &NodeFacts, port: &PortPlan) {
    let set = SetId {
        role: Role::Hairpin,
        family: port.key.family,
    };
    let protocol = kernel_protocol(port.key.protocol);
    for endpoint in port.cluster.iter().chain(port.local.iter()) {
        let ip = endpoint.address.ip();
        if endpoint.local || node.pod_cidrs.iter().any(|net| net.contains(&ip)) {
            members.push((
                set,
                Entry::IpPortIp(ip, protocol, endpoint.address.port(), ip),
            ));
        }
    }
}

/// The kernel's hash:net sets take no prefix of length 0.
fn add_nets(members: &mut Vec<Member>, role: Role, nets: &[IpNet]) {
    for net in nets {
        let family = Family::of_net(net);
        let set = SetId { role, family };
        if net.prefix_len() == 0 {
            members.extend(everywhere(family).map(|half| (set, Entry::Net(half))));
        } else {
            members.push((set, Entry::Net(net.trunc())));
        }
    }
}

/// Every address of a family, as two networks.
fn everywhere(family: Family) -> [IpNet; 2] {
    match family {
        Family::V4 => [Ipv4Addr::UNSPECIFIED, Ipv4Addr::new(128, 0, 0, 0)]
            .map(|ip| IpNet::V4(Ipv4Net::new_assert(ip, 1))),
        Family::V6 => [
            Ipv6Addr::UNSPECIFIED,
            Ipv6Addr::new(0x8000, 0, 0, 0, 0, 0, 0, 0),
        ]
        .map(|ip| IpNet::V6(Ipv6Net::new_assert(ip, 1))),
    }
}
