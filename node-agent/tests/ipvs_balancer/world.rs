//! A node in memory, and the services on it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sluice_agent::balancer::ipvs::{Doors, IpvsBalancer};
use sluice_agent::balancer::{Balancer, Drained, Scope};
use sluice_agent::data_plane::SyncReport;
use sluice_kernel::address_set::{AddressSets, IpProtocol, ListedEntry, MemorySets};
use sluice_kernel::ipvs::{
    ConnectionCounts, Destination, Ipvs, MemoryIpvs, RealServer, Service as IpvsService,
    VirtualServer,
};
use sluice_kernel::links::{InterfaceAddress, Link, Links, MemoryLinks, Route};
use sluice_service_plan::catalog::Catalog;
use sluice_service_plan::model::{
    AddressType, EndpointSlice, Family, NodeFacts, ObjectName, Protocol, Service, ServicePort,
    ServiceType, Settings, SliceEndpoint, SlicePort, TrafficPolicy,
};

/// The kernel: handles to look inside.
#[derive(Clone, Default)]
pub(crate) struct Kernel {
    pub(crate) ipvs: MemoryIpvs,
    pub(crate) links: MemoryLinks,
    pub(crate) sets: MemorySets,
}

/// All that a balancer writes, in a form that can be compared.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct State {
    pub(crate) servers: BTreeMap<VirtualServer, (IpvsService, Vec<Destination>)>,
    pub(crate) links: Vec<(String, bool)>,
    pub(crate) addresses: Vec<InterfaceAddress>,
    pub(crate) routes: Vec<Route>,
    pub(crate) sets: BTreeMap<String, Vec<String>>,
}

impl Kernel {
    pub(crate) fn balancer(&self) -> IpvsBalancer {
        let doors = Doors {
            ipvs: Box::new(self.ipvs.clone()),
            links: Box::new(self.links.clone()),
            sets: Box::new(self.sets.clone()),
        };
        IpvsBalancer::new(doors, &Family::ALL)
    }

    pub(crate) fn state(&self) -> State {
        let servers = self.ipvs.clone().list().unwrap().into_iter();
        let mut links = self.links.clone();
        let mut sets = self.sets.clone();
        let headers = sets.headers("").unwrap();
        let mut addresses = links.addresses().unwrap();
        addresses.sort_unstable();
        let mut routes = links.routes().unwrap();
        routes.sort_unstable();
        State {
            servers: servers
                .map(|(listed, destinations)| {
                    let destinations = destinations.iter().map(|d| d.destination).collect();
                    (listed.service.server, (listed.service, destinations))
                })
                .collect(),
            links: links
                .links()
                .unwrap()
                .into_iter()
                .map(|l| (l.name, l.up))
                .collect(),
            addresses,
            routes,
            sets: headers
                .into_iter()
                .map(|header| {
                    let name = header.spec.name;
                    let listed: Vec<ListedEntry> = sets.list(&name).unwrap();
                    let mut entries: Vec<String> = listed
                        .iter()
                        .map(|e| format!("{:?} {:?}", e.entry, e.mark))
                        .collect();
                    entries.sort_unstable();
                    (name, entries)
                })
                .collect(),
        }
    }

    /// Gives the node these addresses, on its interface.
    pub(crate) fn hold(&self, addresses: &[&str]) {
        let mut links = self.links.clone();
        if links
            .links()
            .unwrap()
            .iter()
            .all(|link| link.name != "eth0")
        {
            links.put_link(Link {
                index: 200,
                name: "eth0".to_owned(),
                kind: None,
                up: true,
                master: None,
                hairpin: None,
            });
        }
        let wanted: Vec<IpAddr> = addresses.iter().map(|ip| ip.parse().unwrap()).collect();
        for held in links.addresses_of(200).unwrap() {
            if !wanted.contains(&held.address) {
                links.delete_address(&held).unwrap();
            }
        }
        for address in wanted {
            let prefix_len = if address.is_ipv4() { 24 } else { 64 };
            let held = InterfaceAddress {
                interface: 200,
                address,
                prefix_len,
            };
            links.add_address(&held).unwrap();
        }
    }

    /// Weights of one virtual server's real servers, by address; absent where it is not there.
    pub(crate) fn weights(&self, of: VirtualServer) -> Option<Vec<(String, u32)>> {
        let listed = self.ipvs.clone().destinations(&of).ok()?;
        let weight = |d: &Destination| (d.server.to_string(), d.weight);
        Some(listed.iter().map(|l| weight(&l.destination)).collect())
    }

    pub(crate) fn set_active(&self, of: VirtualServer, server: &str, active: u32) {
        let server: std::net::SocketAddr = server.parse().unwrap();
        let counts = ConnectionCounts {
            active,
            ..ConnectionCounts::default()
        };
        let key = RealServer::new(server.ip(), server.port());
        self.ipvs.set_connection_counts(&of, &key, counts);
    }

    /// Destinations of the routes of ours.
    pub(crate) fn routed(&self) -> Vec<String> {
        let routes = self.state().routes;
        routes
            .iter()
            .map(|route| route.destination.addr().to_string())
            .collect()
    }
}

/// A node with its balancer, its catalog, and a clock.
pub(crate) struct World {
    pub(crate) kernel: Kernel,
    pub(crate) catalog: Catalog,
    pub(crate) balancer: IpvsBalancer,
    now: Instant,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(settings())
    }

    pub(crate) fn with(settings: Settings) -> Self {
        let kernel = Kernel::default();
        kernel.hold(&["192.0.2.10"]);
        let mut world = Self {
            balancer: kernel.balancer(),
            kernel,
            catalog: Catalog::new(node(&["192.0.2.10"]), settings),
            now: Instant::now(),
        };
        world.start();
        world
    }

    /// Programs everything, as an agent does that starts.
    pub(crate) fn start(&mut self) -> SyncReport {
        self.catalog.take_changes();
        self.balancer.adopt().unwrap();
        let mut report = self
            .balancer
            .apply(self.catalog.plan(), Scope::All)
            .unwrap();
        report += self.balancer.activate().unwrap();
        report
    }

    /// Another agent takes the place of this one.
    pub(crate) fn restart(&mut self) -> SyncReport {
        self.balancer = self.kernel.balancer();
        self.start()
    }

    /// Programs what changed.
    pub(crate) fn sync(&mut self) -> SyncReport {
        let change = self.catalog.take_changes();
        let scope = Scope::Change(&change);
        self.balancer.apply(self.catalog.plan(), scope).unwrap()
    }

    /// The node's addresses change, and the agent hears of it.
    pub(crate) fn move_node(&mut self, addresses: &[&str]) {
        self.kernel.hold(addresses);
        self.catalog.set_node(node(addresses));
    }

    /// Netlink messages to IPVS so far.
    pub(crate) fn messages(&self) -> u64 {
        self.kernel.ipvs.traffic().messages
    }

    pub(crate) fn drain_after(&mut self, seconds: u64) -> Drained {
        self.now += Duration::from_secs(seconds);
        self.balancer.drain(self.now).unwrap()
    }
}

pub(crate) fn settings() -> Settings {
    Settings::default()
}

pub(crate) fn node(addresses: &[&str]) -> NodeFacts {
    let mut all: Vec<IpAddr> = addresses.iter().map(|ip| ip.parse().unwrap()).collect();
    all.push("127.0.0.1".parse().unwrap());
    NodeFacts {
        name: Arc::from("here"),
        internal_ips: vec!["192.0.2.10".parse().unwrap()],
        addresses: all,
        ..NodeFacts::default()
    }
}

pub(crate) fn name(service: &str) -> ObjectName {
    ObjectName::new("default", service)
}

/// A service with one port, 80, and a cluster IP.
pub(crate) fn service(name_of: &str, cluster_ip: &str, protocol: Protocol) -> Service {
    Service {
        cluster_ips: vec![cluster_ip.parse().unwrap()],
        ports: vec![ServicePort {
            name: Arc::from(""),
            protocol,
            port: 80,
            node_port: None,
        }],
        ..Service::new(name(name_of))
    }
}

/// With a node port too.
pub(crate) fn on_nodes(mut service: Service, node_port: u16, policy: TrafficPolicy) -> Service {
    service.kind = ServiceType::NodePort;
    service.external_policy = policy;
    service.ports[0].node_port = Some(node_port);
    service
}

/// Its slice. Endpoints whose address ends in an even number are on this node.
pub(crate) fn slice(of: &str, protocol: Protocol, endpoints: &[&str]) -> EndpointSlice {
    let here = |address: &IpAddr| match address {
        IpAddr::V4(ip) => ip.octets()[3] % 2 == 0,
        IpAddr::V6(ip) => ip.octets()[15] % 2 == 0,
    };
    let addresses = endpoints.iter().map(|e| e.parse().unwrap());
    EndpointSlice {
        name: name(&format!("{of}-1")),
        service: Arc::from(of),
        headless: false,
        address_type: AddressType::Ipv4,
        ports: vec![SlicePort {
            name: Arc::from(""),
            protocol,
            port: 8080,
        }],
        endpoints: addresses
            .map(|address| SliceEndpoint {
                node: Some(Arc::from(if here(&address) { "here" } else { "there" })),
                ..SliceEndpoint::new(address)
            })
            .collect(),
    }
}

pub(crate) fn tcp(address: &str, port: u16) -> VirtualServer {
    VirtualServer::new(IpProtocol::TCP, address.parse().unwrap(), port)
}

pub(crate) fn udp(address: &str, port: u16) -> VirtualServer {
    VirtualServer::new(IpProtocol::UDP, address.parse().unwrap(), port)
}

/// Weights as [`Kernel::weights`] tells them.
#[expect(
    clippy::unnecessary_wraps,
    reason = "to be compared with what may be absent"
)]
pub(crate) fn weights(of: &[(&str, u32)]) -> Option<Vec<(String, u32)>> {
    let with_port = |(address, weight): &(&str, u32)| (format!("{address}:8080"), *weight);
    Some(of.iter().map(with_port).collect())
}
