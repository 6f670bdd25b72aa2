//! GC, called by the library that runtimes call plugins with.

use sluice_e2e::container_runtime::Release;

use crate::machine::Machine;

#[test]
fn what_no_valid_attachment_owns_is_collected() {
    let Some(mut machine) = Machine::up(Release::Built) else {
        return;
    };
    let kept = machine.runtime().run("kept").unwrap();
    machine.runtime().run("lost").unwrap();
    machine.holds(2);
    machine.runtime().collect(&[&kept]).unwrap();
    assert_eq!(
        machine.node.remembered().unwrap(),
        [format!("{}:eth0.json", kept.id)]
    );
    let [v4, v6] = kept.addresses[..] else {
        panic!("{kept:?}")
    };
    let members = [
        format!("SLUICE-4-POD-MASQ {v4}"),
        format!("SLUICE-6-POD-MASQ {v6}"),
    ];
    assert_eq!(machine.node.members().unwrap(), members);

    // A runtime that lost its memory with the power, that of its library included, and collects when it starts.
    machine.reboot(|machine| {
        let memory = machine.files().join("var-lib");
        std::fs::remove_dir_all(&memory).unwrap();
        std::fs::create_dir(memory).unwrap();
    });
    machine.start_agent();
    assert!(machine.runtime().sandboxes().unwrap().is_empty());
    let new = machine.runtime().run("new").unwrap();
    machine.runtime().collect(&[&new]).unwrap();
    // The reference plugin for addresses knows no GC: what the lost pod had of it stays given out.
    assert_eq!(machine.ours(), [1, 1]);
    machine.runtime().remove(&new.id).unwrap();
    assert_eq!(machine.ours(), [0, 0]);
}
