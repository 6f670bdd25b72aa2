//! What must happen to one packet, and why: the oracle that data planes are tested against, and what is shown to people.
//!
//! It judges the first packet of a connection, without the memory that session affinity is. ICMP is not modelled.

mod endpoints;
mod lookup;
mod sources;
mod step;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

pub use self::lookup::FrontendIndex;
use self::lookup::{Door, Found, Lookup, bound_for};
pub use self::step::Step;
use crate::access::Admission;
use crate::masquerade::keeps_source;
use crate::model::{Family, LocalDetector, NodeFacts, PodAction, PodClass, Protocol, Settings};
use crate::packet::{Origin, Packet, Side};
use crate::plan::{Endpoint, FrontendAddress, Plan, PortKey, Refusal};
use crate::source::Source;

/// What happens to a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It goes to one of these endpoints.
    Balance {
        /// The service port that serves it.
        key: PortKey,
        /// Where it may go; never empty. Chances are by weight.
        endpoints: Arc<[Endpoint]>,
        /// Whether the frontend's rule masquerades it. [`Trace::masqueraded`] has the last word, by endpoint.
        masquerade: bool,
    },
    /// It is refused: TCP by a reset, else by ICMP port unreachable.
    Reject,
    /// It vanishes.
    Drop,
    /// No service asks for it: it passes as if there were no proxy.
    NotOurs,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Balance { key, endpoints, .. } => {
                write!(f, "goes to one of {} endpoints of {key}", endpoints.len())
            }
            Self::Reject => f.write_str("refused"),
            Self::Drop => f.write_str("dropped"),
            Self::NotOurs => f.write_str("not a service's"),
        }
    }
}

/// A packet's verdict, and the way to it.
#[derive(Debug, Clone)]
pub struct Trace {
    /// What happens.
    pub verdict: Verdict,
    /// Why, in the order in which it was decided.
    pub steps: Vec<Step>,
    /// The class of the pod that sends it, where it counts for this packet, its interface apart.
    class: Option<PodClass>,
    source: IpAddr,
    node: Arc<NodeFacts>,
    settings: Arc<Settings>,
}

/// Judges one packet. Looks through the whole plan: for many packets make a [`FrontendIndex`] once.
pub fn trace(packet: &Packet, plan: &Plan) -> Trace {
    Decision::new(packet, plan).run(&plan)
}

/// Judges one packet where IPVS balances: [excluded](crate::model::IpvsSettings::excluded) addresses are others'.
pub fn trace_by_ipvs(packet: &Packet, plan: &Plan) -> Trace {
    let decision = Decision {
        excluded: &plan.settings.ipvs.excluded,
        is_by_ipvs: true,
        ..Decision::new(packet, plan)
    };
    decision.run(&plan)
}

impl FrontendIndex<'_> {
    /// Judges one packet, as [`trace`] does.
    pub fn trace(&self, packet: &Packet) -> Trace {
        Decision::new(packet, self.plan()).run(self)
    }
}

struct Decision<'a> {
    packet: &'a Packet,
    plan: &'a Plan,
    /// Destinations that are others'.
    excluded: &'a [IpNet],
    is_by_ipvs: bool,
    steps: Vec<Step>,
    class: Option<PodClass>,
}

impl<'a> Decision<'a> {
    fn new(packet: &'a Packet, plan: &'a Plan) -> Self {
        Self {
            packet,
            plan,
            excluded: &[],
            is_by_ipvs: false,
            steps: Vec::new(),
            class: None,
        }
    }

    fn run(mut self, lookup: &impl Lookup<'a>) -> Trace {
        let verdict = self.verdict(lookup);
        Trace {
            verdict,
            steps: self.steps,
            class: self.class,
            source: self.packet.source,
            node: self.plan.node.clone(),
            settings: self.plan.settings.clone(),
        }
    }

    fn verdict(&mut self, lookup: &impl Lookup<'a>) -> Verdict {
        if self.is_foreign_loopback() {
            self.steps.push(Step::ForeignLoopback {
                destination: self.packet.destination.ip(),
            });
            return Verdict::Drop;
        }
        let destination = self.packet.destination.ip();
        if self.excluded.iter().any(|net| net.contains(&destination)) {
            self.steps.push(Step::Excluded { destination });
            return self.pass(lookup);
        }
        match self.find(lookup) {
            Some(found) => self.at_frontend(found),
            None => self.unlisted(lookup),
        }
    }

    /// A packet for 127.0.0.0/8 that another host sent; only `route_localnet`, which localhost node ports need, lets
    /// it in (CVE-2020-8558).
    fn is_foreign_loopback(&self) -> bool {
        let destination = self.packet.destination.ip();
        self.plan.settings.localhost_node_ports
            && destination.is_ipv4()
            && destination.is_loopback()
            && self.packet.origin != Origin::Node
    }

    fn find(&self, lookup: &impl Lookup<'a>) -> Option<Found<'a>> {
        let destination = self.packet.destination;
        let at = |address| lookup.frontend(&Door::new(address, destination, self.packet.protocol));
        at(FrontendAddress::Ip(destination.ip())).or_else(|| {
            let serves = lookup.serves_node_ports(destination.ip());
            if serves {
                at(FrontendAddress::NodePort)
            } else {
                None
            }
        })
    }

    fn at_frontend(&mut self, found: Found<'a>) -> Verdict {
        let Found { port, frontend } = found;
        let settings = &*self.plan.settings;
        self.steps.push(Step::Frontend {
            key: port.key.clone(),
            destination: self.packet.destination,
            kind: frontend.kind,
        });
        let admission = Admission::of(self.packet.source, frontend, &self.plan.node);
        if admission != Admission::Open {
            self.steps.push(Step::SourceRanges {
                source: self.packet.source,
                admission,
            });
        }
        if admission == Admission::Refused {
            return Verdict::Drop;
        }
        let side = Side::of(self.packet, settings);
        let pool = if side.is_inside() {
            frontend.inside
        } else {
            frontend.outside
        };
        let endpoints = port.pool(pool);
        self.steps.push(Step::Pool {
            side,
            pool,
            depends_on_side: frontend.inside != frontend.outside,
            endpoints: endpoints.len(),
        });
        if endpoints.is_empty() {
            self.steps.push(Step::Refused {
                refusal: frontend.refusal,
            });
            return match frontend.refusal {
                Refusal::Reject => Verdict::Reject,
                Refusal::Drop => Verdict::Drop,
            };
        }
        if let Some(seconds) = port.affinity_seconds {
            self.steps.push(Step::Affinity { seconds });
        }
        let masquerade = frontend.masquerade.applies(self.packet, settings);
        self.steps.push(Step::Masquerade {
            rule: frontend.masquerade,
            applies: masquerade,
        });
        self.classify(|_| true);
        self.exceptions(endpoints, masquerade);
        Verdict::Balance {
            key: port.key.clone(),
            endpoints: endpoints.clone(),
            masquerade,
        }
    }

    /// Notes the class of the pod that sends it, if that counts.
    fn classify(&mut self, counts: impl Fn(&PodClass) -> bool) {
        let (node, settings) = (&self.plan.node, &self.plan.settings);
        let mut classes = settings.pod_classes.iter();
        let class = classes.find(|class| self.packet.class.as_ref() == Some(&class.name));
        if let Some(class) = class.filter(|class| counts(class)) {
            let family = Family::of(self.packet.destination.ip());
            self.steps.push(Step::Class {
                name: class.name.clone(),
                out_interface: class.out_interface.clone(),
                source: Source::of_class(&class.action, family, node, settings),
            });
            self.class = Some(class.clone());
        }
    }

    /// Whether an address beyond this node is nobody's that this cluster knows: neither a pod's nor a service's.
    fn is_beyond_cluster(&self, ip: IpAddr, lookup: &impl Lookup<'a>) -> bool {
        let (node, settings) = (&self.plan.node, &self.plan.settings);
        let pods = match &settings.detect_local {
            LocalDetector::Cidrs(networks) => networks.as_slice(),
            _ => &[],
        };
        let pods = pods.iter().chain(&node.pod_cidrs);
        !node.addresses.contains(&ip)
            && !pods.into_iter().any(|net| net.contains(&ip))
            && !lookup.is_service_address(ip)
            && !keeps_source(ip, settings)
    }

    /// Endpoints that are masqueraded otherwise than the frontend's rule says.
    fn exceptions(&mut self, endpoints: &[Endpoint], masquerade: bool) {
        let source = self.packet.source;
        let (itself, others): (Vec<_>, Vec<_>) = endpoints
            .iter()
            .map(|one| one.address)
            .partition(|address| address.ip() == source);
        self.steps.extend(
            itself
                .into_iter()
                .map(|endpoint| Step::Hairpin { endpoint }),
        );
        let settings = &self.plan.settings;
        let excluded = others
            .iter()
            .filter(|address| keeps_source(address.ip(), settings))
            .count();
        let class = self.class.as_ref().map(|class| &class.action);
        let masquerade = masquerade || class.is_some_and(|action| *action != PodAction::Preserve);
        if masquerade && excluded > 0 && !source.is_loopback() {
            self.steps.push(Step::KeepsSource {
                endpoints: excluded,
            });
        }
    }

    fn asks_for_health(&self) -> bool {
        let Packet {
            protocol,
            destination,
            ..
        } = self.packet;
        *protocol == Protocol::Tcp && self.plan.node.health_port == Some(destination.port())
    }

    /// Nothing of the node may answer on a cluster IP's unlisted port. External addresses pass: unless they are the
    /// node's own they are somebody else's too, and a load balancer asks on them for the node's health.
    fn unlisted(&mut self, lookup: &impl Lookup<'a>) -> Verdict {
        let destination = self.packet.destination;
        let own = self.plan.node.addresses.contains(&destination.ip());
        match lookup.cluster_ip(destination.ip()) {
            Some(service) if !own => {
                self.steps.push(Step::UnlistedPort {
                    service: service.clone(),
                    destination,
                    protocol: self.packet.protocol,
                });
                Verdict::Reject
            }
            None if self.asks_for_health() && lookup.is_service_address(destination.ip()) => {
                self.steps.push(Step::Health { destination });
                Verdict::NotOurs
            }
            _ => {
                let is_bound = self.is_by_ipvs && !own;
                let bound = is_bound.then(|| bound_for(self.plan, destination.ip()));
                if let Some(service) = bound.flatten() {
                    self.steps.push(Step::ClosedPort {
                        service: service.clone(),
                        destination,
                        protocol: self.packet.protocol,
                    });
                    return Verdict::Reject;
                }
                self.steps.push(Step::NoFrontend {
                    destination,
                    protocol: self.packet.protocol,
                });
                self.pass(lookup)
            }
        }
    }

    /// It is no service's; the class of its pod may count where it leaves the cluster.
    fn pass(&mut self, lookup: &impl Lookup<'a>) -> Verdict {
        let is_beyond = self.is_beyond_cluster(self.packet.destination.ip(), lookup);
        self.classify(|class| class.egress && is_beyond);
        Verdict::NotOurs
    }
}
