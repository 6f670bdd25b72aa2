//! Connection tracking entries that a change made wrong.
//!
//! UDP has no end of a connection: a client that sends steadily keeps its entry alive, and with it an endpoint that is gone. While an
//! endpoint serves, what rules translated stays with it, whoever gets new flows; what IPVS balances does not, as its real server is gone.
//! SCTP has an end, and whoever is left alone notices: what was translated once is let be, like TCP.
//!
//! UDP and SCTP clients that send before they can be translated keep an entry without translation. And where somebody beyond the node had
//! answered such a client, an answer that is under way while the entry is deleted makes a new one, the other way round: a second look, a
//! little later, finds that one.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};

use sluice_kernel::conntrack::{
    Conntrack, ConntrackError, Family as KernelFamily, Flow, IpProtocol, Tuple,
};
use sluice_service_plan::model::{Family, NodeFacts, ObjectName, Protocol};
use sluice_service_plan::node_ports::node_port_addresses;
use sluice_service_plan::plan::{
    Endpoint, FrontendAddress, Plan, PlanChange, PortPlan, ServicePlan,
};

use crate::family::{is_link_local, kernel_family, kernel_protocol};

/// A frontend as a flow's first packet met it; without an address it is a node port, which leads elsewhere in each family.
type Met = (KernelFamily, Option<IpAddr>, IpProtocol, u16);

/// What to do with flows to the frontends of one change.
#[derive(Debug, Default)]
pub(crate) struct StaleFlows {
    families: HashSet<Family>,
    services: BTreeSet<ObjectName>,
    frontends: HashMap<Met, Fate>,
}

/// Of the flows to one frontend.
#[derive(Debug, Default, Clone)]
struct Fate {
    now: Destinations,
    /// Where flows went before.
    former: HashSet<SocketAddr>,
}

/// Where flows to one frontend may go.
#[derive(Debug, Default, Clone)]
struct Destinations {
    /// New ones.
    usable: HashSet<SocketAddr>,
    /// Those that rules translated already.
    serving: HashSet<SocketAddr>,
}

impl StaleFlows {
    /// Collects what a change leaves behind. Empty, and so without any dump, where it cannot leave anything: without IPVS no flow has to
    /// leave an endpoint that serves.
    pub(crate) fn of(change: &PlanChange, has_ipvs: bool) -> Self {
        let mut stale = Self::default();
        for service in &change.services {
            let before = flat(service.before.as_deref());
            let after = flat(service.after.as_deref());
            for (met, (port, was)) in &before {
                let now = after.get(met).map(|(_, now)| now.clone());
                let now = now.unwrap_or_default();
                let is_lost = !was.serving.is_subset(&now.serving)
                    || has_ipvs && !was.usable.is_subset(&now.usable);
                if is_lost && port.key.protocol == Protocol::Udp {
                    stale.add(port, *met, now, was.serving.clone());
                }
            }
            for (met, (port, now)) in after {
                let was = before.get(&met).map(|(_, was)| &was.usable);
                if !now.usable.is_empty() && was.is_none_or(HashSet::is_empty) {
                    stale.add(port, met, now, HashSet::new());
                }
            }
        }
        stale
    }

    /// Collects what may have been left behind by these services while nobody looked.
    pub(crate) fn of_services<'a>(services: impl Iterator<Item = &'a ServicePlan>) -> Self {
        let mut stale = Self::default();
        for service in services {
            for (met, (port, now)) in flat(Some(service)) {
                stale.add(port, met, now, HashSet::new());
            }
        }
        stale
    }

    /// Adds what was sent to node ports at addresses that did not serve any until now, and so went untranslated.
    pub(crate) fn and_at_new_addresses(mut self, former: &Plan, plan: &Plan) -> Self {
        let before = node_port_addresses(&former.node, &former.settings);
        let mut new = node_port_addresses(&plan.node, &plan.settings);
        // Every pod's start brings a link-local one: that is no reason for a dump.
        new.retain(|ip| before.binary_search(ip).is_err() && !is_link_local(ip));
        let families: HashSet<Family> = new.iter().map(|ip| Family::of(*ip)).collect();
        if families.is_empty() {
            return self;
        }
        for service in plan.services.values() {
            for (met, (port, now)) in flat(Some(service)) {
                let (_, address, ..) = met;
                let is_served = address.is_none() && !now.usable.is_empty();
                if is_served && families.contains(&port.key.family) {
                    self.add(port, met, now, HashSet::new());
                }
            }
        }
        self
    }

    /// The services concerned.
    pub(crate) fn services(self) -> BTreeSet<ObjectName> {
        self.services
    }

    /// Deletes those flows: one dump for each family concerned. Returns how many.
    pub(crate) fn delete(
        &self,
        node: &NodeFacts,
        kernel: &mut dyn Conntrack,
    ) -> Result<usize, ConntrackError> {
        delete_those(&self.families, kernel, &|flow| self.is_stale(node, flow))
    }

    fn add(&mut self, port: &PortPlan, met: Met, now: Destinations, former: HashSet<SocketAddr>) {
        self.families.insert(port.key.family);
        if !self.services.contains(&port.key.service) {
            self.services.insert(port.key.service.clone());
        }
        let fate = self.frontends.entry(met).or_default();
        fate.now.usable.extend(now.usable);
        fate.now.serving.extend(now.serving);
        fate.former.extend(former);
    }

    fn is_stale(&self, node: &NodeFacts, flow: &Flow) -> bool {
        self.leads_astray(node, flow) || self.is_reversed(flow)
    }

    /// Made by an answer from a service address that no frontend had translated.
    fn is_reversed(&self, flow: &Flow) -> bool {
        let Tuple {
            source,
            source_port,
            ..
        } = flow.original;
        let met = (flow.family, Some(source), flow.protocol, source_port);
        let fate = self.frontends.get(&met);
        fate.is_some_and(|fate| !fate.now.usable.is_empty())
            && !flow.destination_translated
            && !is_balanced_by_ipvs(flow)
    }

    fn leads_astray(&self, node: &NodeFacts, flow: &Flow) -> bool {
        let Some(fate) = self.fate(node, flow) else {
            return false;
        };
        let goes_to = SocketAddr::new(flow.reply.source, flow.reply.source_port);
        let Fate { now, former } = fate;
        let by_ipvs = is_balanced_by_ipvs(flow);
        if now.usable.contains(&goes_to) || !by_ipvs && now.serving.contains(&goes_to) {
            return false;
        }
        let translated = flow.destination_translated || by_ipvs;
        if translated && flow.protocol == IpProtocol::SCTP {
            return false;
        }
        // A flow that could go somewhere better is stale, translated or not; where nothing is left, only what was sent by us.
        !now.usable.is_empty() || (translated && former.contains(&goes_to))
    }

    fn fate(&self, node: &NodeFacts, flow: &Flow) -> Option<&Fate> {
        let to = flow.original.destination;
        let port = flow.original.destination_port;
        self.frontends
            .get(&(flow.family, Some(to), flow.protocol, port))
            .or_else(|| {
                let fate = self
                    .frontends
                    .get(&(flow.family, None, flow.protocol, port));
                fate.filter(|_| node.addresses.contains(&to) || to.is_loopback())
            })
    }
}

/// Deletes the entries of these families that are chosen: one dump for each. Returns how many.
pub(crate) fn delete_those(
    families: &HashSet<Family>,
    kernel: &mut dyn Conntrack,
    chosen: &dyn Fn(&Flow) -> bool,
) -> Result<usize, ConntrackError> {
    let mut deleted = 0;
    for family in families {
        let mut flows = Vec::new();
        kernel.list(kernel_family(*family), &mut |flow| {
            if chosen(flow) {
                flows.push(*flow);
            }
        })?;
        if !flows.is_empty() {
            deleted += kernel.delete(&flows)?;
        }
    }
    Ok(deleted)
}

/// IPVS tells connection tracking who answers, but no translation (`ip_vs_update_conntrack`).
pub(crate) fn is_balanced_by_ipvs(flow: &Flow) -> bool {
    !flow.destination_translated
        && (flow.reply.source, flow.reply.source_port)
            != (flow.original.destination, flow.original.destination_port)
}

/// The frontends of a service whose protocols are affected, with the endpoints that they may lead to.
fn flat(service: Option<&ServicePlan>) -> HashMap<Met, (&PortPlan, Destinations)> {
    let mut frontends = HashMap::new();
    let ports = service.into_iter().flat_map(|service| &service.ports);
    for port in ports.filter(|port| port.key.protocol != Protocol::Tcp) {
        for frontend in &port.frontends {
            let address = match frontend.address {
                FrontendAddress::Ip(ip) => Some(ip),
                FrontendAddress::NodePort => None,
            };
            let pools = [frontend.outside, frontend.inside].map(|pool| port.pool(pool));
            let destinations = Destinations {
                usable: addresses(pools.into_iter().flat_map(|pool| pool.iter())),
                serving: addresses(port.serving.iter()),
            };
            let key = &port.key;
            let met = (
                kernel_family(key.family),
                address,
                kernel_protocol(key.protocol),
                frontend.port,
            );
            frontends.insert(met, (port, destinations));
        }
    }
    frontends
}

fn addresses<'a>(endpoints: impl Iterator<Item = &'a Endpoint>) -> HashSet<SocketAddr> {
    endpoints.map(|endpoint| endpoint.address).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use sluice_kernel::conntrack::MemoryConntrack;
    use sluice_service_plan::plan::{
        EndpointNode, Frontend, FrontendKind, Masquerade, Pool, PortKey, Refusal, ServiceChange,
    };

    use super::*;

    /// What a service has at one moment.
    #[derive(Clone, Copy)]
    struct Step {
        usable: &'static [&'static str],
        /// Beside those.
        draining: &'static [&'static str],
    }

    fn usable(usable: &'static [&'static str]) -> Step {
        Step {
            usable,
            draining: &[],
        }
    }

    fn socket(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn endpoints<'a>(addresses: impl Iterator<Item = &'a &'a str>) -> Arc<[Endpoint]> {
        let endpoint = |address: &&str| Endpoint {
            address: socket(address),
            weight: 1,
            node: EndpointNode::Another,
        };
        addresses.map(endpoint).collect()
    }

    fn service(protocol: Protocol, step: Step) -> Arc<ServicePlan> {
        let name = ObjectName::new("shop", "dns");
        let serving = step.usable.iter().chain(step.draining);
        let serving = serving.filter(|_| protocol == Protocol::Udp);
        Arc::new(ServicePlan {
            name: name.clone(),
            ports: vec![PortPlan {
                key: PortKey {
                    service: name,
                    family: Family::V4,
                    port: Arc::from("dns"),
                    protocol,
                },
                affinity_seconds: None,
                cluster: endpoints(step.usable.iter()),
                local: Arc::new([]),
                serving: endpoints(serving),
                frontends: vec![Frontend {
                    address: FrontendAddress::Ip("10.96.0.10".parse().unwrap()),
                    port: 53,
                    kind: FrontendKind::ClusterIp,
                    source_ranges: None,
                    outside: Pool::Cluster,
                    inside: Pool::Cluster,
                    refusal: Refusal::Reject,
                    masquerade: Masquerade::Never,
                }],
            }],
            ipvs_scheduler: None,
            health_check: None,
            lost: Vec::new(),
            is_cluster_dns: false,
        })
    }

    /// A flow whose answers come from `from`; rules translate it.
    fn flow(source: &str, destination: &str, from: &str) -> Flow {
        let (source, destination, from) = (socket(source), socket(destination), socket(from));
        let tuple = |a: SocketAddr, b: SocketAddr| Tuple {
            source: a.ip(),
            destination: b.ip(),
            source_port: a.port(),
            destination_port: b.port(),
        };
        Flow {
            family: KernelFamily::V4,
            protocol: IpProtocol::UDP,
            original: tuple(source, destination),
            reply: tuple(from, source),
            zone: 0,
            destination_translated: destination != from,
        }
    }

    fn by_ipvs(flow: Flow) -> Flow {
        Flow {
            destination_translated: false,
            ..flow
        }
    }

    fn sctp(flow: Flow) -> Flow {
        Flow {
            protocol: IpProtocol::SCTP,
            ..flow
        }
    }

    /// A change of the service, which is removed where there is no step after it.
    fn change(protocol: Protocol, before: Step, after: Option<Step>) -> PlanChange {
        PlanChange {
            services: vec![ServiceChange {
                name: ObjectName::new("shop", "dns"),
                before: Some(service(protocol, before)),
                after: after.map(|step| service(protocol, step)),
            }],
            node_or_settings: false,
        }
    }

    fn left_by(stale: &StaleFlows, flows: &[Flow]) -> Vec<Flow> {
        let mut kernel = MemoryConntrack::new();
        for flow in flows {
            kernel.insert(*flow);
        }
        stale.delete(&NodeFacts::default(), &mut kernel).unwrap();
        kernel.flows()
    }

    fn left_after(before: Step, after: Step, flows: &[Flow]) -> Vec<Flow> {
        let change = change(Protocol::Udp, before, Some(after));
        left_by(&StaleFlows::of(&change, false), flows)
    }

    const CLIENT: &str = "10.244.0.5:4000";
    const OTHER_CLIENT: &str = "10.244.0.6:4000";
    const VIP: &str = "10.96.0.10:53";
    const A: &str = "10.244.1.1:53";
    const B: &str = "10.244.1.2:53";
    const DRAINING: Step = Step {
        usable: &[B],
        draining: &[A],
    };

    #[test]
    fn flows_to_an_endpoint_that_went_are_deleted_and_those_to_the_others_stay() {
        let gone = flow(CLIENT, VIP, A);
        let stays = flow(OTHER_CLIENT, VIP, B);
        let foreign = flow(CLIENT, "192.0.2.1:53", "192.0.2.1:53");
        let left = left_after(usable(&[A, B]), usable(&[B]), &[gone, stays, foreign]);
        assert!(
            !left.contains(&gone) && left.contains(&stays) && left.contains(&foreign),
            "{left:?}"
        );
    }

    #[test]
    fn flows_that_rules_translated_stay_with_an_endpoint_as_long_as_it_serves() {
        let kept = flow(CLIENT, VIP, A);
        let draining = change(Protocol::Udp, usable(&[A, B]), Some(DRAINING));
        assert_eq!(
            StaleFlows::of(&draining, false).services().len(),
            0,
            "no dump"
        );
        assert_eq!(left_by(&StaleFlows::of(&draining, true), &[kept]), [kept]);
        let any = service(Protocol::Udp, DRAINING);
        let looked = StaleFlows::of_services([&*any].into_iter());
        assert_eq!(left_by(&looked, &[kept]), [kept]);

        assert_eq!(left_after(DRAINING, usable(&[B]), &[kept]), []);
        let removed = change(Protocol::Udp, DRAINING, None);
        assert_eq!(left_by(&StaleFlows::of(&removed, false), &[kept]), []);
    }

    #[test]
    fn flows_of_ipvs_leave_an_endpoint_that_gets_no_new_ones() {
        let (gone, stays) = (flow(CLIENT, VIP, A), flow(OTHER_CLIENT, VIP, B));
        let flows = [gone, stays].map(by_ipvs);
        let change = change(Protocol::Udp, usable(&[A, B]), Some(DRAINING));
        let left = left_by(&StaleFlows::of(&change, true), &flows);
        assert_eq!(left, flows[1..]);
    }

    #[test]
    fn associations_of_sctp_are_never_deleted() {
        let kept = [flow(CLIENT, VIP, A), by_ipvs(flow(OTHER_CLIENT, VIP, A))].map(sctp);
        for after in [Some(usable(&[B])), Some(usable(&[])), None] {
            let change = change(Protocol::Sctp, usable(&[A, B]), after);
            for has_ipvs in [false, true] {
                let stale = StaleFlows::of(&change, has_ipvs);
                assert_eq!(stale.services().len(), 0, "no dump");
            }
        }
        let any = service(Protocol::Sctp, usable(&[B]));
        let looked = StaleFlows::of_services([&*any].into_iter());
        let untranslated = sctp(flow("10.244.0.7:4000", VIP, VIP));
        let [first, second] = kept;
        assert_eq!(left_by(&looked, &[first, second, untranslated]), kept);
    }

    #[test]
    fn flows_that_were_never_translated_are_deleted_when_they_could_be_also_the_wrong_way_round() {
        let untranslated = flow(CLIENT, VIP, VIP);
        let reversed = flow(VIP, CLIENT, CLIENT);
        assert_eq!(
            left_after(usable(&[]), usable(&[A]), &[untranslated, reversed]),
            []
        );
    }
}
