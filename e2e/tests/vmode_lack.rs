//! A node that cannot run IPVS says so and is served by rules; where it can later, it goes to IPVS by itself. Needs a machine that has IPVS,
//! and has not loaded it.

// Helpers of tests may fail as tests do.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::net::SocketAddr;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use sluice_e2e::agent_process::AgentProcess;
use sluice_e2e::changes::lost;
use sluice_e2e::lab::Lab;
use sluice_e2e::lab::load::{Load, Route};
use sluice_e2e::lab::pace::stretched;
use sluice_e2e::lab::places::CLIENT;
use sluice_e2e::packets::build::{NODE_NAME, PORT, cluster_ip};
use sluice_e2e::skip::skip;
use sluice_kernel::modules::{ModprobeModules, Modules};
use sluice_service_plan::model::Family;

const PATIENCE: Duration = Duration::from_secs(90);
/// Stands in for `modprobe`, and finds nothing until a file says otherwise.
const MODPROBE: &str = r#"[ -e "$(dirname "$0")/../modules-are-there" ] && exec /sbin/modprobe "$@"; echo "FATAL: Module not found" >&2; exit 1"#;

const OBJECTS: &str = "
apiVersion: v1
kind: Node
metadata: {name: node-a}
spec: {podCIDRs: [10.244.0.0/24, 'fd00:10:244::/64']}
status: {addresses: [{type: InternalIP, address: 192.0.2.10}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec:
  clusterIPs: [10.96.0.10]
  ports: [{name: http, port: 80, protocol: TCP}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: shop, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: http, port: 8080, protocol: TCP}]
endpoints: [{addresses: [10.244.0.11]}]
---
apiVersion: sluice.dev/v1alpha1
kind: ServiceProxyPolicy
metadata: {name: ipvs}
spec:
  mode: IPVS
  sync: {minIntervalMilliseconds: 50, fullIntervalSeconds: 10}
";

#[test]
fn a_node_without_ipvs_says_so_and_serves_by_rules_until_it_has_it() {
    if Path::new("/proc/net/ip_vs").exists() {
        return skip("IPVS comes and goes", "IPVS is loaded already");
    }
    // The bridge of a lab needs it; built in, it is there anyway.
    let _ = ModprobeModules::new().load("br_netfilter", &[]);
    let lab = Lab::up().unwrap();
    let mut agent =
        AgentProcess::new(Path::new(env!("CARGO_BIN_EXE_agent-under-test")), NODE_NAME).unwrap();
    agent.replace_program("modprobe", MODPROBE).unwrap();
    agent.set_environment("RUST_LOG", "info");
    agent.write("objects.yaml", OBJECTS).unwrap();
    agent.start(lab.node()).unwrap();
    agent
        .wait_until_healthy(lab.node(), stretched(PATIENCE))
        .unwrap();
    let serves = |mode: &str| {
        let line = format!("sluice_mode{{mode=\"{mode}\"}} 1");
        agent.metrics(lab.node()).unwrap().contains(&line)
    };
    let wait_until_it_serves = |mode: &str| {
        let start = Instant::now();
        while !serves(mode) {
            assert!(start.elapsed() < stretched(PATIENCE), "{}", agent.log());
            sleep(Duration::from_millis(200));
        }
    };
    wait_until_it_serves("IPTables");
    assert!(
        agent.log().contains("this node cannot run the mode"),
        "{}",
        agent.log()
    );
    assert!(
        agent
            .metric(lab.node(), "sluice_settings_conditions")
            .unwrap()
            >= 1.0
    );

    let route = Route {
        from: CLIENT,
        to: SocketAddr::new(cluster_ip(Family::V4, 10), PORT),
        patience: Duration::from_secs(5),
    };
    let mut load = Load::new_connections(&lab, route, 10).unwrap();
    std::fs::write(agent.path("modules-are-there"), "").unwrap();
    wait_until_it_serves("IPVS");
    sleep(Duration::from_secs(2));
    load.wait_until(|seen| seen.len() > 20);
    let report = load.stop().unwrap();
    assert!(report.attempts.len() > 20);
    assert_eq!(lost(&report, |_| false), [""; 0]);
}
