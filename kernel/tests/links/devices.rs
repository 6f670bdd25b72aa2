//! Devices and their flags.

use sluice_kernel::links::{LinkError, Links, named};

use crate::sample::{NODE_V4, NODE_V6, VIP_V4, VIP_V6, address_node, binding, ours, sorted};
use crate::subject::{everywhere, index};

#[test]
fn hairpin_is_switched_on_ports_of_bridges_only() {
    everywhere(|door| {
        let (bridge, port, end) = (index(door, "br0"), index(door, "v0"), index(door, "v1"));
        let hairpin = |door: &mut dyn Links| named(&door.links().unwrap(), "v0").unwrap().hairpin;
        assert_eq!(hairpin(door), Some(false));
        door.set_hairpin(port, true).unwrap();
        assert_eq!(hairpin(door), Some(true));
        door.set_hairpin(port, false).unwrap();
        assert_eq!(hairpin(door), Some(false));
        assert!(matches!(
            door.set_hairpin(end, true),
            Err(LinkError::NotABridgePort { .. })
        ));
        assert!(matches!(
            door.set_hairpin(9999, true),
            Err(LinkError::NoSuchInterface { .. })
        ));
        assert_eq!(
            named(&door.links().unwrap(), "v0").unwrap().master,
            Some(bridge)
        );
    });
}

#[test]
fn links_go_up_and_down() {
    everywhere(|door| {
        let end = index(door, "v1");
        for up in [false, true] {
            door.set_up(end, up).unwrap();
            assert_eq!(named(&door.links().unwrap(), "v1").unwrap().up, up);
        }
        assert!(matches!(
            door.set_up(9999, true),
            Err(LinkError::NoSuchInterface { .. })
        ));
    });
}

#[test]
fn a_deleted_link_takes_its_addresses_and_routes_with_it() {
    everywhere(|door| {
        let interface = index(door, "br0");
        address_node(door);
        let all = [
            binding(VIP_V4, interface, NODE_V4),
            binding(VIP_V6, interface, NODE_V6),
        ];
        assert!(door.add_routes(&all).unwrap().is_empty());
        assert!(door.delete_link(interface).unwrap());
        assert!(!door.delete_link(interface).unwrap());
        assert_eq!(named(&door.links().unwrap(), "br0"), None);
        assert_eq!(ours(door), []);
        assert!(door.delete_routes(&all).unwrap().is_empty());
    });
}

#[test]
fn the_device_of_another_kind_is_not_taken_for_a_dummy() {
    everywhere(|door| {
        let refused = door.add_dummy("br0").unwrap_err();
        assert!(
            matches!(&refused, LinkError::OtherKind { name, kind }
                if name == "br0" && kind.as_deref() == Some("bridge")),
            "{refused:?}"
        );
        assert_eq!(
            refused.to_string(),
            "interface br0 is bridge, not a dummy device: rename or delete it"
        );
    });
}

#[test]
fn a_dummy_device_is_made_once_and_binds_virtual_addresses() {
    everywhere(|door| {
        let made = match door.add_dummy("kube-ipvs0") {
            Err(LinkError::NoDummyDevice { name }) => {
                assert_eq!(name, "kube-ipvs0");
                assert!(
                    std::env::var_os("SLUICE_REQUIRE_IPVS").is_none(),
                    "the kernel has no dummy device"
                );
                eprintln!("SKIP: the kernel has no dummy device");
                return;
            }
            made => made.unwrap(),
        };
        assert_eq!(door.add_dummy("kube-ipvs0").unwrap(), made);
        let links = door.links().unwrap();
        let link = named(&links, "kube-ipvs0").unwrap();
        assert_eq!(
            (link.index, link.kind.as_deref(), link.up),
            (made, Some("dummy"), false)
        );
        door.set_up(made, true).unwrap();
        address_node(door);
        let all = [
            binding(VIP_V4, made, NODE_V4),
            binding(VIP_V6, made, NODE_V6),
        ];
        assert!(door.add_routes(&all).unwrap().is_empty());
        assert_eq!(ours(door), sorted(all));
        assert!(door.delete_link(made).unwrap());
        assert_eq!(ours(door), []);
    });
}
