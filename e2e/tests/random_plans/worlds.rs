//! Random clusters around the lab's node: few names, addresses and ports, so that they meet often.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use sluice_e2e::lab::places::{
    A1, A2, A3, B1, B2, CLIENT, NODE, NODE_SECOND, Place, REMOTE_NODE, SERVED_PORTS,
};
use sluice_e2e::packets::build::{
    EndpointBuilder, NODE_NAME, REMOTE_NODE_NAME, REMOTE_ZONE, ZONE, cluster_ip,
    cluster_pod_networks, draining, ending, network, node_pod_networks, only, outside_ip, ready,
    service, unready,
};
use sluice_service_plan::model::{
    EndpointSlice, EndpointWeight, Family, LocalDetector, NodePortAddresses, ObjectName, Protocol,
    Service, ServicePort, ServiceType, Settings, SlicePort, TrafficPolicy,
};

const SERVICES: [&str; 4] = ["a", "b", "c", "d"];
const SLICES: [&str; 8] = ["s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8"];
const PORT_NAMES: [&str; 3] = ["", "", "x"];
pub(crate) const PORTS: [u16; 2] = [80, 443];
pub(crate) const NODE_PORTS: [u16; 2] = [30080, 30081];
/// Everybody who may be an endpoint.
pub(crate) const ENDPOINTS: [Place; 7] = [A1, A2, A3, B1, B2, NODE, REMOTE_NODE];

/// What the agent is told.
#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) settings: Settings,
    pub(crate) services: Vec<Service>,
    pub(crate) slices: Vec<EndpointSlice>,
}

/// One event.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    Service(Service),
    NoService(ObjectName),
    Slice(EndpointSlice),
    NoSlice(ObjectName),
    Settings(Settings),
}

impl World {
    pub(crate) fn change(&mut self, change: &Change) {
        match change.clone() {
            Change::Service(service) => {
                self.services.retain(|other| other.name != service.name);
                self.services.push(service);
            }
            Change::NoService(name) => self.services.retain(|other| other.name != name),
            Change::Slice(slice) => {
                self.slices.retain(|other| other.name != slice.name);
                self.slices.push(slice);
            }
            Change::NoSlice(name) => self.slices.retain(|other| other.name != name),
            Change::Settings(settings) => self.settings = settings,
        }
    }
}

pub(crate) fn worlds() -> impl Strategy<Value = World> {
    let services = prop::collection::vec(services(), 2..6);
    let slices = prop::collection::vec(slices(), 6..12);
    (settings(), services, slices).prop_map(|(settings, services, slices)| {
        let mut world = World {
            settings,
            services: Vec::new(),
            slices: Vec::new(),
        };
        let services = services.into_iter().map(Change::Service);
        services
            .chain(slices.into_iter().map(Change::Slice))
            .for_each(|change| world.change(&change));
        world
    })
}

pub(crate) fn changes() -> impl Strategy<Value = Change> {
    let name = |list: &'static [&str]| select(list).prop_map(object_name);
    prop_oneof![
        4 => services().prop_map(Change::Service),
        1 => name(&SERVICES).prop_map(Change::NoService),
        4 => slices().prop_map(Change::Slice),
        1 => name(&SLICES).prop_map(Change::NoSlice),
        1 => settings().prop_map(Change::Settings),
    ]
}

fn object_name(name: &str) -> ObjectName {
    ObjectName {
        name: name.into(),
        ..service("").build().name
    }
}

/// At most two of a list.
fn some<T: Clone + std::fmt::Debug + 'static>(list: Vec<T>) -> impl Strategy<Value = Vec<T>> {
    subsequence(list, 0..=2)
}

fn cluster_ips() -> impl Strategy<Value = Vec<IpAddr>> {
    let one = |family| (1..=2_u8).prop_map(move |host| cluster_ip(family, host));
    prop_oneof![
        4 => one(Family::V4).prop_map(|ip| vec![ip]),
        2 => one(Family::V6).prop_map(|ip| vec![ip]),
        4 => (one(Family::V4), one(Family::V6)).prop_map(|(v4, v6)| vec![v4, v6]),
    ]
}

/// Addresses outside; one of them the node holds itself.
fn outside_ips() -> Vec<IpAddr> {
    let of = |family| {
        [
            outside_ip(family, 1),
            outside_ip(family, 2),
            NODE_SECOND.ip(family),
        ]
    };
    Family::ALL.into_iter().flat_map(of).collect()
}

fn ranges() -> impl Strategy<Value = Vec<IpNet>> {
    let of = |family: Family| {
        let all = if family == Family::V4 { 24 } else { 64 };
        [
            only(CLIENT.ip(family)),
            only(A1.ip(family)),
            network(NODE.ip(family), all),
            network(outside_ip(family, 0), all),
            network(NODE.ip(family), 0),
        ]
    };
    some(Family::ALL.into_iter().flat_map(of).collect())
}

fn policies() -> impl Strategy<Value = TrafficPolicy> {
    select(vec![
        TrafficPolicy::Cluster,
        TrafficPolicy::Cluster,
        TrafficPolicy::Local,
    ])
}

fn protocols() -> impl Strategy<Value = Protocol> {
    select(vec![
        Protocol::Tcp,
        Protocol::Tcp,
        Protocol::Udp,
        Protocol::Sctp,
    ])
}

fn service_ports() -> impl Strategy<Value = ServicePort> {
    let node_port = prop::option::of(select(&NODE_PORTS[..]));
    (
        select(&PORT_NAMES[..]),
        protocols(),
        select(&PORTS[..]),
        node_port,
    )
        .prop_map(|(name, protocol, port, node_port)| ServicePort {
            name: name.into(),
            protocol,
            port,
            node_port,
        })
}

fn services() -> impl Strategy<Value = Service> {
    let kind = prop_oneof![
        1 => Just(ServiceType::ClusterIp),
        2 => Just(ServiceType::NodePort),
        4 => Just(ServiceType::LoadBalancer),
    ];
    let addresses = (
        cluster_ips(),
        some(outside_ips()),
        some(outside_ips()),
        ranges(),
    );
    let affinity = select(vec![None, None, None, Some(60), Some(10_800)]);
    let ports = prop::collection::vec(service_ports(), 1..4).prop_map(|mut ports| {
        // The API server lets no two ports of one service have one name and protocol.
        ports.sort_by(|a, b| (&a.name, a.protocol).cmp(&(&b.name, b.protocol)));
        ports.dedup_by(|a, b| (&a.name, a.protocol) == (&b.name, b.protocol));
        ports
    });
    let identity = (select(&SERVICES[..]), 0..3_i64);
    (
        identity,
        kind,
        addresses,
        policies(),
        policies(),
        affinity,
        ports,
    )
        .prop_map(
            |(
                (name, created),
                kind,
                addresses,
                internal_policy,
                external_policy,
                affinity,
                ports,
            )| {
                let (cluster_ips, external_ips, load_balancer_ips, source_ranges) = addresses;
                Service {
                    created,
                    kind,
                    cluster_ips,
                    external_ips,
                    load_balancer_ips,
                    source_ranges,
                    internal_policy,
                    external_policy,
                    affinity_seconds: affinity,
                    ports,
                    ..service(name).build()
                }
            },
        )
}

fn endpoints() -> impl Strategy<Value = EndpointBuilder> {
    let states: Vec<fn(Place) -> EndpointBuilder> = vec![
        ready,
        ready,
        ready,
        |place| ready(place).terminating(),
        draining,
        unready,
        ending,
    ];
    let hint = prop::option::of(any::<bool>());
    (
        select(&ENDPOINTS[..]),
        select(states),
        hint,
        prop::bool::weighted(0.1),
    )
        .prop_map(|(place, state, hint, nowhere)| {
            let endpoint = match hint {
                // Mostly such as a control plane gives.
                Some(true) if ENDPOINTS[..3].contains(&place) => state(place).for_zone(ZONE),
                Some(true) => state(place).for_zone(ZONE).for_zone(REMOTE_ZONE),
                Some(false) => state(place).for_node(NODE_NAME).for_node(REMOTE_NODE_NAME),
                None => state(place),
            };
            if nowhere {
                endpoint.nowhere()
            } else {
                endpoint
            }
        })
}

/// Most ports that a service may have lead somewhere: chance alone would seldom give that.
fn slices() -> impl Strategy<Value = EndpointSlice> {
    let names = Protocol::ALL.map(|protocol| ["", "x"].map(|name| (name, protocol)));
    let ports = subsequence(names.concat(), 3..=6);
    (
        select(&SLICES[..]),
        select(&SERVICES[..]),
        select(&[Family::V4, Family::V4, Family::V6][..]),
        (ports, select(&SERVED_PORTS[..])),
        prop::collection::vec(endpoints(), 1..4),
    )
        .prop_map(|(name, owner, family, (ports, port), endpoints)| {
            let ports = ports.into_iter().map(|(name, protocol)| SlicePort {
                name: name.into(),
                protocol,
                port,
            });
            EndpointSlice {
                name: object_name(name),
                ports: ports.collect(),
                ..service(owner).slice(family, &endpoints)
            }
        })
}

fn settings() -> impl Strategy<Value = Settings> {
    let detector = select(vec![
        LocalDetector::None,
        LocalDetector::Cidrs(cluster_pod_networks()),
        LocalDetector::Cidrs(node_pod_networks()),
        LocalDetector::BridgeInterface("cni0".into()),
        LocalDetector::InterfaceNamePrefix("cni".into()),
    ]);
    let both = |place: Place| Family::ALL.map(|family| only(place.ip(family)));
    let served = select(vec![
        NodePortAddresses::All,
        NodePortAddresses::All,
        NodePortAddresses::Primary,
        NodePortAddresses::Cidrs([both(NODE_SECOND), both(A3)].concat()),
        NodePortAddresses::Cidrs(vec![network([127, 0, 0, 1].into(), 8)]),
    ]);
    let excluded = some([both(A1), both(B1), both(A2)].concat());
    let source_nat = prop::option::weighted(0.2, Just(both(NODE_SECOND).to_vec()));
    let weights =
        (select(vec![ZONE, REMOTE_ZONE]), 1..=2_u16).prop_map(|(zone, weight)| EndpointWeight {
            zones: vec![Arc::from(zone)],
            nodes: Vec::new(),
            weight,
        });
    (
        (detector, prop::bool::weighted(0.3), excluded, source_nat),
        (
            served,
            any::<bool>(),
            any::<bool>(),
            select(vec![14_u8, 14, 5]),
        ),
        prop::collection::vec(weights, 0..2),
    )
        .prop_map(|(masquerade, node_ports, endpoint_weights)| {
            let (detect_local, masquerade_all, exclude_destinations, source_nat) = masquerade;
            let (node_port_addresses, localhost_node_ports, random_fully, mark_bit) = node_ports;
            Settings {
                detect_local,
                masquerade_all,
                exclude_destinations,
                snat_addresses: source_nat.unwrap_or_default(),
                random_fully,
                mark_bit,
                node_port_addresses,
                localhost_node_ports,
                endpoint_weights,
                ..Settings::default()
            }
        })
}
