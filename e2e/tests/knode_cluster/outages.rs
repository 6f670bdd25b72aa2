//! An API server that is away, slow, wrong or empty, and objects that go or come at bad times: what serves goes on.

use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::json;
use sluice_e2e::lab::places::{A1, A2, A3};

use crate::cluster::Cluster;
use crate::nodes::{Node, assert_nothing_lost};

#[test]
fn an_api_server_that_goes_away_in_any_way_changes_nothing_and_what_happened_meanwhile_is_taken_in()
{
    let Some(mut cluster) = Cluster::up("outages") else {
        return;
    };
    cluster.serve(1, &[A1, A2]);
    cluster.serve(2, &[A1]);
    let mut node = Node::up(&cluster, "node-1", &[]);
    node.wait_until_served(&cluster, 2);
    let loads = node.load();

    // What the node sees of it.
    for outage in [
        (
            "it is cut off",
            sluice_e2e::control_plane::Relay::cut as fn(&_),
        ),
        ("it says nothing", sluice_e2e::control_plane::Relay::stall),
        ("it talks rubbish", sluice_e2e::control_plane::Relay::garble),
    ] {
        let (what, begin) = outage;
        begin(&node.relay);
        sleep(Duration::from_secs(3));
        assert!(node.serves(1) && node.serves(2), "{what}");
        node.relay.mend();
    }
    cluster.serve(2, &[A3]);
    cluster.eventually("the agent is back", || {
        node.answers(2).as_deref() == Some(A3.name)
    });

    // The server itself is killed, and the agent too: it starts without one.
    cluster
        .installation
        .control_plane
        .kill_api_server()
        .unwrap();
    node.agent.kill().unwrap();
    node.start_agent();
    sleep(Duration::from_secs(2));
    assert!(node.serves(1) && node.serves(2));
    cluster
        .installation
        .control_plane
        .start_api_server()
        .unwrap();
    node.wait_until_healthy(&cluster);
    cluster.serve(2, &[A2]);
    cluster.eventually("the agent is back again", || {
        node.answers(2).as_deref() == Some(A2.name)
    });
    assert_nothing_lost(loads);
}

#[test]
fn an_api_server_whose_packets_vanish_is_noticed_by_who_only_listens() {
    let Some(cluster) = Cluster::up("packets vanish") else {
        return;
    };
    cluster.serve(1, &[A1, A2]);
    cluster.serve(2, &[A1]);
    let node = Node::up(&cluster, "node-1", &[]);
    node.wait_until_served(&cluster, 2);
    let loads = node.load();
    let port = cluster.installation.control_plane.port().to_string();
    let vanish = |how: &str| {
        let drop = [
            "-w", "60", how, "INPUT", "-i", "lo", "-p", "tcp", "--sport", &port, "-j", "DROP",
        ];
        node.lab.node().program("iptables", &drop, "").unwrap();
    };
    vanish("-I");
    let begun = Instant::now();
    let noticed = || {
        let log = node.agent.log();
        log.contains("the API server cannot be asked")
    };
    cluster.eventually("it notices", noticed);
    eprintln!("noticed after {:?}", begun.elapsed());
    cluster.serve(2, &[A3]);
    assert!(node.serves(1) && node.answers(2).as_deref() == Some(A1.name));
    vanish("-D");
    cluster.eventually("the agent is back", || {
        node.answers(2).as_deref() == Some(A3.name)
    });
    assert_nothing_lost(loads);
}

#[test]
fn the_last_settings_count_without_operator_and_api_server() {
    let Some(mut cluster) = Cluster::up("last settings") else {
        return;
    };
    cluster.serve(1, &[A1, A2]);
    cluster.policy(
        "all",
        &json!({"iptables": {"variant": "Legacy"}, "mode": "IPTables"}),
    );
    let mut node = Node::up(&cluster, "node-1", &[]);
    cluster.wait_until_ready("spp/all", 1);
    cluster.eventually("the policy is in force", || node.has_only("legacy"));
    let loads = node.load();
    cluster.operator.kill().unwrap();
    node.relay.cut();
    node.agent.kill().unwrap();
    node.start_agent();
    sleep(Duration::from_secs(1));
    node.relay.mend();
    node.wait_until_healthy(&cluster);
    // Not what its flags say, which is the variant that the node uses already, nft.
    assert!(node.has_only("legacy"));

    // Deleted by hand, and no operator to make it again.
    cluster.kubectl().run(&["delete", "nsp/node-1"]).unwrap();
    sleep(Duration::from_secs(1));
    assert!(node.has_only("legacy"));
    cluster.operator.start().unwrap();
    cluster.eventually("it is there again", || {
        cluster.condition("nsp/node-1", "Programmed", "status") == "True"
    });
    assert_nothing_lost(loads);
}
