//! Ports of other kinds: SCTP, and those that load balancers ask before they send anything.

use std::net::SocketAddr;

use anyhow::Context;
use serde_json::json;
use sluice_e2e::kind::Cluster;
use sluice_e2e::kind::workload::{PORT, SERVICE_PORT};

use super::Scenario;
use super::lab::{BOTH, Lab, PATIENCE, await_pods};

pub(crate) const SCENARIOS: &[Scenario] = &[
    (
        "an SCTP port has both pods, for pods and by a node port from outside",
        sctp,
    ),
    (
        "health check ports say on each node whether a pod is there",
        health_checks,
    ),
];

fn sctp(lab: &Lab) -> anyhow::Result<()> {
    let port = |name: &str, protocol: &str| json!({"name": name, "protocol": protocol, "port": SERVICE_PORT, "targetPort": PORT});
    let ports = json!({"type": "NodePort", "ports": [port("tcp", "TCP"), port("sctp", "SCTP")]});
    let served = lab.serve("sctp", &ports)?;
    let mut ways = Vec::new();
    for client in ["client-a", "client-b"] {
        for family in [0, 1] {
            ways.push((lab.client(client), served.address(family)?));
        }
    }
    let port = served.node_port("SCTP")?;
    for node in lab.cluster.nodes() {
        let by_node = node.addresses.iter();
        ways.extend(by_node.map(|&address| (lab.outside(), SocketAddr::new(address, port))));
    }
    for (client, to) in ways {
        await_pods(client, "sctp", to, &BOTH)?;
    }
    Ok(())
}

fn health_checks(lab: &Lab) -> anyhow::Result<()> {
    let local = json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local"});
    let served = lab.serve("checked", &local)?;
    let port = served.object["spec"]["healthCheckNodePort"]
        .as_u64()
        .context("no health check port")?;
    let port = u16::try_from(port)?;
    let say = |what: &str, expected: &dyn Fn(&str) -> u16| {
        Cluster::eventually(what, PATIENCE, || {
            for node in lab.cluster.nodes() {
                for &address in &node.addresses {
                    let asked = SocketAddr::new(address, port);
                    let status = lab.outside().http_status(asked, "/");
                    let status = status.map_err(|error| error.to_string())?;
                    if status != expected(&node.pool) {
                        return Err(format!("{}: {asked} says {status}", node.name));
                    }
                }
            }
            Ok(())
        })
    };
    let with_pods = |pool: &str| if pool == "control" { 503 } else { 200 };
    say("nodes with a pod say 200, the other one 503", &with_pods)?;
    served.select("nobody")?;
    say("no node has a pod any more", &|_| 503)?;
    Ok(())
}
