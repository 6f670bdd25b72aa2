//! The pod network: a bridge on each node, and routes between the nodes.

use std::fs::File;
use std::io::Read;

use serde_json::{Value, json};

use super::cluster::{Cluster, Node};
use super::error::{KindError, failed};
use super::programs::Program;

/// The CNI configuration of every node, as the container runtime finds it first.
const CONFIGURATION: &str = "/etc/cni/net.d/50-pods.conflist";
/// A plugin that nodes of kind do not have.
const BRIDGE: &str = "/opt/cni/bin/bridge";

/// A router of both families, as kubeadm asks of a node; a bridge plugin makes it one only with the first pod.
const FORWARDING: [&str; 4] = [
    "sysctl",
    "--write",
    "net.ipv4.ip_forward=1",
    "net.ipv6.conf.all.forwarding=1",
];

/// Leads from every node to the pods of the others. None of this outlives a node's restart.
pub(super) fn route(cluster: &Cluster, nodes: &[Node]) -> Result<(), KindError> {
    for node in nodes {
        cluster.on_node(&node.name, &FORWARDING)?;
        for other in nodes.iter().filter(|other| other.name != node.name) {
            for (range, via) in other.pod_ranges.iter().zip(&other.addresses) {
                let (range, via) = (range.to_string(), via.to_string());
                cluster.on_node(&node.name, &["ip", "route", "replace", &range, "via", &via])?;
            }
        }
    }
    Ok(())
}

/// Tells a node's container runtime how to connect pods. The node is ready when it knows, so routes come before.
pub(super) fn configure(cluster: &Cluster, node: &Node) -> Result<(), KindError> {
    let program = Program::Bridge.get()?;
    let bridge = File::open(&program).map_err(failed(format!("read {}", program.display())))?;
    write(cluster, node, BRIDGE, "755", bridge)?;
    let text = configuration(node).to_string();
    write(cluster, node, CONFIGURATION, "644", text.as_bytes())
}

fn write(
    cluster: &Cluster,
    node: &Node,
    file: &str,
    mode: &str,
    content: impl Read,
) -> Result<(), KindError> {
    let install = [
        "exec",
        "--interactive",
        &node.name,
        "install",
        "--mode",
        mode,
        "/dev/stdin",
        file,
    ];
    let daemon = cluster.daemon();
    daemon.run_with_input("docker", &install, content).map(drop)
}

fn configuration(node: &Node) -> Value {
    let ranges: Vec<Value> = node
        .pod_ranges
        .iter()
        .map(|range| json!([{"subnet": range}]))
        .collect();
    json!({
        // Of this version runtimes ask plugins for STATUS.
        "cniVersion": "1.1.0",
        "name": "pods",
        "plugins": [
            {
                "type": "bridge",
                "bridge": "cni0",
                "isGateway": true,
                "isDefaultGateway": true,
                "hairpinMode": false,
                "ipMasq": false,
                "ipam": {"type": "host-local", "ranges": ranges},
            },
            {"type": "portmap", "capabilities": {"portMappings": true}},
        ],
    })
}
