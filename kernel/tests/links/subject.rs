//! What is tested: the kernel's links in a namespace, or a twin that has the same.

use sluice_kernel::links::{Link, Links, MemoryLinks, NetlinkLinks, named};

use crate::namespace::{in_new_namespace, sh};

pub(crate) const BRIDGE: &str = "ip link add br0 type bridge; ip link set br0 up; ip link add v0 type veth peer name v1; \
                      ip link set v0 master br0; ip link set v0 up; ip link set v1 up";

/// Runs `test` in a namespace with a bridge `br0`, its port `v0` and the port's other end `v1`, and on a twin that has the same.
pub(crate) fn everywhere(test: impl Fn(&mut dyn Links) + Sync) {
    in_new_namespace(|| {
        sh(BRIDGE);
        test(&mut NetlinkLinks::open().unwrap());
    });
    let twin = MemoryLinks::new();
    let veth = |index, name: &str, master, hairpin| Link {
        index,
        name: name.to_owned(),
        kind: Some("veth".to_owned()),
        up: true,
        master,
        hairpin,
    };
    twin.put_link(Link {
        kind: Some("bridge".to_owned()),
        ..veth(2, "br0", None, None)
    });
    twin.put_link(veth(3, "v1", None, None));
    twin.put_link(veth(4, "v0", Some(2), Some(false)));
    test(&mut twin.clone());
}

pub(crate) fn index(door: &mut dyn Links, name: &str) -> u32 {
    named(&door.links().unwrap(), name)
        .unwrap_or_else(|| panic!("no link {name}"))
        .index
}
