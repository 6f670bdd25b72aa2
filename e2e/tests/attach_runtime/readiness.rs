//! STATUS, which version 2 of containerd calls for each of the kubelet's looks.

use sluice_e2e::container_runtime::Release;

use crate::machine::Machine;

#[test]
fn a_node_takes_no_pods_before_the_agents_first_sync_and_any_after_it() {
    let Some(mut machine) = Machine::with_runtime(Release::Built) else {
        return;
    };
    not_ready(&machine);
    machine.start_agent();
    machine.runtime().network_ready().unwrap().unwrap();
    // An update of the agent closes no node.
    machine.agent.kill().unwrap();
    machine.runtime().network_ready().unwrap().unwrap();
    machine.reboot(|_| {});
    not_ready(&machine);
    machine.start_agent();
    machine.runtime().network_ready().unwrap().unwrap();
}

fn not_ready(machine: &Machine) {
    let told = machine.runtime().network_ready().unwrap().unwrap_err();
    let reason = "the agent has not synced since this node started";
    assert!(told.contains(reason), "{told}");
}
