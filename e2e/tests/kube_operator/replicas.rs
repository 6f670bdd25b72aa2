//! Operators that die, and two of them.

use std::sync::atomic::Ordering;

use crate::cluster::{Cluster, spec};

#[test]
fn an_operator_that_is_killed_in_a_rollout_goes_on_where_it_was() {
    let Some(cluster) = Cluster::up("killed") else {
        return;
    };
    cluster.add_nodes("edge", "edge", 5);
    let mut operator = cluster.operator(&["--leader-election=false"]);
    cluster.policy("edge", &spec("edge", "IPTables", 1));
    cluster.wait_until_ready("spp/edge", 5);
    let first = cluster.field("spp/edge", ".status.currentRevision");
    cluster
        .agents
        .orders
        .most_moving
        .store(0, Ordering::Relaxed);
    cluster.policy("edge", &spec("edge", "IPTables", 2));
    for n in 1..=3 {
        cluster.eventually("a further node is moved", || {
            cluster.field(&format!("nsp/edge-{n}"), ".spec.revision") != first
        });
        operator.kill().unwrap();
        operator.start().unwrap();
    }
    cluster.eventually("the rollout is over", || {
        let current = cluster.field("spp/edge", ".status.currentRevision");
        current != first && cluster.condition("spp/edge", "Ready", "status") == "True"
    });
    assert_eq!(cluster.agents.orders.most_moving.load(Ordering::Relaxed), 1);
}

#[test]
fn of_two_replicas_one_leads_and_the_other_takes_over() {
    let Some(cluster) = Cluster::up("two replicas") else {
        return;
    };
    cluster.add_nodes("edge", "edge", 2);
    let mut replicas = [
        cluster.operator(&["--identity=one"]),
        cluster.operator(&["--identity=two"]),
    ];
    cluster.policy("edge", &spec("edge", "IPTables", 1));
    cluster.wait_for("spp/edge", "Ready");
    let lead = || {
        let leads = |n: usize| replicas[n].metric("sluice_operator_leader").unwrap() > 0.5;
        [leads(0), leads(1)]
    };
    cluster.eventually("one leads, and both are ready", || {
        let [first, second] = lead();
        first != second && replicas.iter().all(|replica| replica.is_ready().unwrap())
    });
    let leader = usize::from(lead()[1]);
    replicas[leader].kill().unwrap();
    cluster.policy("edge", &spec("edge", "IPTables", 2));
    cluster.eventually("the other one takes over", || {
        (1..=2).all(|n| {
            let path = ".spec.settings.modeSwitch.drainTimeoutSeconds";
            cluster.field(&format!("nsp/edge-{n}"), path) == "2"
        })
    });
    let other = &replicas[1 - leader];
    cluster.eventually("it says so", || {
        other.metric("sluice_operator_leader").unwrap() > 0.5
    });
}
