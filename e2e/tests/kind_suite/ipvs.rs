//! Pools in IPVS mode, on a kernel that has it; `SLUICE_REQUIRE_IPVS=1` promises one.

use std::net::SocketAddr;

use anyhow::ensure;
use serde_json::{Value, json};
use sluice_e2e::kind::{Cluster, Node};

use super::lab::{Lab, PATIENCE};
use super::policies::{Policy, assert_nothing_lost, pool};
use super::{Scenario, services};

pub(crate) const SCENARIOS: &[Scenario] = &[
    (
        "one pool in IPVS mode beside one in iptables mode: an agent loads the modules, and virtual servers are on its node only",
        side_by_side,
    ),
    (
        "Services of every type, asked from both pools and from outside",
        every_type,
    ),
    (
        "a pool changes from iptables to IPVS and back, and no connection fails",
        there_and_back,
    ),
];
pub(crate) const BEFORE_THE_END: Scenario = (
    "every node is in IPVS mode when Sluice goes",
    everywhere_until_the_end,
);

/// One that nothing but an agent asks for before a Service uses it.
const LOADED_BY_AGENTS: &str = "ip_vs_wlc";

/// The virtual servers of a node's kernel, by its own words: protocol, address and port in hexadecimal, scheduler.
fn virtual_servers(lab: &Lab, node: &Node) -> anyhow::Result<Vec<String>> {
    let table = lab.cluster.on_node(
        &node.name,
        &["sh", "-c", "cat /proc/net/ip_vs 2>/dev/null; true"],
    )?;
    let is_one = |line: &&str| {
        ["TCP ", "UDP ", "SCTP", "FWM "]
            .iter()
            .any(|start| line.starts_with(start))
    };
    Ok(table
        .lines()
        .filter(is_one)
        .map(ToOwned::to_owned)
        .collect())
}

fn mode(mode: &str) -> Value {
    json!({"mode": mode})
}

/// An error where a node does not serve in this mode.
fn ensure_mode(lab: &Lab, pool: &str, mode: &str) -> anyhow::Result<()> {
    let node = lab.node(pool)?;
    let proxy = lab.cluster.get(&["nodeserviceproxy", &node.name])?;
    let status = &proxy["status"];
    ensure!(status["activeMode"] == mode, "{}: {status}", node.name);
    Ok(())
}

fn side_by_side(lab: &Lab) -> anyhow::Result<()> {
    let served = lab.serve("beside", &json!({}))?;
    let loaded =
        || std::fs::read_to_string("/proc/modules").map(|text| text.contains(LOADED_BY_AGENTS));
    if loaded()? {
        // Not in a virtual machine, which has just begun.
        eprintln!(
            "          {LOADED_BY_AGENTS} is loaded already: whether agents load it is not seen"
        );
    }
    let [_a, _b] = in_both_modes(lab)?;
    ensure!(loaded()?, "{LOADED_BY_AGENTS} is not loaded");
    let SocketAddr::V4(address) = served.address(0)? else {
        anyhow::bail!("{} is not IPv4", served.address(0)?);
    };
    let key = format!("{:08X}:{:04X}", u32::from(*address.ip()), address.port());
    for node in lab.cluster.nodes() {
        let servers = virtual_servers(lab, node)?;
        if node.pool == "a" {
            for protocol in ["TCP", "UDP"] {
                let start = format!("{protocol}  {key} ");
                ensure!(
                    servers.iter().any(|line| line.starts_with(&start)),
                    "{} has no {start}: {servers:?}",
                    node.name
                );
            }
        } else {
            ensure!(servers.is_empty(), "{}: {servers:?}", node.name);
        }
    }
    Ok(())
}

/// IPVS in pool `a`, iptables in pool `b`.
fn in_both_modes(lab: &Lab) -> anyhow::Result<[Policy<'_>; 2]> {
    let a = Policy::apply(lab, "pool-a", &pool("a"), &mode("IPVS"))?;
    let b = Policy::apply(lab, "pool-b", &pool("b"), &mode("IPTables"))?;
    a.wait("Ready")?;
    b.wait("Ready")?;
    ensure_mode(lab, "a", "IPVS")?;
    ensure_mode(lab, "b", "IPTables")?;
    Ok([a, b])
}

fn every_type(lab: &Lab) -> anyhow::Result<()> {
    let [_a, _b] = in_both_modes(lab)?;
    let mut failed = Vec::new();
    for &(sentence, scenario) in services::SERVED {
        if !super::holds(lab, sentence, scenario) {
            failed.push(sentence);
        }
    }
    ensure!(failed.is_empty(), "{failed:?}");
    let node = lab.node("a")?;
    // What stays: the API server's Service and the DNS server's.
    let kept = lab.cluster.get(&["services", "--all-namespaces"])?;
    Cluster::eventually("virtual servers go with their Services", PATIENCE, || {
        let servers = virtual_servers(lab, node).map_err(|error| error.to_string())?;
        let ports = kept["items"].as_array().into_iter().flatten();
        let ports = ports.filter_map(|service| {
            let spec = &service["spec"];
            Some(spec["ports"].as_array()?.len() * spec["clusterIPs"].as_array()?.len())
        });
        let expected: usize = ports.sum();
        (servers.len() == expected)
            .then_some(())
            .ok_or_else(|| format!("{servers:?}, not {expected}"))
    })?;
    Ok(())
}

fn there_and_back(lab: &Lab) -> anyhow::Result<()> {
    let served = lab.serve("switched", &json!({"type": "NodePort"}))?;
    let policy = Policy::apply(lab, "pool-a", &pool("a"), &mode("IPTables"))?;
    policy.wait("Ready")?;
    let at = SocketAddr::new(lab.node("a")?.addresses[0], served.node_port("TCP")?);
    let loads = [
        lab.client("client-a").load(served.address(0)?)?,
        lab.client("echo-a").load(served.address(1)?)?,
        lab.outside().load(at)?,
    ];
    for wanted in ["IPVS", "IPTables"] {
        policy.change(&pool("a"), &mode(wanted))?;
        policy.wait("Ready")?;
        ensure_mode(lab, "a", wanted)?;
    }
    for load in loads {
        assert_nothing_lost(load)?;
    }
    Ok(())
}

/// The policy stays: what is removed next has to be removed from there.
fn everywhere_until_the_end(lab: &Lab) -> anyhow::Result<()> {
    let mut spec = mode("IPVS");
    spec["rollout"] = json!({"maxUnavailable": lab.cluster.nodes().len()});
    let policy = Policy::apply(lab, "everywhere", &json!({}), &spec)?;
    policy.wait("Ready")?;
    policy.keep();
    for node in lab.cluster.nodes() {
        ensure_mode(lab, &node.pool, "IPVS")?;
        ensure!(
            !virtual_servers(lab, node)?.is_empty(),
            "{} has no virtual servers",
            node.name
        );
    }
    Ok(())
}
