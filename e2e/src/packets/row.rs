//! One row of the table: a cluster, a packet, and what must become of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

use sluice_service_plan::model::{EndpointSlice, Family, NodeFacts, Protocol, Service, Settings};

use super::build::{EndpointBuilder, NODE_NAME, ServiceBuilder, ZONE, node_pod_networks};
use super::surroundings::Surrounding;
use crate::lab::places::{
    Home, LAN_INTERFACE, NODE, NODE_BRIDGE, NODE_LOOPBACK, NODE_SECOND, POD_BRIDGE, Place,
    SERVED_PORTS,
};

/// What the node is told, and what else lives on it.
#[derive(Debug, Clone)]
#[must_use]
pub struct Scene {
    /// Services.
    pub services: Vec<Service>,
    /// Slices.
    pub slices: Vec<EndpointSlice>,
    /// Settings.
    pub settings: Settings,
    /// Facts of the node.
    pub node: NodeFacts,
    /// Pods of the node that are in a class, and which.
    pub pods: BTreeMap<Place, &'static str>,
    /// Other software's rules on the node.
    pub surroundings: BTreeSet<Surrounding>,
}

impl Scene {
    /// No services, default settings, and the lab's node as it is.
    pub fn empty() -> Self {
        let addresses = [NODE, NODE_SECOND, NODE_BRIDGE, NODE_LOOPBACK];
        let each_family = |place: Place| Family::ALL.map(|family| place.ip(family));
        Self {
            services: Vec::new(),
            slices: Vec::new(),
            settings: Settings::default(),
            node: NodeFacts {
                name: NODE_NAME.into(),
                zone: Some(ZONE.into()),
                internal_ips: each_family(NODE).into(),
                addresses: addresses.into_iter().flat_map(each_family).collect(),
                pod_cidrs: node_pod_networks(),
                being_deleted: false,
                health_port: None,
            },
            pods: BTreeMap::new(),
            surroundings: BTreeSet::new(),
        }
    }

    /// One service with these endpoints, in each of its families.
    pub fn of(service: ServiceBuilder, endpoints: &[EndpointBuilder]) -> Self {
        Self::empty().with(service, endpoints)
    }

    /// Adds a service and, unless there are none, its endpoints.
    pub fn with(mut self, service: ServiceBuilder, endpoints: &[EndpointBuilder]) -> Self {
        if !endpoints.is_empty() {
            let slices = service
                .families()
                .into_iter()
                .map(|family| service.slice(family, endpoints));
            self.slices.extend(slices);
        }
        self.services.push(service.build());
        self
    }

    /// Adds a slice.
    pub fn slice(mut self, slice: EndpointSlice) -> Self {
        self.slices.push(slice);
        self
    }

    /// Changes settings.
    pub fn set(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(&mut self.settings);
        self
    }

    /// Changes facts of the node.
    pub fn facts(mut self, change: impl FnOnce(&mut NodeFacts)) -> Self {
        change(&mut self.node);
        self
    }

    /// Puts a pod into a class.
    pub fn pod(mut self, pod: Place, class: &'static str) -> Self {
        self.pods.insert(pod, class);
        self
    }

    /// Adds other software's rules.
    pub fn beside(mut self, surrounding: Surrounding) -> Self {
        self.surroundings.insert(surrounding);
        self
    }

    /// Makes a row: this scene and one packet. The row's name is `sentence` and the packet's family and protocol.
    pub fn row(&self, sentence: &str, packet: Packet, expect: Expect) -> Row {
        let family = match Family::of(packet.to.ip()) {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        };
        let name = format!("{sentence} ({family}, {})", packet.protocol);
        Row {
            name,
            scene: self.clone(),
            packet,
            expect,
        }
    }
}

/// One packet: the first of a connection. A row may send it from several of the client's addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// Who sends; more than one where many clients send the same.
    pub from: Vec<Place>,
    /// Protocol.
    pub protocol: Protocol,
    /// Where to.
    pub to: SocketAddr,
}

/// A packet from one sender.
pub fn packet(from: Place, protocol: Protocol, to: IpAddr, port: u16) -> Packet {
    Packet {
        from: vec![from],
        protocol,
        to: SocketAddr::new(to, port),
    }
}

impl Packet {
    /// The interface of the node on which packets of this sender arrive; absent for the node itself.
    pub fn interface(from: &Place) -> Option<&'static str> {
        match from.home {
            Home::Node => None,
            Home::Pod(_) => Some(POD_BRIDGE),
            Home::Client | Home::Neighbour | Home::Remote | Home::Router => Some(LAN_INTERFACE),
        }
    }
}

/// One row.
#[derive(Debug, Clone)]
pub struct Row {
    /// A sentence that says what must hold.
    pub name: String,
    /// The cluster and the node.
    pub scene: Scene,
    /// The packet.
    pub packet: Packet,
    /// What must become of it.
    pub expect: Expect,
}

/// What must become of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// Repeated, it reaches all of these and nobody else.
    Reaches(Vec<Target>, Source),
    /// Repeated from one address, it always reaches the same of these.
    Sticks(Vec<Target>, Source),
    /// Repeated, it reaches these in these shares.
    Splits(Vec<(Target, u16)>, Source),
    /// Connection refused, at once.
    Rejected,
    /// Silence.
    Dropped,
    /// No service's business. What happens is what would happen without a proxy.
    NotOurs(Untouched),
    /// No service's business, but the sender's class may be concerned: this server has it, and sees this source.
    Leaves(&'static str, Source),
}

/// What happens to a packet that is nobody's business.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Untouched {
    /// The node routes it on, to the router.
    Routed,
    /// Another program's rule on the node drops it.
    Filtered,
    /// The node's own stack refuses it.
    Refused,
    /// This server has it.
    Has(&'static str),
}

/// An endpoint by name and target port.
pub type Target = (&'static str, u16);

/// As which source the endpoint sees the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// As itself.
    Kept,
    /// With the node's address on the way to the endpoint.
    Masqueraded,
    /// With one of these addresses of the node.
    Snat(Vec<IpAddr>),
    /// With the node's address on the way, and a port in this range.
    MasqueradedPorts(RangeInclusive<u16>),
    /// Not stated: the endpoint is the node itself, where packets end without passing POSTROUTING.
    Unstated,
}

/// Expects all of these pods, on the first served port.
pub fn reaches<const N: usize>(places: [Place; N], source: Source) -> Expect {
    Expect::Reaches(targets(places), source)
}

/// Expects always the same of these pods, on the first served port.
pub fn sticks<const N: usize>(places: [Place; N], source: Source) -> Expect {
    Expect::Sticks(targets(places), source)
}

fn targets<const N: usize>(places: [Place; N]) -> Vec<Target> {
    places.map(|place| (place.name, SERVED_PORTS[0])).to_vec()
}

/// All combinations of family and protocol.
pub fn each() -> impl Iterator<Item = (Family, Protocol)> {
    Family::ALL
        .into_iter()
        .flat_map(|family| Protocol::ALL.map(|protocol| (family, protocol)))
}

impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |targets: &[Target]| {
            let names = targets.iter().map(|(name, port)| format!("{name}:{port}"));
            names.collect::<Vec<_>>().join(", ")
        };
        match self {
            Self::Reaches(targets, source) => {
                write!(f, "all of {} are reached, source {source:?}", list(targets))
            }
            Self::Sticks(targets, source) => {
                write!(
                    f,
                    "always the same of {} is reached, source {source:?}",
                    list(targets)
                )
            }
            Self::Splits(shares, source) => write!(f, "shares {shares:?}, source {source:?}"),
            Self::Rejected => f.write_str("refused"),
            Self::Dropped => f.write_str("no answer (dropped)"),
            Self::Leaves(server, source) => write!(f, "{server} has it, source {source:?}"),
            Self::NotOurs(untouched) => write!(f, "not ours: {untouched:?}"),
        }
    }
}
