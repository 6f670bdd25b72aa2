//! `show`: what the kernel holds, without an agent.

mod node;

use node::{Agent, Node, metric, run, text, web};

const NFT: [&str; 4] = ["--iptables-variant", "nft", "--mode", "iptables"];

/// A service without endpoints.
const EMPTY: &str = "
apiVersion: v1
kind: Service
metadata: {name: empty, namespace: shop}
spec:
  clusterIPs: [10.96.0.11]
  ports: [{name: http, port: 80, protocol: TCP}]
";

fn serving(node: &Node) -> Agent {
    node.write("web.yaml", &web("10.1.0.5"));
    node.write("empty.yaml", EMPTY);
    node.start(&NFT)
}

#[test]
fn show_prints_frontends_endpoints_and_sets_after_the_agent_ended() {
    let node = Node::new();
    let before = node.agent("show", &[]);
    assert_eq!(before.status.code(), Some(1), "{}", text(&before.stderr));
    assert!(text(&before.stdout).contains("nothing of ours"));

    serving(&node).terminate();
    let rules = Node::rules();
    let shown = node.agent("show", &[]);
    assert_eq!(shown.status.code(), Some(0), "{}", text(&shown.stderr));
    let said = text(&shown.stdout);
    for part in [
        "mode IPTables",
        "iptables nft, IPv4",
        "10.96.0.10:80/tcp\n    10.1.0.5:8080  100.0 %",
        "node port 30080/tcp\n    10.1.0.5:8080  100.0 %",
        "10.96.0.11:80/tcp: refused",
        "set SLUICE-4-CLUSTER-IP (hash:ip): 2 entries",
    ] {
        assert!(said.contains(part), "{part} is missing in\n{said}");
    }
    let counts = |rules: &str| rules.lines().filter(|line| line.starts_with("-A")).count();
    assert_eq!(counts(&Node::rules()), counts(&rules), "show wrote rules");
}

#[test]
fn show_tells_of_one_frontend_and_ends_with_1_where_there_is_none() {
    let node = Node::new();
    serving(&node).terminate();
    let show = |frontend: &str| node.agent("show", &["--output", "json", "--frontend", frontend]);
    let report = |frontend: &str| -> serde_json::Value {
        let shown = show(frontend);
        assert_eq!(shown.status.code(), Some(0), "{}", text(&shown.stderr));
        serde_json::from_slice(&shown.stdout).unwrap()
    };
    let cluster_ip = report("10.96.0.10:80");
    assert_eq!(cluster_ip["mode"], "IPTables");
    let frontends = cluster_ip["frontends"].as_array().unwrap();
    assert_eq!(frontends.len(), 1, "{cluster_ip:#}");
    assert_eq!(frontends[0]["frontend"], "10.96.0.10:80/tcp");
    assert_eq!(frontends[0]["endpoints"][0]["address"], "10.1.0.5:8080");
    let node_port = report("192.168.0.10:30080/tcp");
    assert_eq!(node_port["frontends"][0]["frontend"], "node port 30080/tcp");
    let refused = report("10.96.0.11:80");
    assert_eq!(refused["refused"][0]["how"], "reject", "{refused:#}");
    assert_eq!(show("10.96.0.10:81").status.code(), Some(1));
    assert_eq!(show("10.96.0.10:80/udp").status.code(), Some(1));
}

#[test]
fn rules_programs_and_the_time_of_changes_are_counted() {
    let node = Node::new();
    let mut agent = serving(&node);
    let nat = "kubeproxy_sync_proxy_rules_iptables_total{ip_family=\"IPv4\",table=\"nat\"}";
    let listed = run("iptables-nft-save", &["-t", "nat"]);
    let in_kernel = text(&listed.stdout)
        .lines()
        .filter(|line| line.starts_with("-A"))
        .count();
    assert_eq!(metric(nat), Some(in_kernel as f64));
    let programs = metric("sluice_programs_started_total").unwrap();
    assert!(programs > 0.0, "{programs}");

    let programmed = "kubeproxy_network_programming_duration_seconds_count{ip_family=\"IPv4\"}";
    assert_eq!(metric(programmed), None, "the first slice tells no cause");
    let now = run("date", &["--utc", "+%Y-%m-%dT%H:%M:%S.%NZ"]);
    let cause = format!(
        "name: web-1, annotations: {{endpoints.kubernetes.io/last-change-trigger-time: \"{}\"}}",
        text(&now.stdout).trim()
    );
    node.write("web.yaml", &web("10.1.0.6").replace("name: web-1", &cause));
    agent.eventually("the change is counted", |_| metric(programmed) == Some(1.0));
    let sum = programmed.replace("_count", "_sum");
    assert!(metric(&sum).is_some_and(|seconds| seconds < 120.0));
    assert_eq!(metric("sluice_mode_refused{mode=\"IPVS\"}"), Some(0.0));
    agent.terminate();
}
