//! Plain objects that tests vary by struct update.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use sluice_service_plan::catalog::Catalog;
use sluice_service_plan::model::{
    AddressType, EndpointSlice, NodeFacts, ObjectName, Protocol, Service, ServicePort, ServiceType,
    Settings, SliceEndpoint, SlicePort,
};
use sluice_service_plan::plan::{Endpoint, Plan, PortPlan, ServicePlan};

/// The node that tests plan for.
pub(crate) const NODE: &str = "node-a";
/// Its zone.
pub(crate) const ZONE: &str = "zone-1";
/// Its address.
pub(crate) const NODE_IP: &str = "192.0.2.1";

pub(crate) fn name(text: &str) -> ObjectName {
    ObjectName::new("ns", text)
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(crate) fn ips(list: &[&str]) -> Vec<IpAddr> {
    list.iter().copied().map(ip).collect()
}

pub(crate) fn nets(list: &[&str]) -> Vec<IpNet> {
    list.iter().map(|text| text.parse().unwrap()).collect()
}

pub(crate) fn node() -> NodeFacts {
    NodeFacts {
        name: NODE.into(),
        zone: Some(ZONE.into()),
        internal_ips: ips(&[NODE_IP, "2001:db8::1"]),
        addresses: ips(&["127.0.0.1", "::1", NODE_IP, "198.51.100.1", "2001:db8::1"]),
        pod_cidrs: nets(&["10.1.0.0/24"]),
        being_deleted: false,
        health_port: None,
    }
}

/// `ClusterIP` service with address 10.96.0.1 and the unnamed TCP port 80.
pub(crate) fn service(of: &str) -> Service {
    Service {
        created: 1_700_000_000,
        cluster_ips: ips(&["10.96.0.1"]),
        ports: vec![port("", 80)],
        ..Service::new(name(of))
    }
}

/// `LoadBalancer` service, dual stack, with every kind of frontend: node port 30080, health-check port 31000.
pub(crate) fn load_balancer(of: &str) -> Service {
    Service {
        kind: ServiceType::LoadBalancer,
        cluster_ips: ips(&["10.96.0.1", "fd00::1"]),
        external_ips: ips(&["203.0.113.1", "2001:db8:e::1"]),
        load_balancer_ips: ips(&["203.0.113.2", "2001:db8:f::1"]),
        health_check_port: Some(31_000),
        ports: vec![ServicePort {
            node_port: Some(30_080),
            ..port("", 80)
        }],
        ..service(of)
    }
}

pub(crate) fn port(of: &str, number: u16) -> ServicePort {
    ServicePort {
        name: of.into(),
        protocol: Protocol::Tcp,
        port: number,
        node_port: None,
    }
}

/// IPv4 slice with the unnamed TCP port 8080.
pub(crate) fn slice(of: &str, service: &str, endpoints: Vec<SliceEndpoint>) -> EndpointSlice {
    EndpointSlice {
        name: name(of),
        service: service.into(),
        headless: false,
        address_type: AddressType::Ipv4,
        ports: vec![slice_port("", 8080)],
        endpoints,
    }
}

pub(crate) fn slice_port(of: &str, number: u16) -> SlicePort {
    SlicePort {
        name: of.into(),
        protocol: Protocol::Tcp,
        port: number,
    }
}

/// Ready endpoint on another node.
pub(crate) fn remote(address: &str) -> SliceEndpoint {
    SliceEndpoint {
        node: Some("node-b".into()),
        zone: Some("zone-2".into()),
        ..SliceEndpoint::new(ip(address))
    }
}

/// Ready endpoint on our node.
pub(crate) fn local(address: &str) -> SliceEndpoint {
    SliceEndpoint {
        node: Some(NODE.into()),
        zone: Some(ZONE.into()),
        ..remote(address)
    }
}

pub(crate) fn terminating(endpoint: SliceEndpoint) -> SliceEndpoint {
    SliceEndpoint {
        ready: false,
        terminating: true,
        ..endpoint
    }
}

/// The plan of these objects.
pub(crate) fn plan_with(
    settings: Settings,
    services: &[Service],
    slices: &[EndpointSlice],
) -> Plan {
    let mut catalog = Catalog::new(node(), settings);
    services
        .iter()
        .cloned()
        .for_each(|one| catalog.set_service(one));
    slices
        .iter()
        .cloned()
        .for_each(|one| catalog.set_slice(one));
    catalog.take_changes();
    catalog.plan().clone()
}

/// The plan of these objects with default settings.
pub(crate) fn plan(services: &[Service], slices: &[EndpointSlice]) -> Plan {
    plan_with(Settings::default(), services, slices)
}

/// The plan of one service.
pub(crate) fn plan_of<'p>(plan: &'p Plan, service: &str) -> Option<&'p Arc<ServicePlan>> {
    plan.services.get(&name(service))
}

/// The only port of the only service.
pub(crate) fn only_port(plan: &Plan) -> &PortPlan {
    let ports: Vec<_> = plan.services.values().flat_map(|one| &one.ports).collect();
    assert_eq!(ports.len(), 1, "{ports:?}");
    ports[0]
}

/// A pool in words.
pub(crate) fn addresses(pool: &[Endpoint]) -> Vec<String> {
    pool.iter().map(|one| one.address.to_string()).collect()
}
