//! Settings, as each proxy is told them.

use std::time::Duration;

use ipnet::IpNet;
use serde_json::{Value, json};
use sluice_service_plan::model::{LocalDetector, NodeFacts, NodePortAddresses, Settings};

/// Between two writes to the kernel: the run has hundreds of changes, one after the other.
const BETWEEN_WRITES: Duration = Duration::from_millis(20);

/// Flags of the agent.
pub(crate) fn agent_flags(settings: &Settings, node: &NodeFacts) -> Vec<String> {
    let mut flags: Vec<String> = Vec::new();
    let mut add = |flag: &str, value: &dyn ToString| {
        flags.extend([format!("--{flag}"), value.to_string()]);
    };
    add("min-sync-interval", &BETWEEN_WRITES.as_millis());
    match &settings.detect_local {
        LocalDetector::None => add("detect-local-mode", &"none"),
        LocalDetector::Cidrs(cidrs) if *cidrs == node.pod_cidrs => {
            add("detect-local-mode", &"node-cidr");
        }
        LocalDetector::Cidrs(cidrs) => {
            add("detect-local-mode", &"cluster-cidr");
            for cidr in cidrs {
                add("cluster-cidr", cidr);
            }
        }
        LocalDetector::BridgeInterface(name) => {
            add("detect-local-mode", &"bridge-interface");
            add("pod-bridge-interface", name);
        }
        LocalDetector::InterfaceNamePrefix(prefix) => {
            add("detect-local-mode", &"interface-name-prefix");
            add("pod-interface-name-prefix", prefix);
        }
    }
    match &settings.node_port_addresses {
        NodePortAddresses::All => {}
        NodePortAddresses::Cidrs(cidrs) => {
            for cidr in cidrs {
                add("node-port-address", cidr);
            }
        }
        NodePortAddresses::Primary => add("node-port-address", &"primary"),
    }
    add("mark-bit", &settings.mark_bit);
    if settings.masquerade_all {
        flags.push("--masquerade-all".to_owned());
    }
    if settings.localhost_node_ports {
        flags.push("--localhost-node-ports".to_owned());
    }
    flags
}

/// Fields of kube-proxy's configuration.
pub(crate) fn kube_proxy_fields(settings: &Settings, node: &NodeFacts) -> Value {
    let (mode, cidrs, interface) = match &settings.detect_local {
        LocalDetector::None => ("ClusterCIDR", String::new(), json!({})),
        LocalDetector::Cidrs(cidrs) if *cidrs == node.pod_cidrs => {
            ("NodeCIDR", String::new(), json!({}))
        }
        LocalDetector::Cidrs(cidrs) => ("ClusterCIDR", joined(cidrs), json!({})),
        LocalDetector::BridgeInterface(name) => {
            let interface = json!({"bridgeInterface": name});
            ("BridgeInterface", String::new(), interface)
        }
        LocalDetector::InterfaceNamePrefix(prefix) => {
            let interface = json!({"interfaceNamePrefix": prefix});
            ("InterfaceNamePrefix", String::new(), interface)
        }
    };
    let addresses = match &settings.node_port_addresses {
        // In its nftables mode nothing at all means `primary`.
        NodePortAddresses::All => json!(["0.0.0.0/0", "::/0"]),
        NodePortAddresses::Cidrs(cidrs) => json!(cidrs),
        NodePortAddresses::Primary => json!(["primary"]),
    };
    let period = format!("{}ms", BETWEEN_WRITES.as_millis());
    let of_every_mode = json!({
        "minSyncPeriod": period,
        "masqueradeAll": settings.masquerade_all,
        "masqueradeBit": settings.mark_bit,
    });
    let mut iptables = of_every_mode.clone();
    iptables["localhostNodePorts"] = json!(settings.localhost_node_ports);
    json!({
        "detectLocalMode": mode,
        "clusterCIDR": cidrs,
        "detectLocal": interface,
        "nodePortAddresses": addresses,
        "iptables": iptables,
        "nftables": of_every_mode,
        "ipvs": {"minSyncPeriod": period},
    })
}

fn joined(cidrs: &[IpNet]) -> String {
    let texts: Vec<String> = cidrs.iter().map(ToString::to_string).collect();
    texts.join(",")
}
