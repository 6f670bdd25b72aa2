//! From a policy to what each part of the agent must know.

use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use sluice_crds::v1alpha1::{
    Cidr, Conntrack, EndpointWeight, IptablesVariant, Ipvs, LabelOperator, LabelRequirement,
    LabelSelector, ModeRule, NodePortAddress, NodePorts, PodAction, PodClass, PortRange,
    ServiceOverride, ServiceProxyPolicySpec, Sysctl, VipBinding,
};
use sluice_service_plan::model;

use super::detect_local::{LocalDetection, NodeNetworks, detect_local};
use super::ipvs::IpvsTunables;
use crate::attachments::Terms;

/// A policy as the agent works with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeSettings {
    /// What plans and packets depend on.
    pub plan: model::Settings,
    /// How the local detector in `plan` was chosen.
    pub local_detection: LocalDetection,
    /// Which data plane, given the number of services and what the node can run.
    pub mode: ModeRule,
    /// How long connections of the old data plane may go on after a switch; absent means until the last one ends.
    pub drain_timeout: Option<Duration>,
    /// What IPVS needs besides.
    pub ipvs: IpvsTunables,
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
    /// What attachments of pods get.
    pub attachments: Arc<Terms>,
}

impl NodeSettings {
    /// Resolves a policy that is valid ([`ServiceProxyPolicySpec::validate`] finds nothing); values outside their range would be cut to it.
    pub fn resolve(policy: &ServiceProxyPolicySpec, node: NodeNetworks<'_>) -> Self {
        let nat = &policy.source_nat;
        let local_detection = detect_local(&nat.detect_local, node);
        let plan = model::Settings {
            detect_local: local_detection.detector.clone(),
            masquerade_all: nat.masquerade_all,
            exclude_destinations: networks(&nat.exclude_destination_cidrs),
            snat_addresses: networks(&nat.snat.address_cidrs),
            snat_ports: nat.port_range.map(ports),
            random_fully: nat.random_fully,
            pod_classes: nat.pod_classes.iter().map(pod_class).collect(),
            mark_bit: u8::try_from(nat.mark_bit).unwrap_or(31).min(31),
            node_port_addresses: node_port_addresses(&policy.node_ports),
            localhost_node_ports: policy.node_ports.localhost,
            tcp_be_liberal: policy.conntrack.tcp_be_liberal,
            endpoint_weights: policy.endpoint_weights.iter().map(weight).collect(),
            ipvs: ipvs(&policy.ipvs),
            service_overrides: policy
                .service_overrides
                .iter()
                .map(service_override)
                .collect(),
        };
        Self {
            attachments: Arc::new(Terms::of(policy, &plan)),
            plan,
            local_detection,
            mode: policy.mode_rule(),
            drain_timeout: policy
                .mode_switch
                .drain_timeout_seconds
                .map(|s| Duration::from_secs(s.into())),
            ipvs: IpvsTunables {
                strict_arp: policy.ipvs.strict_arp,
                connection_reuse: policy.ipvs.connection_reuse,
                connection_table_bits: policy.ipvs.connection_table_bits.map(table_bits),
            },
            iptables_variant: policy.iptables.variant,
            min_sync_interval: Duration::from_millis(policy.sync.min_interval_milliseconds.into()),
            full_sync_interval: Duration::from_secs(policy.sync.full_interval_seconds.into()),
            conntrack: policy.conntrack.clone(),
            sysctls: policy.sysctls.clone(),
        }
    }
}

fn pod_class(class: &PodClass) -> model::PodClass {
    let addresses = class.snat.as_ref();
    model::PodClass {
        name: class.name.as_str().into(),
        action: match class.action {
            PodAction::Preserve => model::PodAction::Preserve,
            PodAction::Masquerade => model::PodAction::Masquerade,
            PodAction::SNAT => model::PodAction::Snat(
                addresses.map_or_else(Vec::new, |snat| networks(&snat.address_cidrs)),
            ),
        },
        egress: class.egress,
        out_interface: class.out_interface.clone(),
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

fn ipvs(ipvs: &Ipvs) -> model::IpvsSettings {
    model::IpvsSettings {
        scheduler: ipvs.scheduler.as_str().into(),
        vip_binding: match ipvs.vip_binding {
            VipBinding::LocalRoute => model::VipBinding::LocalRoute,
            VipBinding::Dummy => model::VipBinding::Dummy,
        },
        grace_seconds: ipvs.graceful_termination.timeout_seconds,
        timeouts: model::IpvsTimeouts {
            tcp: ipvs.timeouts.tcp_seconds,
            tcp_fin: ipvs.timeouts.tcp_fin_seconds,
            udp: ipvs.timeouts.udp_seconds,
        },
        excluded: networks(&ipvs.exclude_cidrs),
    }
}

fn table_bits(bits: u32) -> u8 {
    u8::try_from(bits).unwrap_or(u8::MAX)
}

fn service_override(row: &ServiceOverride) -> model::ServiceOverride {
    model::ServiceOverride {
        selector: selector(&row.selector),
        namespaces: names(&row.namespaces),
        ipvs_scheduler: row.ipvs_scheduler.as_str().into(),
    }
}

fn selector(selector: &LabelSelector) -> model::LabelSelector {
    model::LabelSelector {
        labels: selector.match_labels.clone(),
        requirements: selector.match_expressions.iter().map(requirement).collect(),
    }
}

fn requirement(requirement: &LabelRequirement) -> model::LabelRequirement {
    let LabelRequirement {
        key,
        operator,
        values,
    } = requirement.clone();
    match operator {
        LabelOperator::In => model::LabelRequirement::In(key, values),
        LabelOperator::NotIn => model::LabelRequirement::NotIn(key, values),
        LabelOperator::Exists => model::LabelRequirement::Exists(key),
        LabelOperator::DoesNotExist => model::LabelRequirement::DoesNotExist(key),
    }
}

fn names(names: &[String]) -> Vec<Arc<str>> {
    names.iter().map(|name| name.as_str().into()).collect()
}

fn weight(row: &EndpointWeight) -> model::EndpointWeight {
    model::EndpointWeight {
        zones: names(&row.zones),
        nodes: names(&row.nodes),
        weight: saturate(row.weight),
    }
}
