//! The end: nodes as they were.

use anyhow::ensure;

use super::installing::helm;
use super::lab::{Lab, PATIENCE, SLUICE};
use super::others;
use sluice_e2e::kind::Cluster;

/// What is asked of a node, each of which must print nothing.
const TRACES: [(&str, &str); 7] = [
    (
        "rules",
        "for p in iptables-legacy-save iptables-nft-save ip6tables-legacy-save ip6tables-nft-save; do $p; done 2>/dev/null | grep -i sluice",
    ),
    ("address sets", "ipset list -name | grep -i sluice"),
    ("tables", "nft list tables | grep -i sluice"),
    (
        "virtual servers",
        "grep -E '^(TCP|UDP|SCTP|FWM|  ->) *[0-9A-F[]' /proc/net/ip_vs 2>/dev/null",
    ),
    (
        "routes",
        "(ip route show table all; ip -6 route show table all) | grep -e kube-ipvs0 -e '10[.]96[.]'",
    ),
    ("links", "ip -oneline link | grep -e kube-ipvs0 -e sluice"),
    (
        "files",
        "find /run/sluice /var/lib/sluice -mindepth 1 2>/dev/null | grep -v '^/run/sluice/agent.lock$'; find /opt/cni/bin/sluice-cni /etc/cni/net.d -name '*sluice*' 2>/dev/null; \
         grep -l sluice /etc/cni/net.d/*",
    ),
];

pub(crate) fn nothing_is_left(lab: &Lab) -> anyhow::Result<()> {
    helm(
        lab,
        "upgrade",
        &["cleanup=true", "agent.maxUnavailable=100%"],
    )?;
    lab.await_agent_pods()?;
    lab.cluster
        .helm(&["uninstall", "sluice", "--namespace", SLUICE, "--wait"])?;
    lab.cluster
        .kubectl(&["delete", "nodeserviceproxies", "--all"])?;
    Cluster::eventually("its pods are gone", PATIENCE, || {
        let pods = lab
            .cluster
            .kubectl(&["get", "pods", "--namespace", SLUICE, "--output=name"]);
        let pods = pods.map_err(|error| error.to_string())?;
        pods.trim().is_empty().then_some(()).ok_or(pods)
    })?;
    // Helm made it, and leaves it; the operators' lease is in it.
    lab.cluster.kubectl(&["delete", "namespace", SLUICE])?;
    others::are_untouched(lab)?;
    let questions = TRACES.map(|(what, question)| {
        format!("left=$( {question} ); [ -z \"$left\" ] || printf '{what}:\\n%s\\n' \"$left\"\n")
    });
    let questions = questions.concat() + "true";
    for node in lab.cluster.nodes() {
        let left = lab.cluster.on_node(&node.name, &["sh", "-c", &questions])?;
        ensure!(left.trim().is_empty(), "on {}: {left}", node.name);
    }
    let kinds = "deployments,daemonsets,services,serviceaccounts,roles,rolebindings,clusterroles,clusterrolebindings,configmaps,\
                 poddisruptionbudgets,validatingadmissionpolicies,validatingadmissionpolicybindings,leases";
    let objects = lab
        .cluster
        .kubectl(&["get", kinds, "--all-namespaces", "--output=name"])?;
    let left: Vec<&str> = objects
        .lines()
        .filter(|name| name.contains("sluice"))
        .collect();
    ensure!(left.is_empty(), "objects: {left:?}");
    let definitions = lab.cluster.kubectl(&["get", "crds", "--output=name"])?;
    for plural in ["serviceproxypolicies", "nodeserviceproxies"] {
        ensure!(
            definitions.contains(plural),
            "the definition of {plural} is gone:\n{definitions}"
        );
    }
    Ok(())
}
