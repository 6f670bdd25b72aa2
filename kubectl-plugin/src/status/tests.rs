//! Clusters that are well and clusters that are not, in text and JSON.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::observed::Observed;
use super::report::StatusReport;
use super::text::text;
use crate::style::Style;

const NOW: &str = "2026-11-01T12:00:00Z";
const TWELVE_MINUTES_AGO: &str = "2026-11-01T11:48:00Z";

fn condition(kind: &str, status: &str, reason: &str, message: &str) -> Value {
    json!({
        "type": kind, "status": status, "reason": reason, "message": message,
        "observedGeneration": 1, "lastTransitionTime": TWELVE_MINUTES_AGO,
    })
}

fn policy(name: &str, conditions: &[Value]) -> Value {
    json!({
        "apiVersion": "sluice.dev/v1alpha1", "kind": "ServiceProxyPolicy",
        "metadata": {"name": name, "generation": 1}, "spec": {"mode": "IPVS"},
        "status": {
            "observedGeneration": 1, "matchedNodes": 1, "updatedNodes": 1, "readyNodes": 1,
            "modes": [{"mode": "IPVS", "nodes": 1}], "conditions": conditions,
        },
    })
}

fn ready_policy(name: &str) -> Value {
    policy(
        name,
        &[
            condition(
                "Accepted",
                "True",
                "Accepted",
                "it counts for every node that it selects",
            ),
            condition("Ready", "True", "AllNodesReady", "1 of 1 nodes are ready"),
            condition("Reconciling", "False", "Settled", "nothing is being moved"),
            condition("Stalled", "False", "Progressing", "nothing is in the way"),
        ],
    )
}

fn proxy(node: &str, policy: &str, observed: Option<&str>, conditions: &[Value]) -> Value {
    json!({
        "apiVersion": "sluice.dev/v1alpha1", "kind": "NodeServiceProxy",
        "metadata": {"name": node, "generation": 1, "annotations": {"sluice.dev/moved-at": "2026-11-01T11:59:00Z"}},
        "spec": {"policy": policy, "policyGeneration": 1, "revision": "r-2", "mode": "IPVS", "settings": {}},
        "status": {"observedRevision": observed, "activeMode": "IPVS", "conditions": conditions},
    })
}

fn ready_proxy(node: &str, policy: &str) -> Value {
    let good = ["Supported", "Programmed", "Healthy"].map(|kind| condition(kind, "True", kind, ""));
    proxy(node, policy, Some("r-2"), &good)
}

fn node(name: &str) -> Value {
    json!({"metadata": {"name": name}})
}

fn agent(node: &str, is_ready: bool) -> Value {
    let status = if is_ready { "True" } else { "False" };
    json!({
        "metadata": {"name": format!("agent-{node}"), "namespace": "s"},
        "spec": {"nodeName": node, "containers": []},
        "status": {"conditions": [{"type": "Ready", "status": status, "lastTransitionTime": TWELVE_MINUTES_AGO}]},
    })
}

fn service(name: &str, minute: u8, address: &str) -> Value {
    json!({
        "metadata": {"name": name, "namespace": "shop", "creationTimestamp": format!("2026-11-01T11:{minute:02}:00Z")},
        "spec": {
            "clusterIP": format!("10.96.0.{minute}"), "clusterIPs": [format!("10.96.0.{minute}")], "externalIPs": [address],
            "ports": [{"port": 80, "protocol": "TCP"}],
        },
    })
}

fn lease(holder: &str, renewed: &str) -> Value {
    json!({
        "metadata": {"name": "sluice-operator", "namespace": "s"},
        "spec": {"holderIdentity": holder, "renewTime": renewed},
    })
}

fn read<T: serde::de::DeserializeOwned>(objects: &[Value]) -> Vec<T> {
    let read = objects.iter().cloned().map(serde_json::from_value);
    read.collect::<Result<_, _>>().unwrap()
}

struct Cluster {
    policies: Vec<Value>,
    proxies: Vec<Value>,
    nodes: Vec<Value>,
    agents: Vec<Value>,
    services: Vec<Value>,
    leases: Vec<Value>,
}

impl Cluster {
    fn healthy() -> Self {
        Self {
            policies: vec![ready_policy("edge")],
            proxies: vec![ready_proxy("a", "edge"), ready_proxy("b", "built-in")],
            nodes: vec![node("a"), node("b")],
            agents: vec![agent("a", true), agent("b", true)],
            services: vec![service("first", 1, "203.0.113.1")],
            leases: vec![lease("operator-1", "2026-11-01T11:59:58.000000Z")],
        }
    }

    fn observed(&self) -> Observed {
        Observed {
            policies: read(&self.policies),
            proxies: read(&self.proxies),
            nodes: read(&self.nodes),
            agents: Ok(read(&self.agents)),
            services: Ok(read(&self.services)),
            leases: Ok(read(&self.leases)),
        }
    }

    fn report(&self) -> StatusReport {
        report(&self.observed())
    }

    fn text(&self) -> String {
        text(&self.report(), Style::PLAIN)
    }
}

fn report(observed: &Observed) -> StatusReport {
    StatusReport::of(observed, NOW.parse::<Timestamp>().unwrap())
}

#[test]
fn a_healthy_cluster_fits_in_a_few_lines() {
    let cluster = Cluster::healthy();
    assert_eq!(
        cluster.text(),
        "\
POLICY    MODE  NODES  UPDATED  READY  RUNS    STATE
edge      IPVS  1      1        1      1 IPVS  ready: 1 of 1 nodes are ready
built-in  -     1      1        1      1 IPVS  ready: no policy counts for these nodes, so they run the defaults

2 of 2 nodes are ready

Operator: operator-1 leads (namespace s), seen 2 s ago

Nothing is wrong.
"
    );
    let json = serde_json::to_value(cluster.report()).unwrap();
    assert_eq!(json["healthy"], true);
    assert_eq!(json["policies"][0]["state"], "Ready");
    assert_eq!(json["nodes"], json!({"total": 2, "ready": 2}));
    assert_eq!(json["operator"]["holder"], "operator-1");
    assert_eq!(json["operator"]["renewedSecondsAgo"], 2);
}

#[test]
fn a_node_that_cannot_run_its_mode_is_told_with_its_sentence_and_for_how_long() {
    let mut cluster = Cluster::healthy();
    let why = "the node cannot run mode IPVS";
    let bad = [
        condition("Supported", "False", "ModeNotAvailable", why),
        condition("Programmed", "False", "ModeNotAvailable", why),
        condition("Healthy", "True", "Healthy", ""),
    ];
    cluster.proxies[0] = proxy("a", "edge", Some("r-2"), &bad);
    let text = cluster.text();
    let line = "  wrong  a (edge): ModeNotAvailable for 12 min, not Supported: the node cannot run mode IPVS\n";
    assert!(text.contains(line), "{text}");
    assert_eq!(text.matches(why).count(), 1, "said once: {text}");
    assert!(text.ends_with("Something is wrong.\n"));
    let json = serde_json::to_value(cluster.report()).unwrap();
    assert_eq!(json["findings"][0]["forSeconds"], 720);
    assert_eq!(json["healthy"], false);
}

#[test]
fn each_state_of_a_rollout_has_its_word_and_only_some_are_wrong() {
    let with = |kinds: &[(&str, &str, &str)]| {
        let conditions: Vec<Value> = kinds
            .iter()
            .map(|(kind, status, reason)| {
                condition(kind, status, reason, &format!("because of {reason}"))
            })
            .collect();
        let mut cluster = Cluster::healthy();
        cluster.policies = vec![policy("edge", &conditions)];
        let report = cluster.report();
        let line = &report.policies[0];
        let state = format!("{}: {}", line.state.words(), line.message);
        assert_eq!(report.healthy, !line.wrong);
        (state, line.wrong)
    };
    for (conditions, state, wrong) in [
        (
            &[
                ("Reconciling", "True", "MovingNodes"),
                ("Ready", "False", "Reconciling"),
            ][..],
            "moving: because of MovingNodes",
            false,
        ),
        (
            &[
                ("Reconciling", "False", "Paused"),
                ("Ready", "False", "Paused"),
            ],
            "paused: because of Paused",
            false,
        ),
        (
            &[
                ("Reconciling", "True", "RollingBack"),
                ("Stalled", "True", "RolledBack"),
            ],
            "rolling back: because of RolledBack",
            true,
        ),
        (
            &[
                ("Reconciling", "False", "Settled"),
                ("Stalled", "True", "RolledBack"),
            ],
            "rolled back: because of RolledBack",
            true,
        ),
        (
            &[("Stalled", "True", "DeadlineExceeded")],
            "stalled: because of DeadlineExceeded",
            true,
        ),
        (
            &[("Ready", "False", "NodesNotReady")],
            "not ready: because of NodesNotReady",
            true,
        ),
        (
            &[
                ("Accepted", "False", "Overridden"),
                ("Ready", "True", "NoNodes"),
            ],
            "overridden: because of Overridden",
            false,
        ),
        (
            &[
                ("Accepted", "False", "Invalid"),
                ("Stalled", "True", "Invalid"),
            ],
            "invalid: because of Invalid",
            true,
        ),
        (&[], "not looked at: its status says nothing", true),
    ] {
        assert_eq!(with(conditions), (state.to_owned(), wrong));
    }
    let mut cluster = Cluster::healthy();
    cluster.policies[0]["metadata"]["generation"] = json!(2);
    assert!(
        cluster
            .text()
            .contains("not looked at: no operator has looked at its present spec")
    );
}

#[test]
fn nodes_without_agent_or_order_are_wrong_and_nodes_on_their_way_are_not() {
    let mut cluster = Cluster::healthy();
    cluster.proxies[0]["status"]["observedRevision"] = json!("r-1");
    let text = cluster.text();
    assert!(
        text.contains("note   a (edge): Behind for 1 min, it has r-1 and shall have r-2"),
        "{text}"
    );
    assert!(cluster.report().healthy, "{text}");

    let mut of_nobody = Cluster::healthy();
    let failed = condition("Programmed", "False", "SyncFailed", "a table is locked");
    of_nobody.proxies[1]["status"]["conditions"][1] = failed;
    assert!(
        of_nobody
            .text()
            .contains("0      1 IPVS  not ready: no policy counts")
    );
    let soon = json!("2026-11-01T11:59:00Z");
    of_nobody.proxies[1]["status"]["conditions"][1]["reason"] = json!("Pending");
    assert!(!of_nobody.report().healthy, "for twelve minutes");
    of_nobody.proxies[1]["status"]["conditions"][1]["lastTransitionTime"] = soon;
    assert!(of_nobody.report().healthy, "for a minute");

    cluster.nodes.push(node("c"));
    cluster.agents.push(agent("c", false));
    let text = cluster.text();
    assert!(text.contains("wrong  c: AgentNotReady for 12 min, the pod of its agent is not ready: kubectl -n s describe pod agent-c"), "{text}");
    assert!(text.contains("wrong  c: NotTold"), "{text}");
    let log = "INFO sluice_agent: starts\nsluice-agent: address sets cannot be reached: the kernel has no ipset: load the module ip_set or use a kernel that has it\n";
    cluster.agents[2]["status"]["containerStatuses"] = json!([
        {"name": "cni-install", "ready": true, "lastState": {"terminated": {"exitCode": 1, "message": "long ago"}}},
        {"name": "agent", "ready": false, "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": {"exitCode": 2, "message": log}}},
    ]);
    let text = cluster.text();
    assert!(text.contains("is not ready (agent ended: sluice-agent: address sets cannot be reached: the kernel has no ipset: load the module ip_set"), "{text}");
    assert!(
        text.find("wrong").unwrap() < text.find("note").unwrap(),
        "{text}"
    );

    cluster.agents.remove(2);
    assert!(
        cluster
            .text()
            .contains("wrong  c: NoAgent, no pod of an agent is on it")
    );
    // Where no agent is a pod, none is missed.
    cluster.agents.clear();
    let text = cluster.text();
    assert!(
        !text.contains("NoAgent") && text.contains("Note: no pod of an agent is there"),
        "{text}"
    );
    cluster.proxies.push(proxy("c", "edge", None, &[]));
    assert!(
        cluster
            .text()
            .contains("wrong  c (edge): NoReport for 1 min")
    );
    // Windows nodes keep kube-proxy.
    cluster.nodes[2]["metadata"]["labels"] = json!({"kubernetes.io/os": "windows"});
    assert!(cluster.report().healthy);
}

#[test]
fn a_node_that_no_agent_is_meant_for_is_told_and_is_not_wrong() {
    let mut cluster = Cluster::healthy();
    cluster.nodes.push(node("c"));
    let mut silent = proxy("c", "built-in", None, &[]);
    silent["metadata"]["creationTimestamp"] = json!(TWELVE_MINUTES_AGO);
    silent["status"] = json!({});
    cluster.proxies.push(silent);
    let findings = |cluster: &Cluster| {
        let report = cluster.report();
        let findings = report.findings.iter().filter(|finding| finding.node == "c");
        let reasons: Vec<String> = findings.map(|finding| finding.reason.clone()).collect();
        (reasons.join(" "), report.healthy)
    };
    assert_eq!(findings(&cluster), ("WithoutAgent".to_owned(), true));
    let text = cluster.text();
    let line = "note   c (built-in): WithoutAgent for 12 min, no agent has ever reported from it, so it is passed over";
    assert!(text.contains(line), "{text}");
    assert!(text.contains("2 of 3 nodes are ready"), "{text}");
    assert!(text.contains("ready: no policy counts for these"), "{text}");

    let with = |change: fn(&mut Cluster)| {
        let mut changed = Cluster {
            policies: cluster.policies.clone(),
            proxies: cluster.proxies.clone(),
            nodes: cluster.nodes.clone(),
            agents: cluster.agents.clone(),
            services: cluster.services.clone(),
            leases: cluster.leases.clone(),
        };
        change(&mut changed);
        findings(&changed)
    };
    for (change, reason) in [
        (
            (|cluster| cluster.agents.push(agent("c", false))) as fn(&mut Cluster),
            "AgentNotReady",
        ),
        (|cluster| cluster.agents.push(agent("c", true)), "NoReport"),
        (
            |cluster| {
                cluster.proxies[2]["metadata"]["creationTimestamp"] = json!("2026-11-01T11:51:00Z");
            },
            "NoAgent",
        ),
        (
            |cluster| {
                cluster.nodes[2]["spec"] = json!({"taints": [
                    {"key": "node.sluice.dev/agent-not-ready", "effect": "NoSchedule"},
                ]});
            },
            "NoAgent",
        ),
        (
            |cluster| {
                cluster.proxies[2]["status"] =
                    json!({"capabilities": {"kernel": "6.1.0", "ipvs": true}});
            },
            "NoAgent",
        ),
        (
            |cluster| {
                for ready in &mut cluster.proxies[..2] {
                    ready["status"] = json!({});
                }
            },
            "NoAgent",
        ),
    ] {
        assert_eq!(with(change), (reason.to_owned(), false));
    }
}

#[test]
fn a_service_that_lacks_what_an_older_one_has_is_told_with_the_holder() {
    let mut cluster = Cluster::healthy();
    cluster.services.push(service("other", 2, "203.0.113.2"));
    assert!(cluster.report().healthy);
    cluster.services.push(service("second", 3, "203.0.113.1"));
    let report = cluster.report();
    assert!(!report.healthy);
    let text = cluster.text();
    let lines = "1 services lack what another service has\n  wrong  shop/second: older services have its 203.0.113.1:80/tcp (shop/first): give one";
    assert!(text.contains(lines), "{text}");
    let json = serde_json::to_value(report).unwrap();
    assert_eq!(json["services"][0]["service"], "shop/second");
    // Those that are not proxied ask for nothing.
    cluster.services[2]["spec"]["clusterIP"] = json!("None");
    cluster.services[2]["spec"]["clusterIPs"] = json!(["None"]);
    assert!(cluster.report().healthy);
}

#[test]
fn of_a_node_that_is_away_only_that_is_told() {
    let mut cluster = Cluster::healthy();
    cluster.proxies[0]["status"]["conditions"] = json!([]);
    cluster.nodes[0]["status"] = json!({"conditions": [{"type": "Ready", "status": "Unknown", "lastTransitionTime": TWELVE_MINUTES_AGO}]});
    let report = cluster.report();
    assert_eq!(report.findings.len(), 1);
    assert_eq!(report.findings[0].reason, "Unreachable");
    assert_eq!(report.nodes.ready, 1);
    // As for the operator.
    cluster.nodes[0]["status"]["conditions"][0]["status"] = json!("False");
    assert_eq!(cluster.report().findings, report.findings);
    // It may not be ready because it waits for its agent.
    cluster.agents[0] = agent("a", false);
    let report = cluster.report();
    let reasons = report.findings.iter().map(|finding| &*finding.reason);
    assert_eq!(
        reasons.collect::<Vec<_>>(),
        ["AgentNotReady", "Unreachable"]
    );
    cluster.nodes[0]["status"]["conditions"][0]["status"] = json!("Unknown");
    assert_eq!(cluster.report().findings.len(), 1);
}

#[test]
fn a_lease_that_nobody_renews_is_wrong_and_one_that_cannot_be_read_is_not() {
    let mut cluster = Cluster::healthy();
    cluster.leases = vec![lease("operator-1", "2026-11-01T11:48:00.000000Z")];
    let text = cluster.text();
    assert!(
        text.contains("nobody leads: operator-1 was seen 12 min ago"),
        "{text}"
    );
    assert!(!cluster.report().healthy);
    // Of two installations the one that lives counts.
    cluster
        .leases
        .push(lease("operator-2", "2026-11-01T11:59:58.000000Z"));
    assert!(cluster.text().contains("operator-2 leads"));
    cluster.leases = vec![lease("", "2026-11-01T11:59:58.000000Z")];
    assert!(cluster.text().contains("the lease in namespace s is free"));
    cluster.leases.clear();
    assert!(cluster.report().healthy && cluster.text().contains("no operator has a lease"));

    let mut observed = Cluster::healthy().observed();
    observed.leases = Err("you may not list leases".to_owned());
    observed.agents = Err("you may not list pods".to_owned());
    observed.services = Err("you may not list services".to_owned());
    let told = report(&observed);
    let words = super::text::text(&told, Style::PLAIN);
    assert!(
        told.healthy && words.contains("who leads is not known: you may not list leases"),
        "{words}"
    );
    assert!(
        words.contains("Note: whether the nodes' agents run is not known: you may not list pods")
    );
    assert!(words.contains("is not known: you may not list services"));
}

#[test]
fn an_empty_cluster_says_so() {
    let cluster = Cluster {
        policies: Vec::new(),
        proxies: Vec::new(),
        nodes: Vec::new(),
        agents: Vec::new(),
        services: Vec::new(),
        leases: Vec::new(),
    };
    assert!(
        cluster
            .text()
            .starts_with("There is no policy, and no node was told how to serve.")
    );
}
