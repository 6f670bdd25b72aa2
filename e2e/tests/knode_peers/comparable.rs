//! Rows that cannot be put to kube-proxy by an API server, and why.

use std::collections::BTreeSet;

use sluice_e2e::packets::Row;
use sluice_service_plan::model::{NodePortAddresses, ServiceType};

/// Why some rows are not compared.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NotComparable {
    pub(crate) title: &'static str,
    pub(crate) reason: &'static str,
    is: fn(&Row) -> bool,
}

/// All reasons; the first that fits a row counts.
pub(crate) const REASONS: [NotComparable; 9] = [
    NotComparable {
        title: "Weights of endpoints",
        reason: "kube-proxy has no such setting: all endpoints have equal shares.",
        is: |row| !row.scene.settings.endpoint_weights.is_empty(),
    },
    NotComparable {
        title: "Classes of pods",
        reason: "kube-proxy has no such setting: it leaves traffic that is for no service alone.",
        is: |row| !row.scene.settings.pod_classes.is_empty(),
    },
    NotComparable {
        title: "Destinations that are not masqueraded, addresses and ports of source NAT, source ports that are not random",
        reason: "kube-proxy has no such settings: it masquerades with the outgoing interface's address and with random ports.",
        is: |row| {
            let settings = &row.scene.settings;
            !settings.exclude_destinations.is_empty()
                || !settings.snat_addresses.is_empty()
                || settings.snat_ports.is_some()
                || !settings.random_fully
        },
    },
    NotComparable {
        title: "Node ports in networks of loopback only, without node ports on localhost",
        reason: "Such a node serves no node port at all, so Sluice's policy refuses the settings.",
        is: |row| {
            let settings = &row.scene.settings;
            let loopback = |addresses: &NodePortAddresses| {
                matches!(addresses, NodePortAddresses::Cidrs(cidrs)
                if cidrs.iter().all(|cidr| cidr.addr().is_loopback()))
            };
            !settings.localhost_node_ports && loopback(&settings.node_port_addresses)
        },
    },
    NotComparable {
        title: "The ports on which the proxy tells the health of node and services, on load-balancer addresses",
        reason: "The rows ask a daemon of the lab in the proxy's place. kube-proxy refuses no port of such an address; Sluice lets the node answer on these only.",
        is: |row| {
            let mut services = row.scene.services.iter();
            row.scene.node.health_port.is_some()
                || services.any(|service| service.health_check_port.is_some())
        },
    },
    NotComparable {
        title: "Two services with one node port",
        reason: "The API server gives a node port to one service only. Sluice's manifests may hold two: the older one has it.",
        is: |row| {
            let ports = row.scene.services.iter().flat_map(|one| &one.ports);
            repeats(ports.filter_map(|port| Some((port.protocol, port.node_port?))))
        },
    },
    NotComparable {
        title: "Two services with one external IP and port",
        reason: "Sluice serves the older one. kube-proxy knows no order: which of the two it serves may change with any restart, and its iptables mode writes both.",
        is: |row| {
            repeats(row.scene.services.iter().flat_map(|one| {
                one.external_ips.iter().flat_map(|ip| {
                    one.ports
                        .iter()
                        .map(move |port| (*ip, port.protocol, port.port))
                })
            }))
        },
    },
    NotComparable {
        title: "A service of type ExternalName with addresses",
        reason: "The API server lets none have any.",
        is: |row| {
            let mut services = row.scene.services.iter();
            services.any(|one| one.kind == ServiceType::ExternalName)
        },
    },
    NotComparable {
        title: "A slice with two ports of one name",
        reason: "The API server refuses it.",
        is: |row| {
            let mut slices = row.scene.slices.iter();
            slices.any(|slice| repeats(slice.ports.iter().map(|port| &port.name)))
        },
    },
];

impl NotComparable {
    /// Why a row is not compared.
    pub(crate) fn of(row: &Row) -> Option<&'static Self> {
        REASONS.iter().find(|reason| (reason.is)(row))
    }
}

fn repeats<T: Ord>(items: impl Iterator<Item = T>) -> bool {
    let mut seen = BTreeSet::new();
    let mut items = items;
    items.any(|item| !seen.insert(item))
}
