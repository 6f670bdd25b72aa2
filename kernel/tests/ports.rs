//! The door to ports, on the kernel and on its twin.

#![allow(clippy::unwrap_used)] // Helpers of tests fail as tests do.

mod namespace;

use sluice_kernel::ports::{MemoryPorts, NetlinkPorts, Port, PortError, Ports};

use namespace::{in_new_namespace, sh};

/// Runs `test` in a namespace with a bridge `br0`, its port `v0` and the port's other end `v1`, and on a twin that has the same.
fn everywhere(test: impl Fn(&mut dyn Ports) + Sync) {
    in_new_namespace(|| {
        sh(
            "ip link add br0 index 12 type bridge; ip link set br0 promisc on; \
            ip link add v0 index 14 type veth peer name v1 index 13; ip link set v0 master br0",
        );
        test(&mut NetlinkPorts::open().unwrap());
    });
    let twin = MemoryPorts::new();
    twin.put(Port {
        index: 12,
        name: "br0".to_owned(),
        kind: Some("bridge".to_owned()),
        promiscuous: true,
        ..Port::default()
    });
    let veth = |index, name: &str, peer| Port {
        index,
        name: name.to_owned(),
        kind: Some("veth".to_owned()),
        peer: Some(peer),
        ..Port::default()
    };
    twin.put(veth(13, "v1", 14));
    twin.put(Port {
        master: Some(12),
        hairpin: Some(false),
        isolated: Some(false),
        ..veth(14, "v0", 13)
    });
    test(&mut twin.clone());
}

#[test]
fn a_port_knows_its_bridge_and_its_other_end() {
    everywhere(|door| {
        let port = door.named("v0").unwrap().unwrap();
        assert_eq!(port.kind.as_deref(), Some("veth"));
        assert_eq!((port.hairpin, port.isolated), (Some(false), Some(false)));
        assert_eq!(
            (port.index, port.peer, port.master),
            (14, Some(13), Some(12))
        );
        let end = door.at(13).unwrap().unwrap();
        assert_eq!((end.name.as_str(), end.peer), ("v1", Some(14)));
        assert_eq!(
            (end.hairpin, end.master, end.promiscuous),
            (None, None, false)
        );
        let bridge = door.at(12).unwrap().unwrap();
        assert_eq!(bridge.kind.as_deref(), Some("bridge"));
        assert!(bridge.promiscuous && bridge.vlan_filtering != Some(true));
    });
}

#[test]
fn what_is_not_there_is_not_found() {
    everywhere(|door| {
        for name in ["nothing", "", "a/b", "longer-than-any-interface", "."] {
            assert_eq!(door.named(name).unwrap(), None, "{name:?}");
        }
        assert_eq!(door.at(9999).unwrap(), None);
        let refused = door.set_hairpin(9999, true);
        assert!(
            matches!(refused, Err(PortError::NoSuchInterface { .. })),
            "{refused:?}"
        );
    });
}

#[test]
fn hairpin_is_switched_where_there_is_a_bridge() {
    everywhere(|door| {
        for on in [true, true, false] {
            door.set_hairpin(14, on).unwrap();
            assert_eq!(door.at(14).unwrap().unwrap().hairpin, Some(on));
        }
        let refused = door.set_hairpin(13, true);
        assert!(
            matches!(refused, Err(PortError::NotABridgePort { .. })),
            "{refused:?}"
        );
    });
}

#[test]
fn a_bridge_that_tells_vlans_apart_says_so() {
    in_new_namespace(|| {
        let made = std::process::Command::new("ip")
            .args([
                "link",
                "add",
                "br0",
                "type",
                "bridge",
                "vlan_filtering",
                "1",
            ])
            .status();
        if !made.is_ok_and(|status| status.success()) {
            // The VM lab's kernel has it.
            assert!(
                std::env::var_os("SLUICE_REQUIRE_IPVS").is_none(),
                "this kernel's bridges have no VLAN filtering"
            );
            return eprintln!("SKIP: this kernel's bridges have no VLAN filtering");
        }
        let bridge = NetlinkPorts::open().unwrap().named("br0").unwrap().unwrap();
        assert_eq!(bridge.vlan_filtering, Some(true));
    });
}
