//! A node without IPv6, or without rules for it.

use std::process::Command;

use sluice_agent::data_plane::{DataPlane, DataPlaneError};
use sluice_agent::node_plane::{Doors, NodePlane};
use sluice_crds::v1alpha1::ActiveMode;
use sluice_e2e::agent_process::AgentProcess;
use sluice_e2e::changes::ServedNode;
use sluice_e2e::lab::Lab;
use sluice_e2e::lab::places::{A1, A2, B1};
use sluice_e2e::packets::build::{all_ready, web};
use sluice_e2e::packets::planes;
use sluice_kernel::iptables::{Family as KernelFamily, IptablesPrograms, Variant};
use sluice_service_plan::model::{Family, Protocol, Settings};

use crate::node::{AGENT, agent, agent_by_rules, cluster, is_served, node_port, reach, start};

#[test]
fn a_node_without_ipv6_serves_ipv4() {
    let lab = Lab::up().unwrap();
    for path in [
        "net/ipv6/conf/all/disable_ipv6",
        "net/ipv6/conf/default/disable_ipv6",
    ] {
        lab.node().sysctl(path, "1").unwrap();
    }
    let Some(mut agent) = agent(Variant::Nft) else {
        return;
    };
    start(&mut agent, &lab);
    assert!(is_served(&lab, node_port(1)));
    assert_eq!(agent.difference(lab.node()).unwrap(), "");
}

#[test]
fn a_node_whose_iptables_has_no_nat_for_ipv6_serves_ipv4_and_says_so() {
    let lab = Lab::up().unwrap();
    let Some(mut agent) = agent_by_rules(Variant::Nft) else {
        return;
    };
    // As on a kernel without nft_chain_nat: it lists nothing, and takes no chain of nat.
    let refuses = "if grep -q '^.nat'; then
  echo 'ip6tables-nft-restore: line 2: CHAIN_ADD failed (No such file or directory): chain PREROUTING' >&2
  exit 4
fi";
    agent
        .replace_program("ip6tables-nft-restore", refuses)
        .unwrap();
    start(&mut agent, &lab);
    assert!(is_served(&lab, node_port(1)));
    let log = agent.log();
    assert!(
        log.contains("iptables nft has no nat for it here: IPv6 Services are not served"),
        "{log}"
    );
    let conditions = agent
        .metric(lab.node(), "sluice_settings_conditions")
        .unwrap();
    assert!((conditions - 1.0).abs() < 0.1, "{conditions}");
    let checked = agent.ask(lab.node(), "check", &[]).unwrap();
    assert!(checked.contains("note: IPv6 is on"), "{checked}");
}

#[test]
fn what_cannot_be_listed_for_want_of_ipv6_is_neither_shown_nor_in_the_way_of_cleanup() {
    let lab = Lab::up().unwrap();
    let Some(mut agent) = agent_by_rules(Variant::Nft) else {
        return;
    };
    let lacks = "echo 'ip6tables: Failed to initialize nft: Protocol not supported' >&2; exit 1";
    for program in ["ip6tables-nft-restore", "ip6tables-nft-save"] {
        agent.replace_program(program, lacks).unwrap();
    }
    start(&mut agent, &lab);
    assert!(is_served(&lab, node_port(1)));
    assert_eq!(agent.difference(lab.node()).unwrap(), "");
    let shown = without_agent(&lab, &agent, &["show"]);
    assert!(shown.contains("10.96.0.1"), "{shown}");
    agent.kill().unwrap();
    let (state, run) = (agent.path("state"), agent.path("run"));
    let told = without_agent(
        &lab,
        &agent,
        &[
            "cleanup",
            "--state-dir",
            state.to_str().unwrap(),
            "--run-dir",
            run.to_str().unwrap(),
        ],
    );
    assert!(
        told.contains("iptables nft: no rule of ours is left") && told.contains(", 0 left"),
        "{told}"
    );
    assert!(!is_served(&lab, node_port(1)));
}

/// What a subcommand that needs no source says, with the programs that stand in for others.
fn without_agent(lab: &Lab, agent: &AgentProcess, arguments: &[&str]) -> String {
    let rest = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new(AGENT);
    command
        .args(arguments)
        .env("PATH", format!("{}:{rest}", agent.path("bin").display()));
    let output = lab.node().run(move || command.output()).unwrap().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {error}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_plane_for_ipv4_only_serves_ipv4_and_touches_nothing_of_ipv6() {
    for variant in [Variant::Legacy, Variant::Nft] {
        if !planes::iptables(variant).runs_here() {
            continue;
        }
        let open = move || -> Result<Box<dyn DataPlane>, DataPlaneError> {
            let families = [KernelFamily::V4];
            let doors = Doors::with(Box::new(IptablesPrograms::open(variant)?), &families)?;
            Ok(Box::new(NodePlane::new(
                doors,
                &families,
                ActiveMode::IPTables,
            )))
        };
        let mut node = ServedNode::start(open, Settings::default()).unwrap();
        let service = web(Family::V4, Protocol::Tcp)
            .cluster_ip("fd00:10:96::10".parse().unwrap())
            .affinity(60);
        node.serve(&service, &all_ready([A1, B1])).unwrap();
        assert!(is_served(node.lab(), cluster(10)));
        let node_thread = node.lab().node();
        let rules = node_thread
            .command(&format!("ip6tables-{variant}-save"))
            .unwrap();
        assert!(!rules.contains("SLUICE-"), "{rules}");
        let sets = node_thread.command("ipset list -n").unwrap();
        assert!(!sets.contains("SLUICE-6-"), "{sets}");
        node.serve(&service, &all_ready([A2])).unwrap();
        assert_eq!(reach(node.lab(), cluster(10)).endpoint(), Some(A2.name));
        assert_eq!(
            node.with_plane(|plane, _| plane.verify()).unwrap().unwrap(),
            []
        );
        assert!(
            node.with_plane(|plane, _| plane.remove())
                .unwrap()
                .is_empty()
        );
    }
}
