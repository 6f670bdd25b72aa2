//! Which virtual servers a plan asks for. Pure.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use sluice_kernel::address_set::Entry;
use sluice_kernel::ipvs::{Destination, Persistence, RealServer, SchedulerFlags, Service};
use sluice_service_plan::model::{Family, NodeFacts, Settings};
use sluice_service_plan::node_ports;
use sluice_service_plan::plan::{Endpoint, Frontend, FrontendAddress, PortPlan, ServicePlan};

use super::marks::Marks;
use super::server::Server;
use crate::family::{is_link_local, kernel_family, kernel_protocol};

/// What stands in for a scheduler that the kernel lacks; for the last one itself.
pub(super) fn fallback(scheduler: &str) -> &'static str {
    if matches!(scheduler, "rr" | "wrr") {
        "rr"
    } else {
        "wrr"
    }
}

/// What a plan means in: the node, and what was decided about it.
pub(super) struct Context<'a> {
    pub(super) settings: &'a Settings,
    pub(super) families: &'a [Family],
    /// Addresses that serve node ports.
    pub(super) node_ports: &'a [IpAddr],
    /// Services' own addresses among these, with the port: there the node port of the same number yields.
    pub(super) explicit: &'a HashSet<Entry>,
    pub(super) marks: &'a Marks,
    /// Schedulers that the kernel refused.
    pub(super) lacking: &'a BTreeSet<String>,
}

/// A virtual server as it has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) service: Service,
    pool: Arc<[Endpoint]>,
}

/// What services ask for.
#[derive(Debug, Default)]
pub(super) struct Desired {
    pub(super) servers: BTreeMap<Server, Wanted>,
    /// Frontends that give inside clients a mark.
    pub(super) inside: BTreeMap<Entry, u32>,
}

impl Wanted {
    pub(super) fn destinations(&self) -> impl Iterator<Item = Destination> {
        self.pool.iter().map(|endpoint| {
            let (ip, port) = (endpoint.address.ip(), endpoint.address.port());
            Destination::new(RealServer::new(ip, port), endpoint.weight.into())
        })
    }
}

impl Desired {
    /// What these services ask for together.
    pub(super) fn of<'a>(
        services: impl Iterator<Item = &'a ServicePlan>,
        context: &Context<'_>,
    ) -> Self {
        let mut desired = Self::default();
        for service in services {
            for port in &service.ports {
                desired.add_port(service, port, context);
            }
        }
        desired
    }

    /// How many real servers that makes.
    pub(super) fn real_servers(&self) -> u64 {
        self.servers.values().map(|w| w.pool.len() as u64).sum()
    }

    fn add_port(&mut self, service: &ServicePlan, port: &PortPlan, context: &Context<'_>) {
        let protocol = kernel_protocol(port.key.protocol);
        let marks = context.marks.of(&port.key);
        for frontend in &port.frontends {
            let outside = port.pool(frontend.outside);
            let inside = port.pool(frontend.inside);
            let inside_apart = frontend.inside != frontend.outside && !inside.is_empty();
            for address in context.addresses(port, frontend) {
                if !outside.is_empty() {
                    let server = Server::at(protocol, address, frontend.port);
                    self.add_server(server, service, port, outside, context);
                }
                if let Some([mark, masqueraded]) = marks.filter(|_| inside_apart) {
                    self.inside
                        .insert(Entry::IpPort(address, protocol, frontend.port), mark.get());
                    for mark in [mark, masqueraded] {
                        let server = Server::marked(protocol, kernel_family(port.key.family), mark);
                        self.add_server(server, service, port, inside, context);
                    }
                }
            }
        }
    }

    fn add_server(
        &mut self,
        server: Server,
        service: &ServicePlan,
        port: &PortPlan,
        pool: &Arc<[Endpoint]>,
        context: &Context<'_>,
    ) {
        self.servers.entry(server).or_insert_with(|| {
            let named = service.ipvs_scheduler.as_deref();
            let named = named.unwrap_or(&context.settings.ipvs.scheduler);
            let scheduler = context.scheduler(named, pool);
            let persistence = port
                .affinity_seconds
                .map(|seconds| Persistence::of_each_client(server.key.family(), seconds));
            Wanted {
                service: Service {
                    scheduler_flags: scheduler_flags(scheduler),
                    persistence,
                    ..Service::new(server.key, scheduler)
                },
                pool: Arc::clone(pool),
            }
        });
    }
}

impl Context<'_> {
    /// The addresses of a frontend on this node that IPVS serves.
    pub(super) fn addresses(
        &self,
        port: &PortPlan,
        frontend: &Frontend,
    ) -> impl Iterator<Item = IpAddr> {
        let family = port.key.family;
        let protocol = kernel_protocol(port.key.protocol);
        let (explicit, expanded) = match frontend.address {
            FrontendAddress::Ip(ip) => (Some(ip), &[][..]),
            FrontendAddress::NodePort => (None, self.node_ports),
        };
        let of_node = expanded.iter().copied().filter(move |ip| {
            Family::of(*ip) == family
                && !self
                    .explicit
                    .contains(&Entry::IpPort(*ip, protocol, frontend.port))
        });
        let excluded = &self.settings.ipvs.excluded;
        explicit.into_iter().chain(of_node).filter(move |ip| {
            self.families.contains(&family) && !excluded.iter().any(|net| net.contains(ip))
        })
    }

    /// `rr` and `lc` do not look at weights; their namesakes do, and are the same where all are equal.
    fn scheduler<'s>(&self, named: &'s str, pool: &[Endpoint]) -> &'s str {
        let weighted = pool.iter().any(|e| e.weight != pool[0].weight);
        let mut scheduler = match named {
            "rr" if weighted => "wrr",
            "lc" if weighted => "wlc",
            other => other,
        };
        while self.lacking.contains(scheduler) && fallback(scheduler) != scheduler {
            scheduler = fallback(scheduler);
        }
        scheduler
    }
}

/// `sh` and `mh` refuse a client whose hash leads to a real server of weight 0, unless they are told to take the next.
fn scheduler_flags(scheduler: &str) -> SchedulerFlags {
    SchedulerFlags {
        flag_1: matches!(scheduler, "sh" | "mh"),
        ..SchedulerFlags::default()
    }
}

/// The addresses whose node ports IPVS serves: never loopback, where it sees no packet, nor IPv6 link-local ones, of which every pod's start
/// brings one. kube-proxy leaves these out too.
pub(super) fn node_port_addresses(node: &NodeFacts, settings: &Settings) -> Vec<IpAddr> {
    let mut addresses = node_ports::node_port_addresses(node, settings);
    addresses.retain(|ip| !ip.is_loopback() && !is_link_local(ip));
    addresses
}

/// A service's own addresses, with the port, among those that serve node ports.
pub(super) fn explicit_frontends<'a>(
    service: &'a ServicePlan,
    node_ports: &'a [IpAddr],
) -> impl Iterator<Item = Entry> + 'a {
    service.ports.iter().flat_map(move |port| {
        let protocol = kernel_protocol(port.key.protocol);
        port.frontends
            .iter()
            .filter_map(move |frontend| match frontend.address {
                FrontendAddress::Ip(ip) if node_ports.binary_search(&ip).is_ok() => {
                    Some(Entry::IpPort(ip, protocol, frontend.port))
                }
                _ => None,
            })
    })
}

/// Whether a service has a node port, or the node port that would be this frontend.
pub(super) fn has_node_port(service: &ServicePlan, frontend: Option<&Entry>) -> bool {
    service.ports.iter().any(|port| {
        let protocol = kernel_protocol(port.key.protocol);
        port.frontends
            .iter()
            .filter(|own| own.address == FrontendAddress::NodePort)
            .any(|own| match frontend {
                Some(Entry::IpPort(ip, its_protocol, its_port)) => {
                    Family::of(*ip) == port.key.family
                        && *its_protocol == protocol
                        && *its_port == own.port
                }
                _ => frontend.is_none(),
            })
    })
}
