//! A second opinion: the verdict read off the objects themselves, packet by packet, without plans.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use sluice_service_plan::model::{
    AddressType, LocalDetector, NodePortAddresses, PodAction, Service, ServicePort, ServiceType,
    SliceEndpoint, TrafficPolicy,
};
use sluice_service_plan::packet::{Origin, Packet};

use crate::random::World;

/// A verdict; endpoints with "is masqueraded".
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Opinion {
    Balance(BTreeMap<SocketAddr, bool>),
    Reject,
    Drop,
    NotOurs,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Cluster,
    External,
    Balancer,
    NodePort,
}

pub(crate) fn opinion(world: &World, packet: &Packet) -> Opinion {
    let to = packet.destination.ip();
    let loopback = to.is_ipv4() && to.is_loopback();
    if loopback && world.settings.localhost_node_ports && packet.origin != Origin::Node {
        return Opinion::Drop;
    }
    let mut services: Vec<&Service> = world.services.values().filter(|one| ours(one)).collect();
    services.sort_by_key(|one| (one.created, one.name.clone()));
    let matched = find(&services, packet, false).or_else(|| {
        if is_node_port_address(world, to) {
            find(&services, packet, true)
        } else {
            None
        }
    });
    if let Some((service, port, kind)) = matched {
        return at_port(world, packet, service, port, kind);
    }
    // An address is closed where a service holds it as its cluster IP, with whichever port.
    let listed = services.iter().flat_map(|one| &one.ports);
    let vip = listed.into_iter().any(|port| {
        let destination = SocketAddr::new(to, port.port);
        let protocol = port.protocol;
        let there = Packet {
            destination,
            protocol,
            ..packet.clone()
        };
        matches!(find(&services, &there, false), Some((_, _, Kind::Cluster)))
    });
    if vip && !world.node.addresses.contains(&to) {
        Opinion::Reject
    } else {
        Opinion::NotOurs
    }
}

fn ours(service: &Service) -> bool {
    let label = service
        .labels
        .get("service.kubernetes.io/service-proxy-name");
    !service.cluster_ips.is_empty()
        && service.kind != ServiceType::ExternalName
        && matches!(label.map(String::as_str), None | Some("sluice.dev"))
}

fn find<'w>(
    services: &[&'w Service],
    packet: &Packet,
    on_node: bool,
) -> Option<(&'w Service, &'w ServicePort, Kind)> {
    let to = packet.destination;
    for service in services {
        if !service
            .cluster_ips
            .iter()
            .any(|one| one.is_ipv4() == to.is_ipv4())
        {
            continue;
        }
        let mut ports: Vec<_> = service
            .ports
            .iter()
            .filter(|one| one.protocol == packet.protocol)
            .collect();
        ports.sort_by_key(|one| &one.name);
        for port in ports {
            let kinds = [
                (Kind::Cluster, &service.cluster_ips),
                (Kind::External, &service.external_ips),
                (Kind::Balancer, &service.load_balancer_ips),
            ];
            for (kind, list) in kinds {
                if !on_node && port.port == to.port() && list.contains(&to.ip()) {
                    return Some((service, port, kind));
                }
            }
            let typed = matches!(
                service.kind,
                ServiceType::NodePort | ServiceType::LoadBalancer
            );
            if on_node && typed && port.node_port == Some(to.port()) {
                return Some((service, port, Kind::NodePort));
            }
        }
    }
    None
}

fn is_node_port_address(world: &World, ip: IpAddr) -> bool {
    let selected = match &world.settings.node_port_addresses {
        NodePortAddresses::All => true,
        NodePortAddresses::Cidrs(nets) => nets.iter().any(|net| net.contains(&ip)),
        NodePortAddresses::Primary => world.node.internal_ips.contains(&ip),
    };
    let may = !ip.is_loopback() || (ip.is_ipv4() && world.settings.localhost_node_ports);
    selected && may && world.node.addresses.contains(&ip)
}

fn at_port(
    world: &World,
    packet: &Packet,
    service: &Service,
    port: &ServicePort,
    kind: Kind,
) -> Opinion {
    if kind == Kind::Balancer && !admitted(world, packet, service) {
        return Opinion::Drop;
    }
    let reachable = service.kind != ServiceType::ClusterIp || !service.external_ips.is_empty();
    let local = match kind {
        Kind::Cluster => service.internal_policy == TrafficPolicy::Local,
        _ => reachable && service.external_policy == TrafficPolicy::Local,
    };
    let pod = is_pod(world, packet);
    let inside = pod || packet.origin == Origin::Node;
    let endpoints = endpoints(world, packet, service, port);
    let anywhere = usable(&endpoints);
    let pool = if local && (kind == Kind::Cluster || !inside) {
        usable(
            &endpoints
                .into_iter()
                .filter(|(_, one)| here(world, one))
                .collect(),
        )
    } else {
        topology(world, anywhere.clone())
    };
    if pool.is_empty() {
        return if anywhere.is_empty() {
            Opinion::Reject
        } else {
            Opinion::Drop
        };
    }
    let masquerade = match kind {
        Kind::Cluster => {
            world.settings.masquerade_all
                || (world.settings.detect_local != LocalDetector::None && !pod)
        }
        _ => !local || packet.origin == Origin::Node,
    };
    let excluded = |ip: IpAddr| {
        let mut nets = world.settings.exclude_destinations.iter();
        !packet.source.is_loopback() && nets.any(|net| net.contains(&ip))
    };
    let class = world
        .settings
        .pod_classes
        .iter()
        .find(|one| packet.class.as_deref() == Some(&*one.name))
        .filter(|one| one.out_interface.is_none());
    let translated = |ip: IpAddr| {
        if ip == packet.source {
            return true;
        }
        let wanted = match class.map(|one| &one.action) {
            None => masquerade,
            Some(PodAction::Preserve) => false,
            Some(PodAction::Masquerade | PodAction::Snat(_)) => true,
        };
        wanted && !excluded(ip)
    };
    let judged = |at: SocketAddr| (at, translated(at.ip()));
    Opinion::Balance(pool.into_keys().map(judged).collect())
}

fn admitted(world: &World, packet: &Packet, service: &Service) -> bool {
    let v4 = packet.destination.is_ipv4();
    let ranges: Vec<_> = service
        .source_ranges
        .iter()
        .filter(|net| net.addr().is_ipv4() == v4)
        .collect();
    let has = |ip: &IpAddr| ranges.iter().any(|net| net.contains(ip));
    ranges.is_empty()
        || has(&packet.source)
        || (packet.source == packet.destination.ip() && world.node.addresses.iter().any(has))
}

fn is_pod(world: &World, packet: &Packet) -> bool {
    let on = match &packet.origin {
        Origin::Interface(name) => name.as_str(),
        Origin::Node | Origin::Elsewhere => "",
    };
    match &world.settings.detect_local {
        LocalDetector::None => false,
        LocalDetector::Cidrs(nets) => nets.iter().any(|net| net.contains(&packet.source)),
        LocalDetector::BridgeInterface(name) => name == on,
        LocalDetector::InterfaceNamePrefix(prefix) => on.starts_with(prefix.as_str()),
    }
}

type Endpoints = BTreeMap<SocketAddr, SliceEndpoint>;

fn endpoints(world: &World, packet: &Packet, service: &Service, port: &ServicePort) -> Endpoints {
    let family = if packet.destination.is_ipv4() {
        AddressType::Ipv4
    } else {
        AddressType::Ipv6
    };
    let mut told: BTreeMap<SocketAddr, Vec<&SliceEndpoint>> = BTreeMap::new();
    for slice in world.slices.values() {
        if slice.headless || slice.address_type != family || slice.service != service.name.name {
            continue;
        }
        for one in &slice.endpoints {
            for number in &slice.ports {
                if number.name != port.name
                    || number.protocol != port.protocol
                    || one.address.is_ipv4() != packet.destination.is_ipv4()
                {
                    continue;
                }
                let at = SocketAddr::new(one.address, number.port);
                told.entry(at).or_default().push(one);
            }
        }
    }
    told.into_iter()
        .filter_map(|(at, descriptions)| Some((at, merge(world, &descriptions)?)))
        .collect()
}

/// All descriptions of one endpoint, at once: those that terminate count where there are no others. Of those that count: the ready one,
/// else the local one, else one whose node is told, else the first; each state that any of them has.
fn merge(world: &World, descriptions: &[&SliceEndpoint]) -> Option<SliceEndpoint> {
    let all_terminate = descriptions.iter().all(|one| one.terminating);
    let counts = |one: &&&SliceEndpoint| one.terminating == all_terminate;
    let place = |one: &&&SliceEndpoint| (!here(world, one), one.node.is_none());
    let rank = |one: &&&SliceEndpoint| (!one.ready, place(one));
    let mut best = (*descriptions.iter().filter(counts).min_by_key(rank)?).clone();
    best.serving = descriptions.iter().filter(counts).any(|one| one.serving);
    let placed = descriptions.iter().filter(counts).min_by_key(place)?;
    best.node.clone_from(&placed.node);
    Some(best)
}

fn here(world: &World, endpoint: &SliceEndpoint) -> bool {
    endpoint.node.as_ref() == Some(&world.node.name)
}

fn usable(endpoints: &Endpoints) -> Endpoints {
    let only = |keep: fn(&SliceEndpoint) -> bool| -> Endpoints {
        endpoints
            .iter()
            .filter(|(_, one)| keep(one))
            .map(|(at, one)| (*at, one.clone()))
            .collect()
    };
    let ready = only(|one| one.ready);
    if ready.is_empty() {
        only(|one| one.serving && one.terminating)
    } else {
        ready
    }
}

fn topology(world: &World, usable: Endpoints) -> Endpoints {
    if !usable.values().all(|one| one.ready) {
        return usable;
    }
    for by_node in [true, false] {
        let hints = |one: &SliceEndpoint| -> Vec<Arc<str>> {
            let hints = one.hints.as_deref().cloned().unwrap_or_default();
            if by_node { hints.nodes } else { hints.zones }
        };
        let ours = if by_node {
            Some(&world.node.name)
        } else {
            world.node.zone.as_ref()
        };
        let Some(ours) = ours else { continue };
        if usable.values().any(|one| hints(one).is_empty()) {
            continue;
        }
        if usable.values().any(|one| hints(one).contains(ours)) {
            return usable
                .into_iter()
                .filter(|(_, one)| hints(one).contains(ours))
                .collect();
        }
    }
    usable
}
