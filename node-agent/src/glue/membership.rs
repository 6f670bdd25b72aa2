//! What a plan puts into the glue's address sets. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use sluice_kernel::address_set::Entry;
use sluice_service_plan::access::admits_itself;
use sluice_service_plan::model::{Family, LocalDetector, NodeFacts, NodePortAddresses, Settings};
use sluice_service_plan::plan::{
    EndpointNode, Frontend, FrontendAddress, FrontendKind, Masquerade, PortPlan, Refusal,
    ServicePlan,
};

pub use super::role::{Role, SetId, is_filled_by_others, prefix};
use crate::family::kernel_protocol;

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
    add_nets(&mut members, Role::Excluded, &settings.ipvs.excluded);
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
        add_hairpin(&mut members, port);
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

/// Only a pod of this node can meet itself here. A slice made by hand may not say the node: then it may be this one.
fn add_hairpin(members: &mut Vec<Member>, port: &PortPlan) {
    let set = SetId {
        role: Role::Hairpin,
        family: port.key.family,
    };
    let protocol = kernel_protocol(port.key.protocol);
    for endpoint in port.cluster.iter().chain(port.local.iter()) {
        if endpoint.node != EndpointNode::Another {
            let ip = endpoint.address.ip();
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
