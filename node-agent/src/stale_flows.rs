//! Connection tracking entries that a change made wrong.
//!
//! UDP (and SCTP) has no end of a connection: a client that sends steadily keeps its entry alive, and with it an endpoint that is
//! gone, or no translation at all.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};

use sluice_kernel::conntrack::{
    Conntrack, ConntrackError, Family as KernelFamily, Flow, IpProtocol,
};
use sluice_service_plan::model::{Family, NodeFacts, Protocol};
use sluice_service_plan::plan::{FrontendAddress, Plan, PlanChange, PortPlan, ServicePlan};

use crate::family::{kernel_family, kernel_protocol};

/// A frontend as a flow's first packet met it; without an address it is a node port, which leads elsewhere in each family.
type Met = (KernelFamily, Option<IpAddr>, IpProtocol, u16);

/// What to do with flows to the frontends of one change.
#[derive(Debug, Default)]
pub(crate) struct StaleFlows {
    families: HashSet<Family>,
    frontends: HashMap<Met, Fate>,
}

/// Of the flows to one frontend.
#[derive(Debug, Default, Clone)]
struct Fate {
    /// Where flows may go.
    allowed: HashSet<SocketAddr>,
    /// Where flows went before.
    former: HashSet<SocketAddr>,
}

impl StaleFlows {
    /// Collects what a change leaves behind. Empty, and so without any dump, where it cannot leave anything.
    pub(crate) fn of(change: &PlanChange) -> Self {
        let mut stale = Self::default();
        for service in &change.services {
            let before = flat(service.before.as_deref());
            let after = flat(service.after.as_deref());
            for (met, (port, _)) in &before {
                let left = after.get(met).map(|(_, endpoints)| endpoints);
                let former = endpoints(port);
                if former
                    .iter()
                    .any(|endpoint| left.is_none_or(|left| !left.contains(endpoint)))
                {
                    stale.add(port, *met, left.cloned().unwrap_or_default(), former);
                }
            }
            for (met, (port, allowed)) in after {
                let was = before.get(&met).map(|(_, endpoints)| endpoints);
                if !allowed.is_empty() && was.is_none_or(HashSet::is_empty) {
                    stale.add(port, met, allowed, HashSet::new());
                }
            }
        }
        stale
    }

    /// Collects what may have been left behind while nobody looked.
    pub(crate) fn of_plan(plan: &Plan) -> Self {
        let mut stale = Self::default();
        for service in plan.services.values() {
            for (met, (port, allowed)) in flat(Some(service)) {
                stale.add(port, met, allowed, HashSet::new());
            }
        }
        stale
    }

    /// Deletes those flows: one dump for each family concerned. Returns how many.
    pub(crate) fn delete(
        &self,
        node: &NodeFacts,
        kernel: &mut dyn Conntrack,
    ) -> Result<usize, ConntrackError> {
        let mut deleted = 0;
        for family in &self.families {
            let mut stale = Vec::new();
            kernel.list(kernel_family(*family), &mut |flow| {
                if self.is_stale(node, flow) {
                    stale.push(*flow);
                }
            })?;
            if !stale.is_empty() {
                deleted += kernel.delete(&stale)?;
            }
        }
        Ok(deleted)
    }

    fn add(
        &mut self,
        port: &PortPlan,
        met: Met,
        allowed: HashSet<SocketAddr>,
        former: HashSet<SocketAddr>,
    ) {
        self.families.insert(port.key.family);
        let fate = self.frontends.entry(met).or_default();
        fate.allowed.extend(allowed);
        fate.former.extend(former);
    }

    fn is_stale(&self, node: &NodeFacts, flow: &Flow) -> bool {
        let to = flow.original.destination;
        let port = flow.original.destination_port;
        let fate = self
            .frontends
            .get(&(flow.family, Some(to), flow.protocol, port))
            .or_else(|| {
                let fate = self
                    .frontends
                    .get(&(flow.family, None, flow.protocol, port));
                fate.filter(|_| node.addresses.contains(&to) || to.is_loopback())
            });
        let Some(fate) = fate else { return false };
        let goes_to = SocketAddr::new(flow.reply.source, flow.reply.source_port);
        if fate.allowed.contains(&goes_to) {
            return false;
        }
        // A flow that could go somewhere better is stale, translated or not; where nothing is left, only what was sent by us.
        !fate.allowed.is_empty() || (flow.destination_translated && fate.former.contains(&goes_to))
    }
}

/// The frontends of a service whose protocols are affected, with the endpoints that they may lead to.
fn flat(service: Option<&ServicePlan>) -> HashMap<Met, (&PortPlan, HashSet<SocketAddr>)> {
    let mut frontends = HashMap::new();
    let ports = service.into_iter().flat_map(|service| &service.ports);
    for port in ports.filter(|port| port.key.protocol != Protocol::Tcp) {
        for frontend in &port.frontends {
            let address = match frontend.address {
                FrontendAddress::Ip(ip) => Some(ip),
                FrontendAddress::NodePort => None,
            };
            let pools = [frontend.outside, frontend.inside].map(|pool| port.pool(pool));
            let endpoints = pools
                .iter()
                .flat_map(|pool| pool.iter().map(|endpoint| endpoint.address))
                .collect();
            let key = &port.key;
            let met = (
                kernel_family(key.family),
                address,
                kernel_protocol(key.protocol),
                frontend.port,
            );
            frontends.insert(met, (port, endpoints));
        }
    }
    frontends
}

fn endpoints(port: &PortPlan) -> HashSet<SocketAddr> {
    port.cluster
        .iter()
        .chain(port.local.iter())
        .map(|endpoint| endpoint.address)
        .collect()
}
