//! How the real kernel spreads new flows over the endpoints of a service: evenly or by weight, in lists of every size, and
//! how many clients it remembers.
//!
//! Nobody serves here. A namespace sends datagrams to a cluster IP, and connection tracking tells where each would go.

// Helpers of tests may fail as tests do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;

use sluice_e2e::lab::Namespace;
use sluice_e2e::packets::build::{PORT, ServiceBuilder, cluster_ip, service};
use sluice_e2e::packets::planes::{LEGACY, NFT, PlaneUnderTest};
use sluice_e2e::packets::row::Scene;
use sluice_kernel::conntrack::{self, Conntrack, ConntrackNetlink, Flow};
use sluice_service_plan::catalog::Catalog;
use sluice_service_plan::model::{
    AddressType, EndpointSlice, EndpointWeight, Family, ObjectName, Protocol, SliceEndpoint,
    SlicePort,
};

/// Datagrams for each endpoint, on average.
const FOR_EACH_ENDPOINT: usize = 20;
/// Datagrams for a small list: 3:2 instead of 1:1 is seen for certain.
const AT_LEAST: usize = 2_000;
/// The first source port. One address has ports enough for the largest list.
const FIRST_PORT: u16 = 20_000;
/// Clients that a service must remember.
const CLIENTS: u32 = 10_000;
const TARGET_PORT: u16 = 8080;
/// Seconds that must pass before connection tracking forgets a datagram: more than a test takes.
const MEMORY: &str = "300";

/// Endpoint number `i` has weight `weights[i % weights.len()]`.
struct Crowd {
    family: Family,
    endpoints: usize,
    weights: &'static [u16],
}

const fn v4(endpoints: usize, weights: &'static [u16]) -> Crowd {
    Crowd {
        family: Family::V4,
        endpoints,
        weights,
    }
}

/// Small ones, both sides of the sizes at which lists change their shape, and large ones.
const CROWDS: [Crowd; 13] = [
    v4(2, &[1]),
    v4(3, &[1]),
    v4(3, &[1, 2, 5]),
    v4(8, &[1]),
    v4(9, &[1]),
    v4(9, &[5, 2, 1]),
    v4(32, &[1]),
    v4(33, &[1]),
    v4(33, &[1, 2, 5]),
    Crowd {
        family: Family::V6,
        ..v4(33, &[1])
    },
    v4(100, &[1]),
    v4(100, &[1, 2, 5]),
    v4(1_000, &[1]),
];

#[test]
fn iptables_legacy_gives_each_endpoint_its_share_of_new_flows() {
    each_endpoint_gets_its_share(&LEGACY);
}

#[test]
fn iptables_nft_gives_each_endpoint_its_share_of_new_flows() {
    each_endpoint_gets_its_share(&NFT);
}

#[test]
fn iptables_legacy_remembers_ten_thousand_clients_of_a_service() {
    every_client_is_remembered(&LEGACY);
}

#[test]
fn iptables_nft_remembers_ten_thousand_clients_of_a_service() {
    every_client_is_remembered(&NFT);
}

#[test]
fn shares_that_are_not_by_weight_are_noticed() {
    let even = vec![AT_LEAST / 3; 3];
    assert!(chi_square(&even, &[1, 1, 1]) < limit(2));
    assert!(chi_square(&even, &[1, 2, 5]) > limit(2));
    // Rules that forget the ones before them: each takes a third, the last all the rest.
    let forgetful = [667, 444, 889];
    assert!(chi_square(&forgetful, &[1, 1, 1]) > limit(2));
}

#[test]
fn the_limit_is_the_quantile_that_tables_give() {
    // For few degrees of freedom the approximation is a little too high, never too low.
    let quantiles = [
        (2, 27.63),
        (8, 42.70),
        (32, 85.23),
        (99, 180.79),
        (999, 1226.04),
    ];
    for (freedom, exact) in quantiles {
        let ratio = limit(freedom) / exact;
        assert!((1.0..1.1).contains(&ratio), "{freedom}: {ratio}");
    }
}

fn each_endpoint_gets_its_share(plane: &PlaneUnderTest) {
    if !plane.runs_here() {
        return;
    }
    let name = plane.name;
    let node = Node::start(plane, |catalog| {
        for (number, crowd) in (1..).zip(&CROWDS) {
            crowd.enter(catalog, number, |service| service);
        }
    });
    for (number, crowd) in (1..).zip(&CROWDS) {
        let to = cluster_ip(crowd.family, number);
        let datagrams = AT_LEAST.max(crowd.endpoints * FOR_EACH_ENDPOINT);
        let ports = (FIRST_PORT..).take(datagrams);
        let client = client(crowd.family, 0);
        node.send(ports.map(move |port| SocketAddr::new(client, port)), to);
        let flows = node.flows(to);
        assert_eq!(
            flows.len(),
            datagrams,
            "{name}, {crowd}: some datagrams left no flow"
        );
        crowd.judge(name, number, &flows);
    }
}

fn every_client_is_remembered(plane: &PlaneUnderTest) {
    if !plane.runs_here() {
        return;
    }
    let name = plane.name;
    let crowd = v4(2, &[1]);
    let node = Node::start(plane, |catalog| {
        crowd.enter(catalog, 1, |service| service.affinity(10_800));
    });
    let to = cluster_ip(Family::V4, 1);
    let mut visits = Vec::new();
    for port in [FIRST_PORT, FIRST_PORT + 1] {
        let sources = (0..CLIENTS).map(move |n| SocketAddr::new(client(Family::V4, n), port));
        node.send(sources, to);
        let flows = node.flows(to).into_iter();
        let of_this_visit = flows.filter(|flow| flow.original.source_port == port);
        visits.push(of_this_visit.collect::<Vec<Flow>>());
    }
    for visit in &visits {
        assert_eq!(visit.len(), CLIENTS as usize, "some datagrams left no flow");
    }
    crowd.judge(name, 1, &visits[0]);
    let first: HashMap<IpAddr, IpAddr> = visits[0].iter().map(from_and_to).collect();
    let moved = visits[1].iter().map(from_and_to);
    let moved = moved.filter(|(from, to)| first[from] != *to).count();
    assert_eq!(
        moved, 0,
        "{name}: so many clients met another endpoint at their second visit"
    );
}

fn from_and_to(flow: &Flow) -> (IpAddr, IpAddr) {
    (flow.original.source, flow.reply.source)
}

impl Crowd {
    /// Makes it the endpoints of service number `number`.
    fn enter(
        &self,
        catalog: &mut Catalog,
        number: u8,
        adapt: fn(ServiceBuilder) -> ServiceBuilder,
    ) {
        let service = service(&format!("crowd-{number}"))
            .cluster_ip(cluster_ip(self.family, number))
            .port("", Protocol::Udp, PORT);
        let service = adapt(service).build();
        let endpoints = (0..self.endpoints).map(|n| SliceEndpoint {
            zone: Some(zone(self.weight(n))),
            ..SliceEndpoint::new(self.endpoint(number, n))
        });
        catalog.set_slice(EndpointSlice {
            name: ObjectName::new(
                service.name.namespace.clone(),
                "slice-of-".to_owned() + &service.name.name,
            ),
            service: service.name.name.clone(),
            headless: false,
            address_type: match self.family {
                Family::V4 => AddressType::Ipv4,
                Family::V6 => AddressType::Ipv6,
            },
            ports: vec![SlicePort {
                name: "".into(),
                protocol: Protocol::Udp,
                port: TARGET_PORT,
            }],
            endpoints: endpoints.collect(),
        });
        catalog.set_service(service);
    }

    fn weight(&self, n: usize) -> u16 {
        self.weights[n % self.weights.len()]
    }

    fn endpoint(&self, number: u8, n: usize) -> IpAddr {
        let [high, low] = u16::try_from(n).unwrap().to_be_bytes();
        match self.family {
            // Each service has 16 times 256 endpoints of its own.
            Family::V4 => Ipv4Addr::new(10, 200, number * 16 + high, low).into(),
            Family::V6 => Ipv6Addr::new(
                0xfd00,
                0x200,
                number.into(),
                0,
                0,
                0,
                high.into(),
                low.into(),
            )
            .into(),
        }
    }

    /// Fails where the flows go to others, or not in the right shares.
    fn judge(&self, name: &str, number: u8, flows: &[Flow]) {
        let mut counts: HashMap<IpAddr, usize> = HashMap::new();
        for flow in flows {
            assert_eq!(
                flow.reply.source_port, TARGET_PORT,
                "{name}, {self}: {flow:?}"
            );
            *counts.entry(flow.reply.source).or_default() += 1;
        }
        let take = |n| counts.remove(&self.endpoint(number, n)).unwrap_or_default();
        let seen: Vec<usize> = (0..self.endpoints).map(take).collect();
        let strangers: BTreeSet<_> = counts.into_keys().collect();
        assert!(
            strangers.is_empty(),
            "{name}, {self}: flows to {strangers:?}"
        );
        let weights: Vec<u16> = (0..self.endpoints).map(|n| self.weight(n)).collect();
        let (found, most) = (chi_square(&seen, &weights), limit(self.endpoints - 1));
        eprintln!("{name}, {self}: chi-square {found:.1}, at most {most:.1}");
        assert!(
            found < most,
            "{name}, {self}: chi-square {found:.1} > {most:.1}: {seen:?}"
        );
    }
}

impl std::fmt::Display for Crowd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} endpoints ({:?}) of weights {:?}",
            self.endpoints, self.family, self.weights
        )
    }
}

/// A namespace that is node and client at once. What leaves it for an endpoint goes over a wire to nobody.
struct Node(Namespace);

impl Node {
    /// Programs what `fill` puts into the catalog.
    fn start(plane: &PlaneUnderTest, fill: impl FnOnce(&mut Catalog)) -> Self {
        let namespace = Namespace::new("node").unwrap();
        namespace
            .sysctl("net/netfilter/nf_conntrack_udp_timeout", MEMORY)
            .unwrap();
        namespace.ip(WIRING).unwrap();
        let mut scene = Scene::empty();
        scene.settings.endpoint_weights = weights();
        let mut catalog = Catalog::new(scene.node, scene.settings);
        fill(&mut catalog);
        catalog.take_changes();
        let plan = catalog.plan().clone();
        let open = plane.open;
        let programmed = namespace.run(move || open()?.reconcile(&plan));
        programmed.unwrap().unwrap();
        Self(namespace)
    }

    /// Sends a datagram from each of these addresses, which are this node's whatever they are.
    fn send(&self, sources: impl Iterator<Item = SocketAddr> + Send + 'static, to: IpAddr) {
        let to = SocketAddr::new(to, PORT);
        let send = move || {
            for source in sources {
                UdpSocket::bind(source)
                    .unwrap()
                    .send_to(b"hello", to)
                    .unwrap();
            }
        };
        self.0.run(send).unwrap();
    }

    /// The flows to a cluster IP, each once.
    fn flows(&self, to: IpAddr) -> Vec<Flow> {
        let family = match Family::of(to) {
            Family::V4 => conntrack::Family::V4,
            Family::V6 => conntrack::Family::V6,
        };
        let list = move || {
            let mut flows = HashMap::new();
            ConntrackNetlink::open()
                .unwrap()
                .list(family, &mut |flow| {
                    if flow.original.destination == to {
                        flows.insert(flow.original, *flow);
                    }
                })?;
            Ok::<_, conntrack::ConntrackError>(flows.into_values().collect())
        };
        self.0.run(list).unwrap().unwrap()
    }
}

/// The neighbour that all routes lead to has an address that nobody listens to.
const WIRING: &str = "\
link add out type veth peer name nobody
link set nobody addrgenmode none up
link set out addrgenmode none up
addr add 192.0.2.10/24 dev out
addr add 2001:db8::10/64 dev out nodad
neigh add 192.0.2.1 lladdr 02:00:00:00:00:01 dev out nud permanent
neigh add 2001:db8::1 lladdr 02:00:00:00:00:01 dev out nud permanent
route add default via 192.0.2.1
route add default via 2001:db8::1
route add local 198.18.0.0/15 dev lo
addr add 2001:db8:18::1/128 dev lo nodad
";

/// The address of a client.
fn client(family: Family, n: u32) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::from_bits(Ipv4Addr::new(198, 18, 0, 0).to_bits() + n).into(),
        Family::V6 => Ipv6Addr::from_bits(
            Ipv6Addr::new(0x2001, 0xdb8, 0x18, 0, 0, 0, 0, 1).to_bits() + u128::from(n),
        )
        .into(),
    }
}

/// Endpoints get their weights by zones.
fn weights() -> Vec<EndpointWeight> {
    let row = |weight| EndpointWeight {
        zones: vec![zone(weight)],
        nodes: Vec::new(),
        weight,
    };
    [2, 5].map(row).into()
}

fn zone(weight: u16) -> Arc<str> {
    format!("weight-{weight}").into()
}

/// Pearson's statistic of counts against shares.
fn chi_square(seen: &[usize], weights: &[u16]) -> f64 {
    let flows = float(seen.iter().sum());
    let all = float(weights.iter().copied().map(usize::from).sum());
    let excess = |(seen, weight): (&usize, &u16)| {
        let expected = flows * f64::from(*weight) / all;
        (float(*seen) - expected).powi(2) / expected
    };
    seen.iter().zip(weights).map(excess).sum()
}

/// What the statistic exceeds once in a million times if all is well, by Wilson and Hilferty: the cube root of a chi-square
/// variable over its degrees of freedom is nearly normal.
fn limit(freedom: usize) -> f64 {
    /// The normal quantile of one in a million.
    const Z: f64 = 4.753_424;
    let variance = 2.0 / (9.0 * float(freedom));
    float(freedom) * (1.0 - variance + Z * variance.sqrt()).powi(3)
}

fn float(n: usize) -> f64 {
    u32::try_from(n).unwrap().into()
}
