//! Random clusters: few names, addresses and ports, so that they meet often.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use sluice_service_plan::catalog::Catalog;
use sluice_service_plan::model::{
    AddressType, EndpointSlice, EndpointWeight, Hints, LocalDetector, NodeFacts, NodePortAddresses,
    ObjectName, PodAction, PodClass, Protocol, Service, ServicePort, ServiceType, Settings,
    SliceEndpoint, SlicePort, TrafficPolicy,
};
use sluice_service_plan::packet::{Origin, Packet};

use crate::objects::{ip, ips, name, nets};

const SERVICES: [&str; 3] = ["a", "b", "c"];
const SLICES: [&str; 9] = ["s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9"];
const CLUSTER_IPS: [&str; 4] = ["10.96.0.1", "10.96.0.2", "fd00::1", "fd00::2"];
const EXTERNAL_IPS: [&str; 5] = [
    "203.0.113.1",
    "203.0.113.2",
    "2001:db8:e::1",
    "192.0.2.1",
    "10.96.0.1",
];
const NODE_IPS: [&str; 6] = [
    "127.0.0.1",
    "::1",
    "192.0.2.1",
    "192.0.2.2",
    "2001:db8::1",
    "10.1.0.1",
];
const ENDPOINTS_V4: [&str; 4] = ["10.1.0.2", "10.1.0.3", "10.1.1.2", "fd01::9"];
const ENDPOINTS_V6: [&str; 3] = ["fd01::2", "fd01:1::2", "10.1.1.9"];
const RANGES: [&str; 6] = [
    "198.18.0.0/24",
    "192.0.2.0/24",
    "2001:db8:c::/64",
    "0.0.0.0/0",
    "::/0",
    "203.0.113.0/24",
];
const PORTS: [u16; 5] = [80, 80, 80, 443, 30_000];
const NODE_PORTS: [u16; 2] = [30_000, 30_001];
const NODES: [&str; 4] = ["node-a", "node-b", "node-a", "node-c"];
const CLASSES: [&str; 2] = ["keep", "hide"];
const ZONES: [&str; 2] = ["zone-1", "zone-2"];

const DESTINATIONS: [&str; 8] = [
    "10.96.0.1",
    "10.96.0.1",
    "10.96.0.2",
    "203.0.113.1",
    "203.0.113.2",
    "192.0.2.1",
    "192.0.2.1",
    "127.0.0.1",
];
const DESTINATIONS_V6: [&str; 5] = ["fd00::1", "fd00::2", "2001:db8:e::1", "2001:db8::1", "::1"];

/// What a planner knows, as plainly as can be.
#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) node: NodeFacts,
    pub(crate) settings: Settings,
    pub(crate) services: BTreeMap<ObjectName, Service>,
    pub(crate) slices: BTreeMap<ObjectName, EndpointSlice>,
}

impl World {
    /// A catalog that learns all of it at once, in an order of its own.
    pub(crate) fn catalog(&self) -> Catalog {
        let mut catalog = Catalog::new(self.node.clone(), self.settings.clone());
        self.services
            .values()
            .rev()
            .for_each(|one| catalog.set_service(one.clone()));
        self.slices
            .values()
            .rev()
            .for_each(|one| catalog.set_slice(one.clone()));
        catalog.take_changes();
        catalog
    }
}

pub(crate) fn worlds() -> impl Strategy<Value = World> {
    let services = prop::collection::vec(services(), 2..8);
    let slices = prop::collection::vec(slices(), 8..20);
    (nodes(), settings(), services, slices).prop_map(|(node, settings, services, slices)| World {
        node,
        settings,
        services: services
            .into_iter()
            .map(|one| (one.name.clone(), one))
            .collect(),
        slices: slices
            .into_iter()
            .map(|one| (one.name.clone(), one))
            .collect(),
    })
}

pub(crate) fn service_names() -> impl Strategy<Value = ObjectName> {
    select(&SERVICES[..]).prop_map(name)
}

pub(crate) fn slice_names() -> impl Strategy<Value = ObjectName> {
    select(&SLICES[..]).prop_map(name)
}

fn some_ips(list: &'static [&'static str]) -> impl Strategy<Value = Vec<IpAddr>> {
    subsequence(list, 0..=2).prop_map(|list| ips(&list))
}

/// Seldom none, as the cluster IPs of services are.
fn mostly_some_ips(list: &'static [&'static str]) -> impl Strategy<Value = Vec<IpAddr>> {
    prop_oneof![
        9 => subsequence(list, 1..=2).prop_map(|list| ips(&list)),
        1 => Just(Vec::new()),
    ]
}

fn some_nets(list: &'static [&'static str]) -> impl Strategy<Value = Vec<IpNet>> {
    subsequence(list, 0..=2).prop_map(|list| nets(&list))
}

fn some_names(list: &'static [&'static str]) -> impl Strategy<Value = Vec<Arc<str>>> {
    subsequence(list, 0..=2).prop_map(|list| list.into_iter().map(Arc::from).collect())
}

fn hint_names(list: &'static [&'static str]) -> impl Strategy<Value = Vec<Arc<str>>> {
    prop_oneof![3 => subsequence(list, 1..=2), 1 => Just(Vec::new())]
        .prop_map(|list| list.into_iter().map(Arc::from).collect())
}

fn protocols() -> impl Strategy<Value = Protocol> {
    prop_oneof![6 => Just(Protocol::Tcp), 1 => Just(Protocol::Udp)]
}

fn port_names() -> impl Strategy<Value = &'static str> {
    prop_oneof![6 => Just(""), 1 => Just("x")]
}

fn policies() -> impl Strategy<Value = TrafficPolicy> {
    select(vec![TrafficPolicy::Cluster, TrafficPolicy::Local])
}

fn service_ports() -> impl Strategy<Value = ServicePort> {
    let node_port = prop::option::of(select(&NODE_PORTS[..]));
    (port_names(), protocols(), select(&PORTS[..]), node_port).prop_map(
        |(name, protocol, port, node_port)| ServicePort {
            name: name.into(),
            protocol,
            port,
            node_port,
        },
    )
}

pub(crate) fn services() -> impl Strategy<Value = Service> {
    let identity = (
        service_names(),
        0..3_i64,
        prop::option::weighted(0.15, select(vec!["", "sluice.dev"])),
    );
    let kind = prop_oneof![
        2 => Just(ServiceType::ClusterIp),
        2 => Just(ServiceType::NodePort),
        4 => Just(ServiceType::LoadBalancer),
        1 => Just(ServiceType::ExternalName),
    ];
    let addresses = (
        mostly_some_ips(&CLUSTER_IPS),
        some_ips(&EXTERNAL_IPS),
        some_ips(&EXTERNAL_IPS),
        some_nets(&RANGES),
    );
    let ports = prop::collection::vec(service_ports(), 1..4).prop_map(|mut ports| {
        // The API server lets no two ports of one service have one name and protocol.
        ports.sort_by(|a, b| (&a.name, a.protocol).cmp(&(&b.name, b.protocol)));
        ports.dedup_by(|a, b| (&a.name, a.protocol) == (&b.name, b.protocol));
        ports
    });
    let health_check_port = prop::option::of(select(vec![31_000, 31_001]));
    let affinity = select(vec![None, Some(10_800)]);
    (
        identity,
        kind,
        addresses,
        policies(),
        policies(),
        affinity,
        health_check_port,
        ports,
    )
        .prop_map(
            |(identity, kind, addresses, internal, external, affinity, check, ports)| {
                let (name, created, label) = identity;
                let (cluster_ips, external_ips, load_balancer_ips, source_ranges) = addresses;
                let proxy_name = |value: &str| {
                    (
                        "service.kubernetes.io/service-proxy-name".to_owned(),
                        value.to_owned(),
                    )
                };
                Service {
                    name,
                    created,
                    labels: label.map(proxy_name).into_iter().collect(),
                    kind,
                    cluster_ips,
                    external_ips,
                    load_balancer_ips,
                    source_ranges,
                    internal_policy: internal,
                    external_policy: external,
                    affinity_seconds: affinity,
                    health_check_port: check,
                    ports,
                }
            },
        )
}

fn endpoints() -> impl Strategy<Value = SliceEndpoint> {
    let address = prop_oneof![
        4 => select(&ENDPOINTS_V4[..]),
        1 => select(&ENDPOINTS_V6[..]),
    ];
    let conditions = select(vec![
        (true, true, false),
        (true, true, false),
        (true, true, false),
        (true, true, true),
        (false, true, true),
        (false, true, false),
        (false, false, true),
    ]);
    let hints = prop::option::weighted(0.9, (hint_names(&ZONES), hint_names(&NODES)));
    let node = prop::option::weighted(0.9, select(&NODES[..]));
    let zone = prop::option::weighted(0.8, select(&ZONES[..]));
    (address, conditions, node, zone, hints).prop_map(
        |(address, (ready, serving, terminating), node, zone, hints)| SliceEndpoint {
            address: ip(address),
            ready,
            serving,
            terminating,
            node: node.map(Arc::from),
            zone: zone.map(Arc::from),
            hints: hints.map(|(zones, nodes)| Box::new(Hints { zones, nodes })),
        },
    )
}

pub(crate) fn slices() -> impl Strategy<Value = EndpointSlice> {
    let address_type = prop_oneof![
        8 => Just(AddressType::Ipv4),
        3 => Just(AddressType::Ipv6),
        1 => Just(AddressType::Fqdn),
    ];
    let port =
        (port_names(), protocols(), select(vec![8080, 9090])).prop_map(|(name, protocol, port)| {
            SlicePort {
                name: name.into(),
                protocol,
                port,
            }
        });
    (
        slice_names(),
        select(&SERVICES[..]),
        prop::bool::weighted(0.1),
        address_type,
        prop::collection::vec(port, 1..3),
        prop::collection::vec(endpoints(), 1..5),
        any::<bool>(),
    )
        .prop_map(
            |(name, service, headless, address_type, ports, mut endpoints, hinted)| {
                // Hints count only where all endpoints have them: chance alone would seldom give that.
                for endpoint in endpoints.iter_mut().filter(|_| !hinted) {
                    endpoint.hints = None;
                }
                EndpointSlice {
                    name,
                    service: service.into(),
                    headless,
                    address_type,
                    ports,
                    endpoints,
                }
            },
        )
}

pub(crate) fn nodes() -> impl Strategy<Value = NodeFacts> {
    let addresses = subsequence(&NODE_IPS[..], 2..=6);
    (
        select(&NODES[..2]),
        prop::option::of(select(&ZONES[..])),
        addresses,
        some_ips(&NODE_IPS),
    )
        .prop_map(|(name, zone, addresses, internal_ips)| NodeFacts {
            name: name.into(),
            zone: zone.map(Arc::from),
            internal_ips,
            addresses: ips(&addresses),
            pod_cidrs: Vec::new(),
            being_deleted: false,
            health_port: None,
        })
}

pub(crate) fn settings() -> impl Strategy<Value = Settings> {
    let detector = select(vec![
        LocalDetector::None,
        LocalDetector::Cidrs(nets(&["10.1.0.0/16", "fd01::/16"])),
        LocalDetector::BridgeInterface("cni0".into()),
        LocalDetector::InterfaceNamePrefix("veth".into()),
    ]);
    let node_port_addresses = select(vec![
        NodePortAddresses::All,
        NodePortAddresses::Cidrs(nets(&["192.0.2.1/32", "127.0.0.0/8"])),
        NodePortAddresses::Primary,
    ]);
    let networks = some_nets(&["192.0.2.1/32", "2001:db8::/32", "172.16.0.0/12"]);
    let actions = prop_oneof![
        Just(PodAction::Preserve),
        Just(PodAction::Masquerade),
        networks.prop_map(PodAction::Snat),
    ];
    let interface = prop::option::of(Just("eth0".to_owned()));
    let classes = (select(&CLASSES[..]), actions, any::<bool>(), interface).prop_map(
        |(name, action, egress, out_interface)| PodClass {
            name: name.into(),
            action,
            egress,
            out_interface,
        },
    );
    let weights =
        (some_names(&ZONES), some_names(&NODES), 0..4_u16).prop_map(|(zones, nodes, weight)| {
            EndpointWeight {
                zones,
                nodes,
                weight,
            }
        });
    (
        detector,
        any::<bool>(),
        some_nets(&["10.1.0.0/24", "fd01:1::/32"]),
        node_port_addresses,
        any::<bool>(),
        prop::collection::vec(weights, 0..3),
        prop::collection::vec(classes, 0..3),
    )
        .prop_map(
            |(
                detect_local,
                all,
                excluded,
                node_port_addresses,
                localhost,
                endpoint_weights,
                pod_classes,
            )| {
                Settings {
                    detect_local,
                    masquerade_all: all,
                    exclude_destinations: excluded,
                    node_port_addresses,
                    localhost_node_ports: localhost,
                    endpoint_weights,
                    pod_classes,
                    ..Settings::default()
                }
            },
        )
}

pub(crate) fn packets() -> impl Strategy<Value = Packet> {
    let sources = [
        "198.18.0.9",
        "192.0.2.1",
        "192.0.2.9",
        "10.1.0.2",
        "203.0.113.1",
        "127.0.0.1",
    ];
    let sources_v6 = ["2001:db8:c::9", "2001:db8::1", "fd01::2", "2001:db8:e::1"];
    let ends = prop_oneof![
        4 => (
            select(sources.to_vec()),
            select(DESTINATIONS.to_vec()),
        ),
        1 => (
            select(sources_v6.to_vec()),
            select(DESTINATIONS_V6.to_vec()),
        ),
    ];
    let origin = select(vec![
        Origin::Node,
        Origin::Elsewhere,
        Origin::Interface("cni0".into()),
        Origin::Interface("veth3".into()),
        Origin::Interface("eth0".into()),
    ]);
    let port = prop_oneof![12 => Just(80), 1 => Just(443), 1 => Just(22), 6 => Just(30_000), 1 => Just(30_001)];
    let class = prop::option::of(select(&CLASSES[..]));
    (ends, protocols(), port, origin, class).prop_map(
        |((source, destination), protocol, port, origin, class)| Packet {
            protocol,
            source: ip(source),
            destination: (ip(destination), port).into(),
            origin,
            class: class.map(Arc::from),
        },
    )
}
