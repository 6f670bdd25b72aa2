//! Connection tracking entries that a change made wrong.
//!
//! UDP has no end of a connection: a client that sends steadily keeps its entry alive, and with it an endpoint that is gone. While an
//! endpoint serves, what rules translated stays with it, whoever gets new flows; what IPVS balances does not, as its real server is gone.
//! SCTP has an end, and whoever is left alone notices: what was translated once is let be, like TCP.
//!
//! UDP and SCTP clients that send before they can be translated keep an entry without translation. And where somebody beyond the node had
//! answered such a client, an answer that is under way while the entry is deleted makes a new one, the other way round: a second look, a
//! little later, finds that one.

#[cfg(test)]
mod tests;

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
