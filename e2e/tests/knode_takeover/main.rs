//! From kube-proxy to Sluice and back on one node, under steady load: nothing fails at any step.

// Helpers of tests may fail as tests do.
#![allow(clippy::unwrap_used, clippy::panic)]

use sluice_e2e::kube_proxy_process::KubeProxyMode;
use sluice_kernel::iptables::Variant;

use node::{Node, cluster, settle};
use traffic::Traffic;

mod ipvs;
mod node;
mod traffic;

fn there_and_back(test: &str, mode: KubeProxyMode) {
    let Some((control_plane, vip)) = cluster(test) else {
        return;
    };
    let variant = match mode {
        KubeProxyMode::Iptables(Variant::Legacy) => "legacy",
        _ => "nft",
    };
    let flags = ["--mode", "iptables", "--iptables-variant", variant];
    let mut node = Node::new(&control_plane, mode, vip, &flags);
    // As a kubelet and the portmap plugin leave them.
    for command in [
        "iptables-nft -t mangle -N KUBE-KUBELET-CANARY",
        "iptables-nft -t nat -N CNI-HOSTPORT-DNAT",
    ] {
        node.lab.node().command(command).unwrap();
    }
    let proxy = node.start_kube_proxy();
    let traffic = Traffic::start(&node.lab, vip);
    settle();

    let refused = node.cleanup(&["--kube-proxy"]).unwrap_err();
    assert!(
        refused.contains(&format!("process {}", proxy.id())),
        "{refused}"
    );

    node.start_agent();
    settle();
    drop(proxy);
    settle();
    // As its IPVS mode leaves them; a set can go only after the rules that use it.
    for command in [
        "ipset create KUBE-LOAD-BALANCER hash:ip,port",
        "ipset create KUBE-OF-OTHERS hash:ip",
        "iptables-nft -t nat -N KUBE-LOAD-BALANCER",
        "iptables-nft -t nat -A KUBE-LOAD-BALANCER -m set --match-set KUBE-LOAD-BALANCER dst,dst -j RETURN",
    ] {
        node.lab.node().command(command).unwrap();
    }
    let listed = node.cleanup(&["--kube-proxy", "--dry-run"]).unwrap();
    let own = match mode {
        KubeProxyMode::Iptables(_) => "chain KUBE-SERVICES",
        _ => "nftables: table ip kube-proxy",
    };
    assert!(listed.contains(own), "{listed}");
    assert_ne!(
        mode.programmed(node.lab.node()).unwrap(),
        "",
        "a dry run removes nothing"
    );
    let said = node.cleanup(&["--kube-proxy"]).unwrap();
    eprintln!("{test}: {said}");
    let left = [node.named("KUBE-"), node.named("table ip kube-proxy")].concat();
    // KUBE-FIREWALL is the kubelet's too, and kube-proxy itself leaves it alone.
    let of_others =
        |line: &String| line.contains("KUBE-KUBELET-CANARY") || line.contains("KUBE-FIREWALL");
    assert!(!left.is_empty() && left.iter().all(of_others), "{left:#?}");
    assert_eq!(node.named("CNI-HOSTPORT-DNAT").len(), 1);
    let sets = node.lab.node().command("ipset list -n").unwrap();
    let sets: Vec<&str> = sets
        .lines()
        .filter(|name| name.starts_with("KUBE-"))
        .collect();
    assert_eq!(sets, ["KUBE-OF-OTHERS"]);
    let again = node.cleanup(&["--kube-proxy"]).unwrap();
    assert!(again.contains("0 chains and 0 jumps"), "{again}");
    settle();
    assert_eq!(node.agent.difference(node.lab.node()).unwrap().trim(), "");

    let proxy = node.start_kube_proxy();
    settle();
    node.agent.kill().unwrap();
    let said = node.cleanup(&[]).unwrap();
    eprintln!("{test}: {said}");
    assert_eq!(node.named("SLUICE-"), [""; 0]);
    settle();
    traffic.assert_nothing_failed();
    drop(proxy);
    // Nothing of Sluice serves now.
    let refused = node.cleanup(&["--kube-proxy"]).unwrap_err();
    assert!(refused.contains("no rules of Sluice"), "{refused}");
}

#[test]
fn from_kube_proxy_by_iptables_legacy_and_back_nothing_fails() {
    there_and_back("iptables-legacy", KubeProxyMode::Iptables(Variant::Legacy));
}

#[test]
fn from_kube_proxy_by_iptables_nft_and_back_nothing_fails() {
    there_and_back("iptables-nft", KubeProxyMode::Iptables(Variant::Nft));
}

#[test]
fn from_kube_proxy_by_nftables_and_back_nothing_fails() {
    there_and_back("nftables", KubeProxyMode::Nftables);
}
