//! From kube-proxy's IPVS mode to Sluice's IPVS mode and back, and to its iptables mode.

use std::net::{IpAddr, SocketAddr};

use sluice_e2e::control_plane::ControlPlane;
use sluice_e2e::kube_proxy_process::KubeProxyMode;
use sluice_e2e::packets::ipvs;

use crate::node::{Node, cluster, settle};
use crate::traffic::Traffic;

#[test]
fn from_kube_proxy_by_ipvs_to_ipvs_and_back_and_to_iptables_nothing_fails() {
    const TEST: &str = "kube-proxy's IPVS mode";
    if let Some(reason) = ipvs::missing() {
        eprintln!("{TEST} is left to the VM lab: {reason}");
        return;
    }
    let Some((control_plane, vip)) = cluster(TEST) else {
        return;
    };
    to_ipvs_and_back(&control_plane, vip);
    to_iptables(&control_plane, vip);
}

impl Node {
    fn virtual_servers(&self) -> String {
        self.lab.node().command("ipvsadm -Sn").unwrap()
    }

    /// Addresses of the device.
    fn bound(&self) -> String {
        let command = "ip -o -4 address show dev kube-ipvs0";
        self.lab.node().command(command).unwrap()
    }

    fn sets(&self, start: &str) -> Vec<String> {
        let listed = self.lab.node().command("ipset list -n").unwrap();
        let names = listed.lines().filter(|name| name.starts_with(start));
        names.map(str::to_owned).collect()
    }
}

fn to_ipvs_and_back(control_plane: &ControlPlane, vip: SocketAddr) {
    let flags = ["--mode", "ipvs", "--iptables-variant", "nft"];
    let mut node = Node::new(control_plane, KubeProxyMode::Ipvs, vip, &flags);
    let proxy = node.start_kube_proxy();
    let traffic = Traffic::start(&node.lab, vip);
    settle();

    node.start_agent();
    traffic.note("the agent serves");
    let ledger = node.lab.node().command("ipset list SLUICE-4-V-SERVERS");
    let ledger = ledger.unwrap();
    for (ip, port) in [(vip.ip(), 80), ("192.0.2.10".parse().unwrap(), 30080)] {
        assert!(ledger.contains(&entry(ip, port)), "{ledger}");
    }
    settle();
    drop(proxy);
    traffic.note("kube-proxy has ended");
    settle();

    let listed = node.cleanup(&["--kube-proxy", "--dry-run"]).unwrap();
    for what in [
        // The API server's Service, which the agent's manifests do not have.
        "virtual server TCP 10.".to_owned(),
        format!("address {} of kube-ipvs0", vip.ip()),
        "address set KUBE-CLUSTER-IP".to_owned(),
    ] {
        assert!(listed.contains(&what), "{what}: {listed}");
    }
    let said = node.cleanup(&["--kube-proxy"]).unwrap();
    traffic.note(&format!("its leftovers are gone: {said}"));
    assert_eq!(node.sets("KUBE-"), [""; 0]);
    assert_eq!(node.bound(), "");
    let servers = node.virtual_servers();
    assert!(servers.contains(&format!("-A -t {vip} ")), "{servers}");
    let mut made = servers.lines().filter(|line| line.starts_with("-A "));
    let is_ours = |line: &str| line.contains(&format!("{vip} ")) || line.contains(":30080 ");
    assert!(made.all(is_ours), "{servers}");
    settle();
    let difference = node.agent.difference(node.lab.node()).unwrap();
    assert_eq!(difference.trim(), "");

    let proxy = node.start_kube_proxy();
    traffic.note("kube-proxy serves again");
    settle();
    node.agent.kill().unwrap();
    let said = node.cleanup(&[]).unwrap();
    traffic.note(&format!("the agent's rules are gone: {said}"));
    assert!(said.contains("stay to kube-proxy"), "{said}");
    assert_eq!(node.named("SLUICE-"), [""; 0]);
    assert_eq!(node.sets("SLUICE-"), [""; 0]);
    settle();
    traffic.assert_nothing_failed();
    drop(proxy);
}

fn to_iptables(control_plane: &ControlPlane, vip: SocketAddr) {
    let flags = ["--mode", "iptables", "--iptables-variant", "nft"];
    let mut node = Node::new(control_plane, KubeProxyMode::Ipvs, vip, &flags);
    let proxy = node.start_kube_proxy();
    let traffic = Traffic::start(&node.lab, vip);
    settle();
    node.start_agent();
    traffic.note("the agent serves");
    settle();
    drop(proxy);
    traffic.note("kube-proxy has ended");
    settle();

    // Connections that IPVS has still need it.
    let left = node.cleanup(&["--kube-proxy"]).unwrap_err();
    traffic.note(&format!("its rules are gone: {left}"));
    assert!(left.contains(&format!("TCP {vip}")), "{left}");
    assert!(
        !node
            .named("KUBE-")
            .iter()
            .any(|line| line.contains("KUBE-SERVICES"))
    );
    let servers = node.virtual_servers();
    assert!(servers.contains(&format!("-A -t {vip} ")), "{servers}");
    assert!(node.bound().contains(&vip.ip().to_string()));
    settle();
    traffic.assert_nothing_failed();
    settle();

    let said = node.cleanup(&["--kube-proxy"]).unwrap();
    eprintln!("to iptables, at the end: {said}");
    assert_eq!(node.virtual_servers(), "");
    assert_eq!(node.sets("KUBE-"), [""; 0]);
    let links = node.lab.node().command("ip -o link").unwrap();
    assert!(!links.contains("kube-ipvs0"), "{links}");
    let difference = node.agent.difference(node.lab.node()).unwrap();
    assert_eq!(difference.trim(), "");
}

fn entry(ip: IpAddr, port: u16) -> String {
    format!("{ip},tcp:{port}")
}
