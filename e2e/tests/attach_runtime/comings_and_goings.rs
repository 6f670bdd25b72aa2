//! Pods that end in all the ways in which pods end.

use sluice_e2e::container_runtime::{Release, Sandbox};

use crate::RELEASES;
use crate::machine::Machine;

fn pods<const N: usize>(machine: &Machine, names: [&str; N]) -> [Sandbox; N] {
    names.map(|name| machine.runtime().run(name).unwrap())
}

fn removed_twice(machine: &Machine, sandbox: &Sandbox) {
    for _ in 0..2 {
        machine.runtime().remove(&sandbox.id).unwrap();
    }
}

#[test]
fn a_pod_is_attached_as_its_class_asks_and_leaves_nothing() {
    for release in RELEASES {
        let Some(machine) = Machine::up(release) else {
            return;
        };
        let [web, db] = pods(&machine, ["web", "db"]);
        machine.holds(2);
        let expected: Vec<_> = [&web, &db]
            .map(|pod| format!("SLUICE-4-POD-MASQ {}", pod.addresses[0]))
            .into();
        assert_eq!(machine.node.members().unwrap()[..2], expected);
        let ports = machine.namespace().command("bridge -d link show").unwrap();
        assert_eq!(ports.matches("hairpin on").count(), 2, "{ports}");

        let container = machine.runtime().run_container(&web).unwrap();
        machine.runtime().stop_container(&container).unwrap();
        machine.runtime().stop(&web.id).unwrap();
        machine.holds(1);
        machine.runtime().stop(&web.id).unwrap();
        removed_twice(&machine, &web);
        machine.holds(1);
        // A sandbox that runs.
        removed_twice(&machine, &db);
        machine.holds(0);
    }
}

#[test]
fn what_is_killed_leaves_nothing_once_it_is_removed() {
    for release in RELEASES {
        let Some(machine) = Machine::up(release) else {
            return;
        };
        let [held, shimmed, alive] = pods(&machine, ["held", "shimmed", "alive"]);
        machine.runtime().kill_sandbox(&held).unwrap();
        machine.runtime().kill_shim(&shimmed).unwrap();
        machine.runtime().kill_containerd().unwrap();
        assert_eq!(machine.runtime().sandboxes().unwrap().len(), 3);
        // The kubelet sees what is dead, and removes it.
        for dead in [&held, &shimmed] {
            machine.runtime().stop(&dead.id).unwrap();
            removed_twice(&machine, dead);
        }
        machine.holds(1);
        let again = machine.runtime().run("held").unwrap();
        machine.holds(2);
        for pod in [&alive, &again] {
            removed_twice(&machine, pod);
        }
        machine.holds(0);
    }
}

#[test]
fn the_agent_may_be_away_while_pods_come_and_go() {
    let Some(mut machine) = Machine::up(Release::Built) else {
        return;
    };
    let [before] = pods(&machine, ["before"]);
    machine.agent.kill().unwrap();
    let [meanwhile] = pods(&machine, ["meanwhile"]);
    // By the plugin's own default, which is none of the classes.
    assert_eq!(machine.node.remembered().unwrap().len(), 2);
    assert_eq!(machine.node.members().unwrap().len(), 2);
    removed_twice(&machine, &before);
    assert_eq!(machine.node.members().unwrap(), [""; 0]);
    machine.start_agent();
    machine.comes_to_hold(1);
    removed_twice(&machine, &meanwhile);
    machine.holds(0);
}
