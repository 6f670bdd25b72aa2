//! What of a policy plans and packets depend on.

use std::sync::Arc;

use ipnet::IpNet;
use sluice_crds::v1alpha1::{
    Cidr, EndpointWeight, Ipvs, LabelOperator, LabelRequirement, LabelSelector, NodePortAddress,
    NodePorts, PodAction, PodClass, PortRange, ServiceOverride, ServiceProxyPolicySpec, VipBinding,
};
use sluice_service_plan::model::{self, LocalDetector};

/// Of a policy that is valid ([`ServiceProxyPolicySpec::validate`] finds nothing); values outside their range would be cut to it.
pub fn plan_settings(policy: &ServiceProxyPolicySpec, detector: LocalDetector) -> model::Settings {
    let nat = &policy.source_nat;
    model::Settings {
        detect_local: detector,
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
