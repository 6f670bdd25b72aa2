//! Connection tracking entries of what IPVS translated, for the time when it is given up: without it nobody translates them, and rules
//! see only packets that have no entry yet.

use std::collections::HashSet;
use std::net::IpAddr;

use sluice_kernel::conntrack::{
    Conntrack, ConntrackError, Family as KernelFamily, Flow, IpProtocol, Tuple,
};
use sluice_service_plan::model::{Family, NodeFacts};
use sluice_service_plan::plan::{FrontendAddress, ServicePlan};

use crate::family::{kernel_family, kernel_protocol};
use crate::stale_flows::{delete_those, is_balanced_by_ipvs};

/// The frontends that such flows go to.
#[derive(Debug, Default)]
pub(super) struct BalancedFlows {
    families: HashSet<Family>,
    frontends: HashSet<(KernelFamily, IpProtocol, IpAddr, u16)>,
    /// On any address of the node.
    node_ports: HashSet<(KernelFamily, IpProtocol, u16)>,
}

impl BalancedFlows {
    /// Flows to these services.
    pub(super) fn of_services<'a>(services: impl Iterator<Item = &'a ServicePlan>) -> Self {
        let mut flows = Self::default();
        for port in services.flat_map(|service| &service.ports) {
            flows.families.insert(port.key.family);
            let family = kernel_family(port.key.family);
            let protocol = kernel_protocol(port.key.protocol);
            for frontend in &port.frontends {
                match frontend.address {
                    FrontendAddress::Ip(ip) => {
                        let met = (family, protocol, ip, frontend.port);
                        flows.frontends.insert(met);
                    }
                    FrontendAddress::NodePort => {
                        let met = (family, protocol, frontend.port);
                        flows.node_ports.insert(met);
                    }
                }
            }
        }
        flows
    }

    /// Deletes them: one dump for each family. Returns how many. The next datagram of a sender is a new flow; the next segment of a
    /// TCP connection meets an endpoint that knows nothing of it, which resets it.
    pub(super) fn delete(
        &self,
        node: &NodeFacts,
        kernel: &mut dyn Conntrack,
    ) -> Result<usize, ConntrackError> {
        delete_those(&self.families, kernel, &|flow| {
            self.is_made_by_request(node, flow) || self.is_made_by_answer(node, flow)
        })
    }

    fn is_made_by_request(&self, node: &NodeFacts, flow: &Flow) -> bool {
        let Tuple {
            destination,
            destination_port,
            ..
        } = flow.original;
        is_balanced_by_ipvs(flow) && self.is_frontend(node, flow, destination, destination_port)
    }

    /// The answer was under way when the entry that its request had made was deleted: IPVS gave it its source.
    fn is_made_by_answer(&self, node: &NodeFacts, flow: &Flow) -> bool {
        let Tuple {
            destination,
            destination_port,
            ..
        } = flow.reply;
        (destination, destination_port) != (flow.original.source, flow.original.source_port)
            && !flow.destination_translated
            // A pod's masqueraded connection may have got a node port's number.
            && !flow.source_translated
            && self.is_frontend(node, flow, destination, destination_port)
    }

    fn is_frontend(&self, node: &NodeFacts, flow: &Flow, ip: IpAddr, port: u16) -> bool {
        let (family, protocol) = (flow.family, flow.protocol);
        self.frontends.contains(&(family, protocol, ip, port))
            || node.addresses.contains(&ip) && self.node_ports.contains(&(family, protocol, port))
    }
}
