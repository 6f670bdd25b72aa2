//! What rows are about, for lists that name them by rule.

use std::net::IpAddr;

use sluice_e2e::lab::places::{NODE, NODE_LOOPBACK, NODE_SECOND};
use sluice_e2e::packets::Row;
use sluice_e2e::packets::build::cluster_ip;
use sluice_e2e::packets::row::{Expect, Source};
use sluice_service_plan::model::{Family, LocalDetector, NodePortAddresses};

pub(crate) fn family(row: &Row) -> Family {
    Family::of(row.packet.to.ip())
}

/// To the node's own address.
pub(crate) fn to_node(row: &Row) -> bool {
    let own = [NODE, NODE_SECOND, NODE_LOOPBACK];
    own.map(|place| place.ip(family(row)))
        .contains(&row.packet.to.ip())
}

/// To a cluster IP of one of the scene's services.
pub(crate) fn to_cluster_ip(row: &Row) -> bool {
    let mut services = row.scene.services.iter();
    services.any(|one| one.cluster_ips.contains(&row.packet.to.ip()))
}

/// To an address of the networks that cluster IPs are of.
pub(crate) fn in_service_network(row: &Row) -> bool {
    let same = |one: IpAddr, other: IpAddr| match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => one.octets()[..2] == other.octets()[..2],
        (IpAddr::V6(one), IpAddr::V6(other)) => one.octets()[..14] == other.octets()[..14],
        _ => false,
    };
    same(row.packet.to.ip(), cluster_ip(family(row), 0))
}

/// To a cluster IP, on a port that its service does not have.
pub(crate) fn unlisted_port_of_a_cluster_ip(row: &Row) -> bool {
    let packet = &row.packet;
    let listed = row.scene.services.iter().any(|service| {
        let mut ports = service.ports.iter();
        service.cluster_ips.contains(&packet.to.ip())
            && ports.any(|port| (port.protocol, port.port) == (packet.protocol, packet.to.port()))
    });
    to_cluster_ip(row) && row.expect == Expect::Rejected && !listed
}

/// Node ports are told networks, and none of the packet's family.
pub(crate) fn no_node_port_address_of_the_family(row: &Row) -> bool {
    let NodePortAddresses::Cidrs(cidrs) = &row.scene.settings.node_port_addresses else {
        return false;
    };
    cidrs.iter().all(|cidr| Family::of_net(cidr) != family(row))
}

/// The detector is told networks, and none of the packet's family.
pub(crate) fn no_pod_network_of_the_family(row: &Row) -> bool {
    let LocalDetector::Cidrs(cidrs) = &row.scene.settings.detect_local else {
        return false;
    };
    cidrs.iter().all(|cidr| Family::of_net(cidr) != family(row))
}

/// Its endpoints see the node.
pub(crate) fn masqueraded(row: &Row) -> bool {
    matches!(
        row.expect,
        Expect::Reaches(_, Source::Masqueraded) | Expect::Sticks(_, Source::Masqueraded)
    )
}
