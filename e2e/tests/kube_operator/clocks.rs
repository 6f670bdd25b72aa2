//! Times that other machines wrote down.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde_json::json;
use sluice_e2e::installation::NAMESPACE;
use sluice_e2e::operator_process::OperatorProcess;

use crate::cluster::{Cluster, spec};

/// What a lease lasts.
const LEASE: Duration = Duration::from_secs(15);

/// The lease as a replica with another clock has it: `renewed` is the time by that.
fn hold(cluster: &Cluster, renewed: &str) {
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": "sluice-operator", "namespace": NAMESPACE},
        "spec": {
            "holderIdentity": "another", "leaseDurationSeconds": LEASE.as_secs(), "leaseTransitions": 1,
            "acquireTime": "2020-01-01T00:00:00.000000Z", "renewTime": renewed,
        },
    });
    cluster.installation.apply(&[lease]).unwrap();
}

fn leads(operator: &OperatorProcess) -> bool {
    operator.metric("sluice_operator_leader").unwrap() > 0.5
}

#[test]
fn a_lease_is_anothers_as_long_as_it_is_renewed_whatever_time_it_says() {
    let Some(cluster) = Cluster::up("a lease of another clock") else {
        return;
    };
    hold(&cluster, "2020-01-01T00:00:00.000000Z");
    let (ends, end) = channel::<()>();
    let operator = std::thread::scope(|scope| {
        let cluster = &cluster;
        // Whatever else takes time, it is renewed.
        scope.spawn(move || {
            let mut n = 0;
            while end.recv_timeout(Duration::from_secs(1)) == Err(RecvTimeoutError::Timeout) {
                n += 1;
                // Years behind, but going on.
                let renewed = format!("2020-01-01T00:{:02}:{:02}.000000Z", n / 60, n % 60);
                hold(cluster, &renewed);
            }
        });
        // Also where what follows fails.
        let _ends = ends;
        let operator = cluster.operator(&["--identity=one"]);
        cluster.eventually("it follows", || operator.is_ready().unwrap());
        let begun = Instant::now();
        while begun.elapsed() < 2 * LEASE {
            assert!(!leads(&operator), "it took a lease that is renewed");
            std::thread::sleep(Duration::from_secs(1));
        }
        operator
    });
    // Its holder dies, whose clock was ahead at last.
    hold(&cluster, "2999-01-01T00:00:00.000000Z");
    cluster.eventually("it takes a lease that nobody renews", || leads(&operator));
}

#[test]
fn a_replica_that_is_told_to_end_gives_the_lease_up() {
    let Some(cluster) = Cluster::up("a lease given up") else {
        return;
    };
    let lease = format!("lease/sluice-operator --namespace={NAMESPACE}");
    let holder = || {
        let mut get = vec!["get"];
        get.extend(lease.split(' '));
        get.push("-o=jsonpath={.spec.holderIdentity}");
        cluster.kubectl().run(&get).unwrap_or_default()
    };
    let operator = cluster.operator(&["--identity=one"]);
    cluster.eventually("it leads", || holder() == "one");
    let id = operator.id().unwrap().to_string();
    let told = std::process::Command::new("kill")
        .arg(&id)
        .status()
        .unwrap();
    assert!(told.success());
    cluster.eventually("nobody has the lease", || holder().is_empty());
}

#[test]
fn a_move_that_an_operator_of_another_clock_noted_has_its_time_and_no_more() {
    let Some(cluster) = Cluster::up("moves of another clock") else {
        return;
    };
    cluster.add_nodes("edge", "edge", 2);
    let mut operator = cluster.operator(&["--leader-election=false"]);
    let patient = |drain| {
        let mut spec = spec("edge", "IPTables", drain);
        spec["rollout"]["progressDeadlineSeconds"] = json!(120);
        spec
    };
    cluster.policy("edge", &patient(1));
    cluster.wait_until_ready("spp/edge", 2);
    let first = cluster.field("spp/edge", ".status.currentRevision");
    let revision = || cluster.field("nsp/edge-1", ".spec.revision");
    let note = |at: &str| {
        let note = format!("sluice.dev/moved-at={at}");
        let annotate = ["annotate", "--overwrite", "nsp/edge-1", &note];
        cluster.kubectl().run(&annotate).unwrap();
    };
    let orders = &cluster.agents.orders;
    orders.silent.lock().unwrap().insert("edge-1".to_owned());
    cluster.policy("edge", &patient(2));
    cluster.eventually("the first node is on its way", || revision() != first);

    // By the next operator's clock that was four minutes ago, and the deadline are two.
    operator.kill().unwrap();
    let ago = "-u -d -4min +%Y-%m-%dT%H:%M:%SZ".split(' ');
    let ago = std::process::Command::new("date")
        .args(ago)
        .output()
        .unwrap();
    note(String::from_utf8(ago.stdout).unwrap().trim());
    operator.start().unwrap();
    cluster.eventually("it has begun", || operator.is_ready().unwrap());
    std::thread::sleep(Duration::from_secs(5));
    assert_ne!(revision(), first, "a node was late that had no time");
    orders.silent.lock().unwrap().clear();
    cluster.eventually("the rollout is over", || {
        let current = cluster.field("spp/edge", ".status.currentRevision");
        current != first && cluster.condition("spp/edge", "Ready", "status") == "True"
    });

    // And one from the future, of a node that never gets ready.
    let second = revision();
    orders.silent.lock().unwrap().insert("edge-1".to_owned());
    cluster.policy("edge", &spec("edge", "IPTables", 3));
    cluster.eventually("the first node is on its way again", || {
        revision() != second
    });
    operator.kill().unwrap();
    note("9999-12-30T00:00:00Z");
    operator.start().unwrap();
    cluster.eventually("it is late nevertheless", || revision() == second);
    let reason = cluster.condition("spp/edge", "Stalled", "reason");
    assert_eq!(reason, "RolledBack");
}
