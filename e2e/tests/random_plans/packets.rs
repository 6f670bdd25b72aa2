//! Random packets, most of them to what is planned, and what must become of them by the planner's `trace`.

use std::net::{IpAddr, Ipv4Addr};

use proptest::prelude::*;
use proptest::sample::{Index, select};
use sluice_e2e::lab::places::{
    A1, A2, CLIENT, DAEMON_NAME, DAEMON_PORT, NEIGHBOUR, NODE, NODE_BRIDGE, NODE_LOOPBACK,
    NODE_SECOND, Place,
};
use sluice_e2e::packets::build::{cluster_ip, outside_ip};
use sluice_e2e::packets::row::{Expect, Packet, Source, Target, Untouched, packet};
use sluice_service_plan::model::{Family, Protocol};
use sluice_service_plan::packet::{self as planner, Origin};
use sluice_service_plan::plan::{Endpoint, FrontendAddress, Plan};
use sluice_service_plan::trace::{FrontendIndex, Trace, Verdict};

use crate::worlds::{ENDPOINTS, NODE_PORTS, PORTS};

/// A packet that becomes one when the plan is known.
#[derive(Debug, Clone)]
pub(crate) struct Shot {
    from: Place,
    aim: Aim,
}

#[derive(Debug, Clone)]
enum Aim {
    /// One of the planned frontends; a node port at one of the node's addresses.
    Planned(Index, Place),
    /// Whatever is there.
    Blind(IpAddr, u16, Protocol),
}

pub(crate) fn shots() -> impl Strategy<Value = Shot> {
    let own = [NODE, NODE_SECOND, NODE_BRIDGE];
    let from = select(vec![
        CLIENT,
        CLIENT.shifted(1),
        A1,
        A2,
        NODE,
        NODE_SECOND,
        NODE_LOOPBACK,
        NEIGHBOUR,
    ]);
    let of = |family| {
        [
            cluster_ip(family, 1),
            outside_ip(family, 1),
            NODE.ip(family),
            NODE_SECOND.ip(family),
        ]
    };
    let to = select(
        Family::ALL
            .into_iter()
            .flat_map(of)
            .collect::<Vec<IpAddr>>(),
    );
    let port = select([&PORTS[..], &NODE_PORTS, &[DAEMON_PORT]].concat());
    let aim = prop_oneof![
        4 => (any::<Index>(), select(own.to_vec())).prop_map(|(at, own)| Aim::Planned(at, own)),
        1 => (to, port, select(Protocol::ALL.to_vec())).prop_map(|(to, port, protocol)| Aim::Blind(to, port, protocol)),
    ];
    (from, aim).prop_map(|(from, aim)| Shot { from, aim })
}

impl Shot {
    /// The packet; none where the sender could not send it.
    pub(crate) fn packet(&self, plan: &Plan) -> Option<Packet> {
        let (to, port, protocol) = match &self.aim {
            Aim::Blind(to, port, protocol) => (*to, *port, *protocol),
            Aim::Planned(at, own) => {
                let ports = plan.services.values().flat_map(|service| &service.ports);
                let frontends = ports
                    .flat_map(|port| port.frontends.iter().map(move |frontend| (port, frontend)));
                let frontends: Vec<_> = frontends.collect();
                let (port, frontend) = frontends.get(at.index(frontends.len().max(1)))?;
                let to = match frontend.address {
                    FrontendAddress::Ip(ip) => ip,
                    FrontendAddress::NodePort => own.ip(port.key.family),
                };
                (to, frontend.port, port.key.protocol)
            }
        };
        let to_node = plan.node.addresses.contains(&to);
        let to = match to {
            IpAddr::V4(_) if self.from == NODE_LOOPBACK => Ipv4Addr::LOCALHOST.into(),
            // What a hostile neighbour would do.
            IpAddr::V4(_) if self.from == NEIGHBOUR && to_node => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) if self.from == NODE_LOOPBACK => return None,
            to => to,
        };
        Some(packet(self.from, protocol, to, port))
    }
}

/// What must become of a packet.
#[derive(Debug)]
pub(crate) struct Judgement {
    pub(crate) expect: Expect,
    /// Whom each endpoint must see as the client, where that differs from endpoint to endpoint.
    pub(crate) sources: Vec<(Target, Source)>,
}

impl Judgement {
    /// By the planner. None where nobody can tell from outside what happened.
    pub(crate) fn of(packet: &Packet, index: &FrontendIndex<'_>, plan: &Plan) -> Option<Self> {
        let from = packet.from.first()?;
        let trace = index.trace(&as_planner_sees(packet, from));
        let expect = match &trace.verdict {
            Verdict::Reject => Expect::Rejected,
            Verdict::Drop => Expect::Dropped,
            Verdict::NotOurs => Expect::NotOurs(untouched(packet, from, plan)?),
            Verdict::Balance { key, endpoints, .. } => {
                let port = plan
                    .services
                    .get(&key.service)?
                    .ports
                    .iter()
                    .find(|port| port.key == *key)?;
                let sticks = port.affinity_seconds.is_some();
                return Self::balanced(&trace, endpoints, sticks, plan);
            }
        };
        Some(Self {
            expect,
            sources: Vec::new(),
        })
    }

    fn balanced(trace: &Trace, endpoints: &[Endpoint], sticks: bool, plan: &Plan) -> Option<Self> {
        let mut sources: Vec<(Target, Source)> = Vec::new();
        for endpoint in endpoints {
            let place = endpoint_place(endpoint)?;
            let source = source(trace, endpoint, &place, plan);
            sources.push(((place.name, endpoint.address.port()), source));
        }
        let targets: Vec<Target> = sources.iter().map(|(target, _)| *target).collect();
        let (_, first) = sources.first()?;
        let all = if sources.iter().all(|(_, source)| source == first) {
            let all = first.clone();
            sources.clear();
            all
        } else {
            Source::Unstated
        };
        let expect = if sticks {
            Expect::Sticks(targets, all)
        } else {
            Expect::Reaches(targets, all)
        };
        Some(Self { expect, sources })
    }
}

fn as_planner_sees(packet: &Packet, from: &Place) -> planner::Packet {
    planner::Packet {
        protocol: packet.protocol,
        source: from.ip(Family::of(packet.to.ip())),
        destination: packet.to,
        origin: Packet::interface(from)
            .map_or(Origin::Node, |name| Origin::Interface(name.to_owned())),
        class: None,
    }
}

fn endpoint_place(endpoint: &Endpoint) -> Option<Place> {
    let ip = endpoint.address.ip();
    ENDPOINTS
        .into_iter()
        .find(|place| place.ip(Family::of(ip)) == ip)
}

fn source(trace: &Trace, endpoint: &Endpoint, place: &Place, plan: &Plan) -> Source {
    if *place == NODE {
        return Source::Unstated;
    }
    if !trace.masqueraded(endpoint) {
        return Source::Kept;
    }
    let family = Family::of(endpoint.address.ip());
    let chosen = |ip: &&IpAddr| {
        Family::of(**ip) == family
            && plan
                .settings
                .snat_addresses
                .iter()
                .any(|net| net.contains(*ip))
    };
    let addresses: Vec<IpAddr> = plan.node.addresses.iter().filter(chosen).copied().collect();
    if addresses.is_empty() {
        Source::Masqueraded
    } else {
        Source::Snat(addresses)
    }
}

/// What the lab does to a packet without a proxy.
fn untouched(packet: &Packet, from: &Place, plan: &Plan) -> Option<Untouched> {
    let to = packet.to.ip();
    if !plan.node.addresses.contains(&to) {
        return Some(Untouched::Routed);
    }
    match packet.protocol {
        _ if to.is_loopback() && *from != NODE_LOOPBACK => Some(Untouched::Filtered),
        Protocol::Tcp if packet.to.port() == DAEMON_PORT => Some(Untouched::Has(DAEMON_NAME)),
        // The node's own SCTP server hears all ports on a raw socket, so the kernel refuses none.
        Protocol::Sctp => None,
        Protocol::Tcp | Protocol::Udp => Some(Untouched::Refused),
    }
}
