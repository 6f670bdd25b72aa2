//! The command line on a node in IPVS mode, beside what others have there.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a step that fails is a test that fails"
)]

mod node;

use std::net::{TcpListener, TcpStream};
use std::sync::{Mutex, MutexGuard, PoisonError};

use node::{Agent, Node, metric, run, text, web};
use sluice_kernel::ipvs::{IpvsError, IpvsNetlink};

const FLAGS: [&str; 6] = [
    "--mode",
    "ipvs",
    "--iptables-variant",
    "nft",
    "--ipvs-service-metrics",
    "10",
];
/// The same for what does not run.
const ASKED: [&str; 4] = ["--mode", "ipvs", "--iptables-variant", "nft"];

/// Modules are of the whole machine: an agent of another test may load some.
static ALONE: Mutex<()> = Mutex::new(());

/// A node with a device, an address, a virtual server and a set of others; nothing where the kernel has no IPVS.
fn node_with_others() -> Option<(Node, MutexGuard<'static, ()>)> {
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let node = Node::new();
    match IpvsNetlink::open() {
        Ok(_) => {}
        Err(IpvsError::Absent) => {
            assert!(
                std::env::var_os("SLUICE_REQUIRE_IPVS").is_none(),
                "this kernel has no IPVS, and SLUICE_REQUIRE_IPVS asks for it"
            );
            eprintln!("SKIP: this kernel has no IPVS");
            return None;
        }
        Err(error) => panic!("{error}"),
    }
    for line in [
        "link add kube-ipvs0 type dummy",
        "address add 172.31.0.1/32 dev kube-ipvs0",
        "link set uplink up",
        "route add default via 192.168.0.1",
    ] {
        run("ip", &line.split(' ').collect::<Vec<_>>());
    }
    run("ipvsadm", &["-A", "-t", "172.31.0.1:99", "-s", "wlc"]);
    run("ipset", &["create", "somebody", "hash:ip"]);
    Some((node, alone))
}

fn virtual_servers() -> String {
    text(&run("ipvsadm", &["-S", "-n"]).stdout)
}

fn shows(node: &Node, agent: &mut Agent, part: &str) {
    agent.eventually(&format!("show prints {part:?}"), |_| {
        text(&node.agent("show", &[]).stdout).contains(part)
    });
}

#[test]
fn a_node_in_ipvs_mode_is_shown_measured_compared_and_cleaned_up() {
    let Some((node, _alone)) = node_with_others() else {
        return;
    };
    let before = virtual_servers();
    node.write("web.yaml", &web("192.168.0.10"));
    let _listener = TcpListener::bind("192.168.0.10:8080").unwrap();
    let mut agent = node.start(&FLAGS);
    let _client = TcpStream::connect("10.96.0.10:80").unwrap();

    let shown = text(&node.agent("show", &[]).stdout);
    for part in [
        "mode IPVS",
        "TCP 10.96.0.10:80, rr\n    192.168.0.10:8080  weight 1, ",
        "TCP 192.168.0.10:30080, rr\n",
        "service address 10.96.0.10 by a local route on kube-ipvs0",
        "note: 1 virtual servers in IPVS are not ours",
        "note: address 172.31.0.1 on kube-ipvs0 is not ours",
    ] {
        assert!(shown.contains(part), "{part} is missing in\n{shown}");
    }
    let one = node.agent("show", &["--output", "json", "--frontend", "10.96.0.10:80"]);
    let report: serde_json::Value = serde_json::from_slice(&one.stdout).unwrap();
    assert_eq!(report["virtualServers"].as_array().unwrap().len(), 1);
    assert_eq!(report["bindings"][0]["by"], "localRoute", "{report:#}");

    let labels =
        "{namespace=\"shop\",service=\"web\",port=\"http\",protocol=\"tcp\",ip_family=\"IPv4\"}";
    agent.eventually("the connection is counted", |_| {
        metric(&format!("sluice_ipvs_service_connections_total{labels}")) == Some(1.0)
    });
    assert_eq!(
        metric(&format!("sluice_ipvs_service_active_connections{labels}")),
        Some(1.0)
    );
    agent.eventually("connections are added up", |_| {
        metric("sluice_ipvs_connection_table_entries") >= Some(1.0)
    });
    for (name, least) in [
        ("sluice_virtual_servers", 2.0),
        ("sluice_real_servers", 2.0),
        ("sluice_ipvs_commands_total", 4.0),
        ("sluice_binding_changes_total", 1.0),
        ("sluice_ipvs_connections_total", 1.0),
        ("sluice_ipvs_connection_table_buckets", 256.0),
    ] {
        assert!(
            metric(name).is_some_and(|value| value >= least),
            "{name}: {:?}",
            metric(name)
        );
    }

    let same = node.agent("render", &[&ASKED[..], &["--diff"]].concat());
    assert_eq!(same.status.code(), Some(0), "{}", text(&same.stdout));

    node.write("web.yaml", &web("10.1.0.7"));
    shows(&node, &mut agent, "192.168.0.10:8080  draining, 1 active");
    shows(&node, &mut agent, "10.1.0.7:8080  weight 1, ");
    agent.terminate();
    run("ipvsadm", &["-D", "-t", "192.168.0.10:30080"]);
    let gone = text(&node.agent("show", &[]).stdout);
    assert!(
        gone.contains("virtual server TCP 192.168.0.10:30080 is gone"),
        "{gone}"
    );
    let differs = node.agent("render", &[&ASKED[..], &["--diff"]].concat());
    assert_eq!(differs.status.code(), Some(1));
    assert!(
        text(&differs.stdout)
            .contains("@@ virtual server TCP 192.168.0.10:30080 @@ is not in the kernel"),
        "{}",
        text(&differs.stdout)
    );

    let cleaned = node.agent("cleanup", &[]);
    let said = text(&cleaned.stdout);
    assert_eq!(
        cleaned.status.code(),
        Some(0),
        "{said}{}",
        text(&cleaned.stderr)
    );
    for part in [
        "service addresses removed, 0 left",
        "kube-ipvs0 stays: address 172.31.0.1 is not ours",
        "1 virtual servers that are not ours stay",
    ] {
        assert!(said.contains(part), "{part} is missing in\n{said}");
    }
    assert_eq!(virtual_servers(), before);
    assert_eq!(Node::sets(), ["somebody"]);
    let addresses = text(&run("ip", &["-o", "-4", "address", "show", "dev", "kube-ipvs0"]).stdout);
    assert!(
        addresses.contains("172.31.0.1/32") && addresses.lines().count() == 1,
        "{addresses}"
    );
}

#[test]
fn check_says_that_this_kernel_has_ipvs_and_leaves_nothing() {
    let Some((node, _alone)) = node_with_others() else {
        return;
    };
    let modules = || {
        std::fs::read_to_string("/proc/modules")
            .unwrap()
            .lines()
            .filter(|line| {
                ["ip_vs", "xt_ipvs", "dummy"]
                    .iter()
                    .any(|name| line.starts_with(name))
            })
            .count()
    };
    let (before, servers) = (modules(), virtual_servers());
    let args = [&ASKED[..], &["--node-name", "n1", "--output", "json"]].concat();
    let checked = node.agent("check", &args);
    let report: serde_json::Value = serde_json::from_slice(&checked.stdout).unwrap();
    assert_eq!(report["ipvs"]["canRun"], true, "{report:#}");
    assert_eq!(report["mode"]["means"], "IPVS", "{report:#}");
    assert!(report["ipvs"]["connectionTableBuckets"].as_u64() >= Some(256));
    assert_eq!(virtual_servers(), servers);
    assert_eq!(modules(), before, "check loaded a module");
    assert_eq!(Node::sets(), ["somebody"]);
}
