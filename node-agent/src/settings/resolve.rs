//! From a policy to what each part of the agent must know.

use std::time::Duration;

use ipnet::IpNet;
use sluice_crds::v1alpha1::{
    Cidr, Conntrack, EndpointWeight, IptablesVariant, NodePortAddress, NodePorts, PortRange,
    ServiceProxyPolicySpec, Sysctl,
};
use sluice_service_plan::model;

use super::detect_local::{LocalDetection, NodeNetworks, detect_local};

/// A policy as the agent works with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeSettings {
    /// What plans and packets depend on.
    pub plan: model::Settings,
    /// How the local detector in `plan` was chosen.
    pub local_detection: LocalDetection,
    /// Which iptables binaries.
    pub iptables_variant: IptablesVariant,
    /// Time from the end of one write to the start of the next.
    pub min_sync_interval: Duration,
    /// Time between full comparisons with the kernel.
    pub full_sync_interval: Duration,
    /// Connection tracking tunables.
    pub conntrack: Conntrack,
    /// Further node tunables.
    pub sysctls: Vec<Sysctl>,
}

impl NodeSettings {
    /// Resolves a policy that is valid ([`ServiceProxyPolicySpec::validate`] finds nothing); values outside their range would be cut to it.
    pub fn resolve(policy: &ServiceProxyPolicySpec, node: NodeNetworks<'_>) -> Self {
        let nat = &policy.source_nat;
        let local_detection = detect_local(&nat.detect_local, node);
        Self {
            plan: model::Settings {
                detect_local: local_detection.detector.clone(),
                masquerade_all: nat.masquerade_all,
                exclude_destinations: networks(&nat.exclude_destination_cidrs),
                snat_addresses: networks(&nat.snat.address_cidrs),
                snat_ports: nat.port_range.map(ports),
                random_fully: nat.random_fully,
                mark_bit: u8::try_from(nat.mark_bit).unwrap_or(31).min(31),
                node_port_addresses: node_port_addresses(&policy.node_ports),
                localhost_node_ports: policy.node_ports.localhost,
                tcp_be_liberal: policy.conntrack.tcp_be_liberal,
                endpoint_weights: policy.endpoint_weights.iter().map(weight).collect(),
            },
            local_detection,
            iptables_variant: policy.iptables.variant,
            min_sync_interval: Duration::from_millis(policy.sync.min_interval_milliseconds.into()),
            full_sync_interval: Duration::from_secs(policy.sync.full_interval_seconds.into()),
            conntrack: policy.conntrack.clone(),
            sysctls: policy.sysctls.clone(),
        }
    }
}

fn networks(cidrs: &[Cidr]) -> Vec<IpNet> {
    cidrs.iter().map(|cidr| cidr.net()).collect()
}

fn ports(range: PortRange) -> (u16, u16) {
    (saturate(range.from), saturate(range.to))
}

fn saturate(value: u32) -> u16 {
    u16::try_from(value).unwrap_or(u16::MAX)
}

fn node_port_addresses(node_ports: &NodePorts) -> model::NodePortAddresses {
    let mut cidrs = Vec::new();
    for address in &node_ports.addresses {
        match address {
            NodePortAddress::Primary => return model::NodePortAddresses::Primary,
            NodePortAddress::Cidr(cidr) => cidrs.push(cidr.net()),
        }
    }
    if cidrs.is_empty() {
        model::NodePortAddresses::All
    } else {
        model::NodePortAddresses::Cidrs(cidrs)
    }
}

fn weight(row: &EndpointWeight) -> model::EndpointWeight {
    let names = |names: &[String]| names.iter().map(|name| name.as_str().into()).collect();
    model::EndpointWeight {
        zones: names(&row.zones),
        nodes: names(&row.nodes),
        weight: saturate(row.weight),
    }
}
