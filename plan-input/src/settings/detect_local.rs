//! How traffic of this node's own pods is told from other traffic.

use std::net::IpAddr;

use ipnet::IpNet;
use sluice_crds::v1alpha1::{DetectLocal, DetectLocalMode};
use sluice_service_plan::model::LocalDetector;

/// What decides whether the node's pods have addresses from its `spec.podCIDRs`.
#[derive(Debug, Clone, Copy, Default)]
pub struct NodeNetworks<'a> {
    /// `spec.podCIDRs` of the node.
    pub pod_cidrs: &'a [IpNet],
    /// Addresses of the node's interfaces; a bridge has one of the pod network.
    pub addresses: &'a [IpAddr],
    /// Destinations of routes that lead to interfaces of the node, without a gateway; a CNI without a bridge has one for each pod.
    pub routes: &'a [IpNet],
}

impl NodeNetworks<'_> {
    /// Something on the node lies in this network. A network plugin with addresses of its own leaves `spec.podCIDRs` unused.
    fn uses(&self, cidr: &IpNet) -> bool {
        self.addresses.iter().any(|address| cidr.contains(address))
            || self.routes.iter().any(|route| cidr.contains(route))
    }
}

/// The detector, and why it is this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalDetection {
    /// The detector.
    pub detector: LocalDetector,
    /// Why, as one sentence part for logs and conditions.
    pub reason: String,
    /// The detector is less than what the policy asks for, or may not be what its owner expects.
    pub needs_attention: bool,
}

/// Chooses the detector that the policy asks for. `Auto` takes those of the node's pod networks that something on the node lies in.
pub fn detect_local(wanted: &DetectLocal, node: NodeNetworks<'_>) -> LocalDetection {
    match wanted.mode {
        DetectLocalMode::Auto => auto(node),
        DetectLocalMode::NodeCIDR if node.pod_cidrs.is_empty() => nothing(
            "the policy asks for NodeCIDR, but the node has no spec.podCIDRs: set them, or choose another mode",
        ),
        DetectLocalMode::NodeCIDR => {
            by_networks(node.pod_cidrs.to_vec(), "the node's spec.podCIDRs")
        }
        DetectLocalMode::ClusterCIDR => {
            let cidrs = wanted
                .cluster_cidr
                .iter()
                .flat_map(|cluster| cluster.cidrs.iter().map(|cidr| cidr.net()));
            by_cluster(cidrs.collect(), node)
        }
        DetectLocalMode::BridgeInterface => {
            let name = wanted
                .bridge_interface
                .as_ref()
                .map(|bridge| bridge.name.clone())
                .unwrap_or_default();
            asked_for(
                format!("traffic of pods arrives on bridge {name}"),
                LocalDetector::BridgeInterface(name),
            )
        }
        DetectLocalMode::InterfaceNamePrefix => {
            let prefix = wanted
                .interface_name_prefix
                .as_ref()
                .map(|interfaces| interfaces.prefix.clone())
                .unwrap_or_default();
            asked_for(
                format!("traffic of pods arrives on interfaces {prefix}*"),
                LocalDetector::InterfaceNamePrefix(prefix),
            )
        }
        DetectLocalMode::None => {
            asked_for("the policy asks for None".to_owned(), LocalDetector::None)
        }
    }
}

fn auto(node: NodeNetworks<'_>) -> LocalDetection {
    if node.pod_cidrs.is_empty() {
        return nothing(
            "the node has no spec.podCIDRs: set them, or choose another mode than Auto",
        );
    }
    let (used, unused): (Vec<IpNet>, Vec<IpNet>) =
        node.pod_cidrs.iter().partition(|cidr| node.uses(cidr));
    if used.is_empty() {
        return nothing(&format!(
            "nothing on the node has an address or a route in its spec.podCIDRs ({}), so its pods seem to live elsewhere: choose another mode than Auto if they should be told",
            join(&unused)
        ));
    }
    let mut detection = by_networks(used, "those of the node's spec.podCIDRs that are in use");
    if !unused.is_empty() {
        detection.reason = format!(
            "{}; not {}, in which the node has no address or route",
            detection.reason,
            join(&unused)
        );
        detection.needs_attention = true;
    }
    detection
}

/// Pods of this node that the networks miss would be taken for clients outside.
fn by_cluster(cidrs: Vec<IpNet>, node: NodeNetworks<'_>) -> LocalDetection {
    let is_missed = |pods: &&IpNet| node.uses(pods) && !cidrs.iter().any(|all| all.contains(*pods));
    let missed: Vec<IpNet> = node.pod_cidrs.iter().filter(is_missed).copied().collect();
    let mut detection = by_networks(cidrs, "the policy's clusterCIDR");
    if !missed.is_empty() {
        detection.reason = format!(
            "{}; not from {} of the node's spec.podCIDRs, so its pods there are taken for clients outside: add it to clusterCIDR.cidrs, or choose NodeCIDR",
            detection.reason,
            join(&missed)
        );
        detection.needs_attention = true;
    }
    detection
}

fn by_networks(cidrs: Vec<IpNet>, origin: &str) -> LocalDetection {
    asked_for(
        format!("traffic of pods comes from {} ({origin})", join(&cidrs)),
        LocalDetector::Cidrs(cidrs),
    )
}

fn asked_for(reason: String, detector: LocalDetector) -> LocalDetection {
    LocalDetection {
        detector,
        reason,
        needs_attention: false,
    }
}

fn nothing(reason: &str) -> LocalDetection {
    LocalDetection {
        detector: LocalDetector::None,
        reason: reason.to_owned(),
        needs_attention: true,
    }
}

fn join(cidrs: &[IpNet]) -> String {
    cidrs
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}
