//! Nodes as main plugins leave them.

use serde_json::value::RawValue;
use sluice_kernel::ports::{MemoryPorts, Port};

use super::{HostSide, HostSideError, find};
use crate::cni::PreviousResult;

fn port(index: u32, name: &str, kind: &str) -> Port {
    Port {
        index,
        name: name.to_owned(),
        kind: Some(kind.to_owned()),
        ..Port::default()
    }
}

fn of(master: u32, port: Port) -> Port {
    Port {
        master: Some(master),
        hairpin: Some(false),
        ..port
    }
}

fn to(peer: u32, port: Port) -> Port {
    Port {
        peer: Some(peer),
        ..port
    }
}

/// A node with a bridge, an Open vSwitch, a bond, a VRF, a veth to a pod at each and two that are routed.
fn node() -> MemoryPorts {
    let node = MemoryPorts::new();
    for there in [
        port(2, "cni0", "bridge"),
        port(3, "ovs-system", "openvswitch"),
        port(4, "bond0", "bond"),
        port(5, "vrf0", "vrf"),
        Port {
            kind: None,
            ..port(6, "uplink", "")
        },
        of(2, to(7, port(10, "bridged", "veth"))),
        of(3, to(8, port(11, "switched", "veth"))),
        of(4, to(9, port(12, "bonded", "veth"))),
        of(5, to(9, port(13, "vrfed", "veth"))),
        to(2, port(14, "cali1", "veth")),
        to(3, port(15, "cali2", "veth")),
        of(2, port(16, "tap0", "tun")),
    ] {
        node.put(there);
    }
    node
}

fn side(names: &[&str], inside: Option<Port>) -> Result<HostSide, HostSideError> {
    let interfaces: Vec<_> = names
        .iter()
        .map(|name| format!("{{\"name\":\"{name}\"}}"))
        .chain([r#"{"name":"eth0","sandbox":"/run/netns/pod"}"#.to_owned()])
        .collect();
    let text = format!(r#"{{"interfaces":[{}]}}"#, interfaces.join(","));
    let result = PreviousResult::read(&RawValue::from_string(text).unwrap()).unwrap();
    find(&result, "eth0", &mut node(), || Ok(inside))
}

fn name(side: &HostSide) -> &str {
    match side {
        HostSide::Bridged { port, .. } | HostSide::Routed { port } => &port.name,
        HostSide::NoWire { kind } => kind,
    }
}

#[test]
fn what_the_main_plugin_names_is_told_by_its_master() {
    for names in [
        &["cni0", "bridged"][..],
        &["bridged"],
        &["cni0", "tap0", "uplink"],
    ] {
        let found = side(names, None).unwrap();
        assert!(matches!(&found, HostSide::Bridged { bridge, .. } if bridge.name == "cni0"));
    }
    let no_device = "dummy0123456789a";
    for names in [
        &["cali1"][..],
        &["vrfed"],
        &["cali1", "cali1"],
        &["cali1", no_device],
    ] {
        assert!(matches!(
            side(names, None).unwrap(),
            HostSide::Routed { .. }
        ));
    }
    assert!(matches!(
        side(&["switched"], None),
        Err(HostSideError::OpenVSwitch { .. })
    ));
    assert!(matches!(
        side(&["bonded"], None),
        Err(HostSideError::OtherMaster { .. })
    ));
    assert!(matches!(
        side(&["cni0", "cali1"], None),
        Err(HostSideError::NotAPort { .. })
    ));
    assert!(matches!(
        side(&["cni9", "cali1"], None),
        Err(HostSideError::NoBridge { .. })
    ));
}

#[test]
fn where_it_names_none_or_several_the_kernel_tells_the_other_end() {
    let eth0 = |index, peer| Some(to(peer, port(index, "eth0", "veth")));
    assert_eq!(name(&side(&[], eth0(7, 10)).unwrap()), "bridged");
    assert_eq!(name(&side(&["uplink"], eth0(2, 14)).unwrap()), "cali1");
    assert_eq!(
        name(&side(&["cali1", "cali2"], eth0(3, 15)).unwrap()),
        "cali2"
    );
    assert_eq!(
        name(&side(&[], Some(to(6, port(2, "eth0", "macvlan")))).unwrap()),
        "macvlan"
    );
    // Index 14 here is another link than the one that eth0's other end is, elsewhere.
    assert!(matches!(
        side(&[], eth0(9, 14)),
        Err(HostSideError::ElsewhereEnding(_))
    ));
    assert!(matches!(
        side(&["cali1", "cali2"], eth0(9, 14)),
        Err(HostSideError::Several { .. })
    ));
    assert!(matches!(
        side(&[], None),
        Err(HostSideError::NoInterface(_))
    ));
}
