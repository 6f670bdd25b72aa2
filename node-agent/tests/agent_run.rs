//! The real agent on a real kernel, in a network namespace of the test.

mod node;

use std::time::{Duration, Instant};

use node::{HEALTHZ, METRICS, Node, get, metric, run, text, web};

const NFT: [&str; 2] = ["--iptables-variant", "nft"];

#[test]
fn a_manifest_directory_is_served_and_followed_and_a_broken_file_keeps_the_last_good_state() {
    let node = Node::new();
    node.write("web.yaml", &web("10.1.0.5"));
    let mut agent = node.start(&NFT);
    assert!(
        Node::rules().contains("--to-destination 10.1.0.5:8080"),
        "{}",
        Node::rules()
    );

    node.write("web.yaml", &web("10.1.0.6"));
    agent.eventually("the new endpoint is in and the old one out", |_| {
        let rules = Node::rules();
        rules.contains("10.1.0.6:8080") && !rules.contains("10.1.0.5:8080")
    });

    node.write(
        "web.yaml",
        "kind: Service\nspec: {ports: [{port: eighty}]\n",
    );
    agent.eventually("the refusal is counted", |_| {
        metric("sluice_refused_objects{kind=\"unknown\"}").is_some_and(|count| count >= 1.0)
    });
    assert!(agent.log().contains("web.yaml"), "{}", agent.log());
    assert!(Node::rules().contains("10.1.0.6:8080"));
    assert_eq!(get(HEALTHZ, "/healthz").unwrap().status, 200);

    std::fs::remove_file(node.manifests().join("web.yaml")).unwrap();
    agent.eventually("the service is gone", |_| {
        !Node::rules().contains("10.1.0.6:8080")
    });
}

#[test]
fn health_metrics_and_proxy_mode_answer_as_kube_proxy_does() {
    let node = Node::new();
    node.write("web.yaml", &web("10.1.0.5"));
    let _agent = node.start(&NFT);

    let healthz = get(HEALTHZ, "/healthz").unwrap();
    let report: serde_json::Value = serde_json::from_str(&healthz.body).unwrap();
    assert_eq!(report["nodeEligible"], true, "{report}");
    assert_eq!(report["lastUpdated"], report["currentTime"], "{report}");
    assert_eq!(get("[::1]:10256", "/livez").unwrap().status, 200);
    assert_eq!(get(METRICS, "/proxyMode").unwrap().body, "iptables");
    assert_eq!(metric("sluice_services"), Some(1.0));
    assert!(metric("sluice_chains").unwrap() > 0.0);
    assert!(metric("kubeproxy_proxy_healthz_total{code=\"200\"}").unwrap() >= 2.0);
    assert!(
        metric("kubeproxy_sync_proxy_rules_last_timestamp_seconds{ip_family=\"IPv4\"}").is_some()
    );
}

#[test]
fn term_ends_the_agent_at_once_with_its_rules_left_and_the_next_start_writes_nothing() {
    let node = Node::new();
    node.write("web.yaml", &web("10.1.0.5"));
    let agent = node.start(&NFT);
    let took = agent.terminate();
    assert!(took < Duration::from_secs(20), "it took {took:?}");
    let rules = Node::rules();
    assert!(rules.contains("10.1.0.5:8080"));

    let agent = node.start(&NFT);
    assert_eq!(
        metric("sluice_transactions_total"),
        Some(0.0),
        "{}",
        agent.log()
    );
    assert_eq!(
        metric("sluice_set_entries_written_total"),
        Some(0.0),
        "{}",
        agent.log()
    );
    assert_eq!(without_counters(&Node::rules()), without_counters(&rules));
}

/// Listings differ in counters and in the time of day that is in their comments.
fn without_counters(rules: &str) -> Vec<String> {
    let lines = rules.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| line.split(" [").next().unwrap_or_default().to_owned())
        .collect()
}

#[test]
fn a_second_agent_is_refused_with_the_process_that_runs() {
    let node = Node::new();
    let agent = node.start(&NFT);
    let second = node.agent("run", &NFT);
    assert_eq!(second.status.code(), Some(2));
    let said = text(&second.stderr);
    assert!(said.contains(&format!("process {}", agent.pid())), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn rules_that_somebody_flushed_are_repaired_at_once_and_counted() {
    let node = Node::new();
    node.write("web.yaml", &web("10.1.0.5"));
    let mut agent = node.start(&NFT);
    run("iptables-nft", &["-t", "nat", "-F"]);
    let flushed = Instant::now();
    agent.eventually("the rules are back", |_| {
        Node::rules().contains("10.1.0.5:8080")
    });
    // The looks every five seconds compare counts.
    let took = flushed.elapsed();
    assert!(
        took < Duration::from_secs(3)
            || metric("sluice_drift_checks_total{kind=\"full\"}").is_some(),
        "no notice of it was followed: it took {took:?}"
    );
    agent.eventually("the repair is counted", |_| {
        ["chain", "rule", "set", "other"].iter().any(|kind| {
            metric(&format!("sluice_drift_repairs_total{{kind=\"{kind}\"}}")).unwrap_or(0.0) > 0.0
        })
    });
    assert_eq!(get(HEALTHZ, "/healthz").unwrap().status, 200);
}

#[test]
fn what_the_agent_writes_itself_is_not_taken_for_a_foreign_change() {
    let node = Node::new();
    node.write("web.yaml", &web("10.1.0.5"));
    let mut agent = node.start(&NFT);
    node.write("web.yaml", &web("10.1.0.6"));
    agent.eventually("the new endpoint is in", |_| {
        Node::rules().contains("10.1.0.6:8080")
    });
    // A comparison that a notice caused would have begun within the least interval, 50 ms.
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(
        metric("sluice_drift_checks_total{kind=\"full\"}"),
        None,
        "{}",
        agent.log()
    );
    run(
        "iptables-nft",
        &[
            "-t",
            "nat",
            "-A",
            "PREROUTING",
            "-d",
            "192.0.2.1",
            "-j",
            "ACCEPT",
        ],
    );
    agent.eventually("a foreign change is looked at", |_| {
        metric("sluice_drift_checks_total{kind=\"full\"}") == Some(1.0)
    });
}

#[test]
fn an_address_that_the_node_gets_later_is_followed() {
    let node = Node::new();
    node.write("web.yaml", &web("10.1.0.5"));
    let mut agent = node.start(&NFT);
    run("ip", &["address", "add", "192.168.7.7/24", "dev", "eth0"]);
    agent.eventually("the address change is counted", |_| {
        metric("sluice_node_address_changes_total").unwrap_or(0.0) > 0.0
    });
    agent.eventually("the new address serves node ports", |_| {
        text(&run("ipset", &["save"]).stdout).contains("192.168.7.7")
    });
}

#[test]
fn a_health_check_node_port_tells_the_local_endpoints() {
    let node = Node::new();
    node.write("web.yaml", &load_balancer("n1"));
    let mut agent = node.start(&NFT);
    let mut answer = None;
    agent.eventually("the health check port answers", |_| {
        answer = get("127.0.0.1:30999", "/");
        answer.is_some()
    });
    let answer = answer.unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(
        answer.head.contains("x-load-balancing-endpoint-weight: 1"),
        "{answer:?}"
    );
    let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(
        body,
        serde_json::json!({
            "service": {"namespace": "shop", "name": "web"},
            "localEndpoints": 1,
            "serviceProxyHealthy": true,
        })
    );

    node.write("web.yaml", &load_balancer("n2"));
    agent.eventually("there is no local endpoint", |_| {
        get("[::1]:30999", "/").is_some_and(|answer| {
            answer.status == 503 && answer.head.contains("x-load-balancing-endpoint-weight: 0")
        })
    });
    node.write("web.yaml", &web("10.1.0.5"));
    agent.eventually("the port is closed", |_| {
        get("127.0.0.1:30999", "/").is_none()
    });
}

/// A load balancer under `externalTrafficPolicy: Local` with its endpoint on this node.
fn load_balancer(endpoint_node: &str) -> String {
    web("10.1.0.5")
        .replace(
            "type: NodePort",
            "type: LoadBalancer\n  externalTrafficPolicy: Local\n  healthCheckNodePort: 30999",
        )
        .replace("nodeName: n1", &format!("nodeName: {endpoint_node}"))
}

#[test]
fn a_node_that_is_being_deleted_is_unhealthy_but_alive() {
    let node = Node::new();
    let mut agent = node.start(&NFT);
    node.write(
        "node.yaml",
        "apiVersion: v1\nkind: Node\nmetadata: {name: n1}\nspec:\n  taints: [{key: ToBeDeletedByClusterAutoscaler, effect: NoSchedule}]\n",
    );
    agent.eventually("healthz says so", |_| {
        get(HEALTHZ, "/healthz").is_some_and(|answer| {
            answer.status == 503 && answer.body.contains("\"nodeEligible\":false")
        })
    });
    assert_eq!(get(HEALTHZ, "/livez").unwrap().status, 200);
}

#[test]
fn a_policy_that_changes_the_variant_moves_the_rules_and_leaves_none_behind() {
    let node = Node::new();
    node.write("web.yaml", &web("10.1.0.5"));
    let mut agent = node.start(&NFT);
    node.write(
        "policy.yaml",
        "apiVersion: sluice.dev/v1alpha1\nkind: ServiceProxyPolicy\nmetadata: {name: all}\nspec: {iptables: {variant: Legacy}}\n",
    );
    agent.eventually("the legacy tables hold the rules", |_| {
        text(&run("iptables-legacy-save", &["-t", "nat"]).stdout).contains("10.1.0.5:8080")
    });
    agent.eventually("the nft tables hold none", |_| {
        !Node::rules().contains("SLUICE-")
    });
    agent.eventually("it is healthy", |_| {
        get(HEALTHZ, "/healthz").is_some_and(|answer| answer.status == 200)
    });

    // An agent that started now would take the kubelet's.
    run(
        "iptables-nft",
        &["-t", "mangle", "-N", "KUBE-KUBELET-CANARY"],
    );
    node.write(
        "policy.yaml",
        "apiVersion: sluice.dev/v1alpha1\nkind: ServiceProxyPolicy\nmetadata: {name: all}\nspec: {iptables: {variant: Auto}}\n",
    );
    let diff = node.agent("render", &["--diff"]);
    let said = text(&diff.stdout);
    assert_eq!(diff.status.code(), Some(0), "{said}{}", text(&diff.stderr));
    assert!(Node::rules().contains("KUBE-KUBELET-CANARY"));
}
