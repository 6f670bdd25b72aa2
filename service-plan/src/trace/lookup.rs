//! Finding the frontend of a packet.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};

use crate::model::{Family, ObjectName, Protocol};
use crate::node_ports::node_port_addresses;
use crate::plan::{Frontend, FrontendAddress, FrontendKind, Plan, PortPlan};

/// What identifies a frontend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Door {
    family: Family,
    address: FrontendAddress,
    port: u16,
    protocol: Protocol,
}

impl Door {
    /// The door at this address with a packet's family and port.
    pub(super) fn new(
        address: FrontendAddress,
        destination: SocketAddr,
        protocol: Protocol,
    ) -> Self {
        let family = Family::of(destination.ip());
        Self {
            family,
            address,
            port: destination.port(),
            protocol,
        }
    }

    fn of(found: Found<'_>) -> Self {
        let Found {
            port: PortPlan { key, .. },
            frontend,
        } = found;
        Self {
            family: key.family,
            address: frontend.address,
            port: frontend.port,
            protocol: key.protocol,
        }
    }
}

/// A frontend and the port that it leads to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found<'p> {
    pub(super) port: &'p PortPlan,
    pub(super) frontend: &'p Frontend,
}

impl Found<'_> {
    fn cluster_ip(&self) -> Option<IpAddr> {
        match self.frontend.address {
            FrontendAddress::Ip(ip) if self.frontend.kind == FrontendKind::ClusterIp => Some(ip),
            _ => None,
        }
    }
}

/// The questions that a packet raises.
pub(super) trait Lookup<'p> {
    /// The frontend behind a door.
    fn frontend(&self, door: &Door) -> Option<Found<'p>>;
    /// Whether the address is one of a service's.
    fn is_service_address(&self, ip: IpAddr) -> bool;
    /// A service that has this cluster IP.
    fn cluster_ip(&self, ip: IpAddr) -> Option<&'p ObjectName>;
    /// Whether the address is one of the node's that serve node ports.
    fn serves_node_ports(&self, ip: IpAddr) -> bool;
}

fn all(plan: &Plan) -> impl Iterator<Item = Found<'_>> {
    plan.services
        .values()
        .flat_map(|service| &service.ports)
        .flat_map(|port| {
            port.frontends
                .iter()
                .map(move |frontend| Found { port, frontend })
        })
}

/// The service for which IPVS makes an address the node's own: one with endpoints behind it.
pub(super) fn bound_for(plan: &Plan, ip: IpAddr) -> Option<&ObjectName> {
    let is_bound = |Found { port, frontend }: &Found<'_>| {
        let pools = [frontend.outside, frontend.inside];
        frontend.address == FrontendAddress::Ip(ip)
            && pools.iter().any(|pool| !port.pool(*pool).is_empty())
    };
    all(plan)
        .find(is_bound)
        .map(|found| &found.port.key.service)
}

impl<'p> Lookup<'p> for &'p Plan {
    fn frontend(&self, door: &Door) -> Option<Found<'p>> {
        all(self).find(|found| Door::of(*found) == *door)
    }

    fn is_service_address(&self, ip: IpAddr) -> bool {
        all(self).any(|found| found.frontend.address == FrontendAddress::Ip(ip))
    }

    fn cluster_ip(&self, ip: IpAddr) -> Option<&'p ObjectName> {
        all(self)
            .find(|found| found.cluster_ip() == Some(ip))
            .map(|found| &found.port.key.service)
    }

    fn serves_node_ports(&self, ip: IpAddr) -> bool {
        node_port_addresses(&self.node, &self.settings).contains(&ip)
    }
}

/// The frontends of a plan by address, for tracing many packets.
#[derive(Debug)]
pub struct FrontendIndex<'p> {
    plan: &'p Plan,
    frontends: HashMap<Door, Found<'p>>,
    addresses: HashSet<IpAddr>,
    cluster_ips: HashMap<IpAddr, &'p ObjectName>,
    node_port_addresses: HashSet<IpAddr>,
}

impl<'p> FrontendIndex<'p> {
    /// Reads the whole plan once.
    pub fn new(plan: &'p Plan) -> Self {
        let mut cluster_ips = HashMap::new();
        for found in all(plan) {
            if let Some(ip) = found.cluster_ip() {
                cluster_ips.entry(ip).or_insert(&found.port.key.service);
            }
        }
        Self {
            plan,
            frontends: all(plan).map(|found| (Door::of(found), found)).collect(),
            addresses: all(plan)
                .filter_map(|found| match found.frontend.address {
                    FrontendAddress::Ip(ip) => Some(ip),
                    FrontendAddress::NodePort => None,
                })
                .collect(),
            cluster_ips,
            node_port_addresses: node_port_addresses(&plan.node, &plan.settings)
                .into_iter()
                .collect(),
        }
    }

    pub(super) fn plan(&self) -> &'p Plan {
        self.plan
    }
}

impl<'p> Lookup<'p> for FrontendIndex<'p> {
    fn frontend(&self, door: &Door) -> Option<Found<'p>> {
        self.frontends.get(door).copied()
    }

    fn is_service_address(&self, ip: IpAddr) -> bool {
        self.addresses.contains(&ip)
    }

    fn cluster_ip(&self, ip: IpAddr) -> Option<&'p ObjectName> {
        self.cluster_ips.get(&ip).copied()
    }

    fn serves_node_ports(&self, ip: IpAddr) -> bool {
        self.node_port_addresses.contains(&ip)
    }
}
