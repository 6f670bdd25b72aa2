//! `iptables-restore` fails, or waits for its lock.

use std::fs::File;
use std::thread::sleep;
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use sluice_agent::data_plane::{DataPlane, DataPlaneError};
use sluice_agent::node_plane::{Doors, NodePlane};
use sluice_crds::v1alpha1::ActiveMode;
use sluice_e2e::changes::{ServedNode, ServedNodeError};
use sluice_e2e::lab::Lab;
use sluice_e2e::lab::places::{A1, A3};
use sluice_e2e::packets::build::{all_ready, web};
use sluice_e2e::packets::planes;
use sluice_kernel::iptables::{Family as KernelFamily, IptablesError, IptablesPrograms, Variant};
use sluice_service_plan::model::{Family, Protocol, Settings};

use crate::node::{
    agent_by_rules, assert_nothing_lost, cluster, eventually, load, manifest, node_port, reach,
    start,
};

#[test]
fn a_restore_that_fails_half_way_is_told_and_mended_and_what_is_in_force_keeps_serving() {
    let lab = Lab::up().unwrap();
    let Some(mut agent) = agent_by_rules(Variant::Nft) else {
        return;
    };
    let failing = agent.path("failing");
    // Takes all tables but the last, then refuses.
    let script = format!(
        "real=/usr/sbin/iptables-nft-restore
if [ -e {} ]; then
  tac | sed '1,/^\\*/d' | tac | $real \"$@\"
  echo 'iptables-restore: line 2 failed' >&2
  exit 1
fi
exec $real \"$@\"",
        failing.display()
    );
    agent
        .replace_program("iptables-nft-restore", &script)
        .unwrap();
    agent.write("s2.yaml", &manifest(2, &[])).unwrap();
    start(&mut agent, &lab);
    let loads = vec![load(&lab, cluster(1)), load(&lab, node_port(1))];

    File::create(&failing).unwrap();
    agent.write("s2.yaml", &manifest(2, &[A1])).unwrap();
    eventually("health says why", &agent, |agent| {
        let health = agent.health(lab.node()).unwrap();
        health.contains(" 503 ") && health.contains("line 2 failed")
    });
    sleep(Duration::from_millis(500));
    assert!(!agent.is_healthy(lab.node()).unwrap());
    assert!(
        agent
            .metric(lab.node(), "sluice_sync_failures_total")
            .unwrap()
            >= 1.0
    );

    std::fs::remove_file(&failing).unwrap();
    let took = eventually("it is healthy again", &agent, |agent| {
        agent.is_healthy(lab.node()).unwrap()
    });
    eprintln!("recovered in {took:?}");
    assert_eq!(reach(&lab, cluster(2)).endpoint(), Some(A1.name));
    assert_eq!(agent.difference(lab.node()).unwrap(), "");
    assert_nothing_lost(loads);
}

#[test]
fn a_lock_that_another_process_holds_too_long_is_told_and_its_release_is_enough() {
    let lab = Lab::up().unwrap();
    let Some(mut agent) = agent_by_rules(Variant::Legacy) else {
        return;
    };
    let lock = agent.path("xtables.lock");
    agent.set_environment("XTABLES_LOCKFILE", &lock.display().to_string());
    start(&mut agent, &lab);
    let loads = vec![load(&lab, cluster(1))];

    let held = Flock::lock(File::create(&lock).unwrap(), FlockArg::LockExclusive).unwrap();
    agent.write("s1.yaml", &manifest(1, &[A3])).unwrap();
    eventually("health says why", &agent, |agent| {
        let health = agent.health(lab.node()).unwrap();
        health.contains(" 503 ") && health.contains("held the xtables lock")
    });
    assert_ne!(reach(&lab, cluster(1)).endpoint(), Some(A3.name));
    drop(held);
    eventually("it is healthy again", &agent, |agent| {
        agent.is_healthy(lab.node()).unwrap()
    });
    assert_eq!(reach(&lab, cluster(1)).endpoint(), Some(A3.name));
    assert_eq!(agent.difference(lab.node()).unwrap(), "");
    assert_nothing_lost(loads);
}

#[test]
fn a_held_lock_is_an_error_of_its_own_and_a_reconcile_after_it_ends_right() {
    if !planes::LEGACY.runs_here() {
        return;
    }
    let lock = tempfile::NamedTempFile::new().unwrap();
    let file = lock.path().to_owned();
    let open = move || -> Result<Box<dyn DataPlane>, DataPlaneError> {
        let iptables = IptablesPrograms::open(Variant::Legacy)?
            .with_limits(Duration::from_secs(1), Duration::from_secs(20))
            .with_lock_file(&file);
        let families = [KernelFamily::V4, KernelFamily::V6];
        let doors = Doors::with(Box::new(iptables), &families)?;
        Ok(Box::new(NodePlane::new(
            doors,
            &families,
            ActiveMode::IPTables,
        )))
    };
    let mut node = ServedNode::start(open, Settings::default()).unwrap();
    let service = web(Family::V4, Protocol::Tcp);
    let held = Flock::lock(lock.reopen().unwrap(), FlockArg::LockExclusive).unwrap();
    let error = node.serve(&service, &all_ready([A1])).unwrap_err();
    assert!(
        matches!(
            error,
            ServedNodeError::Plane(DataPlaneError::Iptables(IptablesError::LockHeld {
                waited_seconds: 1
            }))
        ),
        "{error:?}"
    );
    drop(held);
    node.with_plane(|plane, plan| plane.reconcile(plan))
        .unwrap()
        .unwrap();
    assert_eq!(
        node.with_plane(|plane, _| plane.verify()).unwrap().unwrap(),
        []
    );
    assert_eq!(reach(node.lab(), cluster(10)).endpoint(), Some(A1.name));
}
