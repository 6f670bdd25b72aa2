//! What of a plan, and of what the kernel holds already, does not fit this node.

use sluice_kernel::address_set::{AddressSets, IpsetNetlink};
use sluice_kernel::iptables::{Family, Variant};
use sluice_service_plan::plan::{FrontendAddress, FrontendKind, Plan};

use crate::cli::show::full_note;
use crate::cli::snapshot::OURS;
use crate::trials::served_families;

/// In sentences.
pub(super) fn notes(plan: &Plan, variant: Variant) -> Vec<String> {
    let (families, lack) = served_families(variant);
    let mut notes: Vec<String> = lack.into_iter().collect();
    if notes.is_empty() && !families.contains(&Family::V6) {
        notes.push("IPv6 is off on this node: IPv4 is served".to_owned());
    }
    notes.extend(own_cluster_ips(plan));
    // Where sets cannot be listed, their trials have said so.
    let headers = IpsetNetlink::open().and_then(|mut sets| sets.headers(OURS));
    notes.extend(headers.unwrap_or_default().iter().filter_map(full_note));
    notes
}

/// Cluster IPs that are addresses of the node too. External addresses often are, and may be.
fn own_cluster_ips(plan: &Plan) -> Vec<String> {
    let ports = plan.services.values().flat_map(|service| &service.ports);
    ports
        .flat_map(|port| port.frontends.iter().map(move |frontend| (port, frontend)))
        .filter(|(_, frontend)| frontend.kind == FrontendKind::ClusterIp)
        .filter_map(|(port, frontend)| match frontend.address {
            FrontendAddress::Ip(ip) if plan.node.addresses.contains(&ip) => Some(format!(
                "{ip} is a cluster IP of {} and an address of this node: only the service's ports lead to it, and the address stays the node's; give one of the two another",
                port.key.service
            )),
            _ => None,
        })
        .collect()
}
