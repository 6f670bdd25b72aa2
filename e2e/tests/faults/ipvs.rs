//! What IPVS needs is deleted by hand, taken down, or not there from the start.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use sluice_e2e::agent_process::AgentProcess;
use sluice_e2e::lab::Lab;
use sluice_e2e::lab::pace::stretched;
use sluice_e2e::lab::places::{A1, A2};
use sluice_kernel::iptables::Variant;
use sluice_service_plan::model::VipBinding;

use crate::drift::{repaired_since, repairs};
use crate::node::{agent, assert_found_at_a_look, cluster, is_served, plane, reach, start};

/// A service over IPv6, beside those of the other tests.
const SIX: &str = "apiVersion: v1
kind: Service
metadata: {name: six, namespace: shop}
spec:
  clusterIPs: ['fd00:10:96::6']
  ports: [{name: http, port: 80, protocol: TCP}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: six-1, namespace: shop, labels: {kubernetes.io/service-name: six}}
addressType: IPv6
ports: [{name: http, port: 8080, protocol: TCP}]
endpoints: [{addresses: ['fd00:10:244::11']}]";

fn six() -> SocketAddr {
    "[fd00:10:96::6]:80".parse().unwrap()
}

/// How soon it has to be found.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Found {
    /// The kernel tells.
    AtOnce,
    /// Nothing tells.
    AtALook,
}

/// An agent on a node that balances by IPVS; nothing elsewhere.
fn ipvs_agent(variant: Variant) -> Option<(AgentProcess, VipBinding)> {
    let binding = plane(variant)?.ipvs?;
    let agent = agent(variant)?;
    agent.write("six.yaml", SIX).unwrap();
    Some((agent, binding))
}

#[test]
fn what_somebody_deletes_of_ipvs_is_back_and_counted() {
    for variant in [Variant::Nft, Variant::Legacy] {
        let Some((mut agent, binding)) = ipvs_agent(variant) else {
            continue;
        };
        let lab = Lab::up().unwrap();
        start(&mut agent, &lab);
        let bound = match binding {
            VipBinding::LocalRoute => (
                "ip route del local 10.96.0.1 dev kube-ipvs0 table local",
                Found::AtOnce,
            ),
            VipBinding::Dummy => ("ip addr del 10.96.0.1/32 dev kube-ipvs0", Found::AtALook),
        };
        let edits = [
            ("ipvsadm -D -t 10.96.0.1:80", Found::AtALook),
            ("ipvsadm -C", Found::AtALook),
            bound,
            // The kernel takes IPv6 routes and addresses away with it.
            ("ip link set kube-ipvs0 down", Found::AtOnce),
            ("ip link del kube-ipvs0", Found::AtOnce),
            ("ipset flush SLUICE-4-V-SERVERS", Found::AtALook),
            ("ipset flush SLUICE-6-V-ADDRESSES", Found::AtALook),
        ];
        for (edit, found) in edits {
            let before = repairs(&agent, &lab);
            lab.node().command(edit).unwrap();
            let took = repaired_since(&agent, &lab, before);
            assert_found_at_a_look(took, edit);
            let at_once = stretched(Duration::from_millis(500));
            assert!(
                found == Found::AtALook || took < at_once,
                "{edit}: it took {took:?}"
            );
            assert!(
                is_served(&lab, cluster(1)),
                "{edit}: {}",
                reach(&lab, cluster(1))
            );
            assert!(is_served(&lab, six()), "{edit}: {}", reach(&lab, six()));
        }
        let log = agent.log();
        assert!(!log.contains("another program"), "{log}");
    }
}

#[test]
fn a_scheduler_that_the_kernel_lacks_is_told_and_another_serves() {
    const LOADER: &str = "/proc/sys/kernel/modprobe";
    let Some((mut agent, _)) = ipvs_agent(Variant::Nft) else {
        return;
    };
    let lab = Lab::up().unwrap();
    // From here on nobody gets it: neither the kernel nor the agent.
    let loader = std::fs::read_to_string(LOADER).unwrap();
    if Path::new("/sys/module/ip_vs_twos").exists() {
        lab.node().command("rmmod ip_vs_twos").unwrap();
    }
    std::fs::write(LOADER, "/bin/false").unwrap();
    agent.replace_program("modprobe", "exit 1").unwrap();
    agent.add_flags(&["--ipvs-scheduler", "twos"]);
    start(&mut agent, &lab);
    std::fs::write(LOADER, loader.trim()).unwrap();
    for to in [cluster(1), six()] {
        assert!(is_served(&lab, to), "{}", reach(&lab, to));
    }
    let servers = lab.node().command("ipvsadm -Ln").unwrap();
    assert!(servers.contains("10.96.0.1:80 wrr"), "{servers}");
    let conditions = agent
        .metric(lab.node(), "sluice_settings_conditions")
        .unwrap();
    assert!(
        conditions >= 1.0 && agent.log().contains("twos"),
        "{}",
        agent.log()
    );
    for pod in [A1, A2] {
        assert!(servers.contains(&pod.v4.to_string()), "{servers}");
    }
}
