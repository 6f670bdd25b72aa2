//! A node that loses power: what its pods held is given back, whoever remembers them.

use crate::RELEASES;
use crate::machine::Machine;

#[test]
fn pods_of_before_leave_nothing_once_the_kubelet_has_removed_them() {
    for release in RELEASES {
        let Some(mut machine) = Machine::up(release) else {
            return;
        };
        for name in ["web", "db", "cache"] {
            machine.runtime().run(name).unwrap();
        }
        machine.holds(3);
        machine.reboot(|_| {});
        machine.start_agent();
        let dead = machine.runtime().sandboxes().unwrap();
        assert_eq!(dead.len(), 3);
        // The kubelet starts pods anew before it has removed the old ones.
        let [web, db] = ["web-2", "db-2"].map(|name| machine.runtime().run(name).unwrap());
        for (id, state) in dead {
            assert_eq!(state, "SANDBOX_NOTREADY");
            machine.runtime().stop(&id).unwrap();
            machine.runtime().remove(&id).unwrap();
        }
        machine.comes_to_hold(2);
        for pod in [web, db] {
            machine.runtime().remove(&pod.id).unwrap();
        }
        machine.holds(0);
    }
}

#[test]
fn what_no_pod_removed_does_not_outlive_the_next_holder_of_its_address() {
    for release in RELEASES {
        let Some(mut machine) = Machine::up(release) else {
            return;
        };
        let before = machine.runtime().run("web").unwrap();
        // The runtime forgets its pods, and the main plugin whose addresses are whose.
        machine.reboot(|machine| {
            for forgotten in ["runtime/var-lib", "ipam"] {
                let path = machine.node.directory().join(forgotten);
                std::fs::remove_dir_all(&path).unwrap();
            }
            std::fs::create_dir(machine.files().join("var-lib")).unwrap();
        });
        machine.start_agent();
        assert!(machine.runtime().sandboxes().unwrap().is_empty());
        let after = machine.runtime().run("web").unwrap();
        assert_eq!(before.addresses, after.addresses);
        machine.runtime().remove(&after.id).unwrap();
        assert_eq!(machine.node.members().unwrap(), [""; 0]);
    }
}
