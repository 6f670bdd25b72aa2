//! Manifests that cannot be read.

use std::thread::sleep;
use std::time::Duration;

use sluice_e2e::lab::Lab;
use sluice_e2e::lab::places::A3;
use sluice_kernel::iptables::Variant;

use crate::node::{
    agent, assert_nothing_lost, cluster, eventually, load, manifest, node_port, reach, start,
};

#[test]
fn a_broken_manifest_stops_no_service_of_other_files_also_not_when_the_agent_starts_again() {
    let lab = Lab::up().unwrap();
    let Some(mut agent) = agent(Variant::Nft) else {
        return;
    };
    start(&mut agent, &lab);
    let loads = vec![load(&lab, cluster(1)), load(&lab, node_port(1))];
    agent
        .write("s2.yaml", "kind: Service\nspec: {ports: [{port: eighty}]\n")
        .unwrap();
    eventually("the refusal is counted", &agent, |agent| {
        agent.metric(lab.node(), "sluice_refused_objects").unwrap() >= 1.0
    });
    agent.kill().unwrap();
    start(&mut agent, &lab);
    sleep(Duration::from_millis(500));
    agent.write("s2.yaml", &manifest(2, &[A3])).unwrap();
    eventually("the mended file is served", &agent, |_| {
        reach(&lab, cluster(2)).endpoint() == Some(A3.name)
    });
    assert_nothing_lost(loads);
}

#[test]
fn an_agent_that_starts_over_a_broken_file_serves_what_the_file_had() {
    let lab = Lab::up().unwrap();
    let Some(mut agent) = agent(Variant::Nft) else {
        return;
    };
    start(&mut agent, &lab);
    let loads = vec![load(&lab, cluster(1)), load(&lab, node_port(1))];
    eventually("the file has a copy", &agent, |agent| {
        agent.path("state/manifests/s1.yaml").exists()
    });
    agent.write("s1.yaml", "kind: {").unwrap();
    for _ in 0..2 {
        agent.kill().unwrap();
        start(&mut agent, &lab);
        let refused = agent.metric(lab.node(), "sluice_refused_objects").unwrap();
        assert!(refused >= 1.0, "{refused}");
        sleep(Duration::from_millis(500));
    }
    agent.write("s1.yaml", &manifest(1, &[A3])).unwrap();
    eventually("the mended file is served", &agent, |_| {
        reach(&lab, cluster(1)).endpoint() == Some(A3.name)
    });
    assert_nothing_lost(loads);
}
