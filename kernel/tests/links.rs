//! The door to links against the kernel and `ip`, in namespaces of its own; its twin runs the same suite.

#![allow(clippy::unwrap_used, clippy::panic)] // Helpers of tests fail as tests do.

mod namespace;

use std::time::{Duration, Instant};

use namespace::{in_new_namespace, sh};
use sluice_kernel::links::{
    AddressEvents, InterfaceAddress, Link, LinkError, LinkOperation, Links, MemoryLinks,
    NetlinkLinks, Route, RouteKind, named,
};

const BRIDGE: &str = "ip link add br0 type bridge; ip link set br0 up; ip link add v0 type veth peer name v1; \
                      ip link set v0 master br0; ip link set v0 up; ip link set v1 up";

/// Runs `test` in a namespace with a bridge `br0`, its port `v0` and the port's other end `v1`, and on a twin that has the same.
fn everywhere(test: impl Fn(&mut dyn Links) + Sync) {
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

fn index(door: &mut dyn Links, name: &str) -> u32 {
    named(&door.links().unwrap(), name)
        .unwrap_or_else(|| panic!("no link {name}"))
        .index
}

fn route(destination: &str, interface: u32) -> Route {
    Route {
        destination: destination.parse().unwrap(),
        kind: RouteKind::UNICAST,
        gateway: None,
        interface: Some(interface),
        source: None,
        table: 254,
        protocol: 97,
        metric: 77,
    }
}

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
fn addresses_are_added_once_and_deleted_once() {
    everywhere(|door| {
        let interface = index(door, "br0");
        for (address, prefix_len) in [
            ("10.9.0.1", 24),
            ("10.9.0.2", 32),
            ("fd00:9::1", 64),
            ("fd00:9::2", 128),
        ] {
            let address = InterfaceAddress {
                interface,
                address: address.parse().unwrap(),
                prefix_len,
            };
            for _ in 0..2 {
                door.add_address(&address).unwrap();
                assert_eq!(
                    door.addresses()
                        .unwrap()
                        .iter()
                        .filter(|a| **a == address)
                        .count(),
                    1,
                    "{address:?}"
                );
            }
            assert!(door.delete_address(&address).unwrap(), "{address:?}");
            assert!(!door.delete_address(&address).unwrap(), "{address:?}");
            assert!(!door.addresses().unwrap().contains(&address), "{address:?}");
            let nowhere = InterfaceAddress {
                interface: 9999,
                ..address
            };
            assert!(
                matches!(
                    door.add_address(&nowhere),
                    Err(LinkError::NoSuchInterface { .. })
                ),
                "{address:?}"
            );
        }
    });
}

#[test]
fn routes_are_replaced_and_deleted() {
    everywhere(|door| {
        let interface = index(door, "br0");
        for (destination, source) in [("10.96.0.0/16", "10.9.0.1"), ("fd00:96::/112", "fd00:9::1")]
        {
            let prefix_len = if source.contains(':') { 64 } else { 24 };
            let source = source.parse().unwrap();
            door.add_address(&InterfaceAddress {
                interface,
                address: source,
                prefix_len,
            })
            .unwrap();
            let plain = route(destination, interface);
            let with_source = Route {
                source: Some(source),
                ..plain
            };
            let ours = |door: &mut dyn Links| {
                let mut routes = door.routes().unwrap();
                routes.retain(|r| r.destination == plain.destination);
                routes
            };
            door.replace_route(&plain).unwrap();
            door.replace_route(&plain).unwrap();
            assert_eq!(ours(door), [plain]);
            door.replace_route(&with_source).unwrap();
            assert_eq!(ours(door), [with_source]);
            assert!(door.delete_route(&with_source).unwrap());
            assert!(!door.delete_route(&with_source).unwrap());
            assert_eq!(ours(door), []);
        }
        let nowhere = route("10.96.0.0/16", 9999);
        assert!(matches!(
            door.replace_route(&nowhere),
            Err(LinkError::NoSuchInterface { .. })
        ));
        door.set_up(interface, false).unwrap();
        let down = door
            .replace_route(&route("10.97.0.0/16", interface))
            .unwrap_err();
        assert!(
            matches!(down, LinkError::Kernel { code: 100, .. }),
            "{down:?}"
        );
    });
}

#[test]
fn a_virtual_address_is_bound_by_a_local_route() {
    in_new_namespace(|| {
        sh(BRIDGE);
        sh("ip addr add 10.9.0.1/24 dev v1; ip addr add fd00:9::1/64 dev v1 nodad");
        let mut door = NetlinkLinks::open().unwrap();
        let interface = index(&mut door, "br0");
        for (destination, source) in [
            ("10.96.0.10/32", "10.9.0.1"),
            ("fd00:96::a/128", "fd00:9::1"),
        ] {
            let local = Route {
                kind: RouteKind::LOCAL,
                table: 255,
                source: Some(source.parse().unwrap()),
                ..route(destination, interface)
            };
            door.replace_route(&local).unwrap();
            assert!(door.routes().unwrap().contains(&local), "{destination}");
            let address = local.destination.addr();
            let found = sh(&format!("ip route get {address}"));
            assert!(
                found.starts_with(&format!("local {address} "))
                    && found.contains(&format!("src {source} ")),
                "{found}"
            );
            assert!(door.delete_route(&local).unwrap());
        }
    });
}

#[test]
fn what_is_listed_is_what_ip_lists() {
    in_new_namespace(|| {
        sh(BRIDGE);
        sh(
            "ip addr add 10.9.0.1/24 dev br0; ip addr add 10.9.1.1 peer 10.9.1.2/32 dev v1; ip addr add fd00:9::1/64 dev br0 nodad; \
            ip route add default via 10.9.0.254; ip route add 10.7.0.0/16 via 10.9.0.253 dev br0 metric 5 proto 97 src 10.9.0.1; \
            ip route add blackhole 10.8.0.0/16; ip route add 10.6.0.0/16 dev br0 table 1234; ip -6 route add fd00:7::/64 via fd00:9::2; \
            ip link set v0 type bridge_slave hairpin on",
        );
        let mut door = NetlinkLinks::open().unwrap();
        let json =
            |command: &str| serde_json::from_str::<Vec<serde_json::Value>>(&sh(command)).unwrap();

        let links = door.links().unwrap();
        let listed = json("ip -j -d link");
        assert_eq!(links.len(), listed.len());
        for seen in &listed {
            let link = named(&links, seen["ifname"].as_str().unwrap()).unwrap();
            assert_eq!(u64::from(link.index), seen["ifindex"].as_u64().unwrap());
            assert_eq!(link.kind.as_deref(), seen["linkinfo"]["info_kind"].as_str());
            let flags: Vec<&str> = seen["flags"]
                .as_array()
                .unwrap()
                .iter()
                .filter_map(|f| f.as_str())
                .collect();
            assert_eq!(link.up, flags.contains(&"UP"));
            let master = link
                .master
                .map(|m| links.iter().find(|l| l.index == m).unwrap().name.as_str());
            assert_eq!(master, seen["master"].as_str());
            assert_eq!(
                link.hairpin,
                seen["linkinfo"]["info_slave_data"]["hairpin"].as_bool()
            );
        }
        assert_eq!(named(&links, "v0").unwrap().hairpin, Some(true));

        let mut addresses: Vec<String> = door
            .addresses()
            .unwrap()
            .iter()
            .map(|a| format!("{} {}/{}", a.interface, a.address, a.prefix_len))
            .collect();
        let mut listed: Vec<String> = json("ip -j addr")
            .iter()
            .flat_map(|link| {
                let of = |a: &serde_json::Value| {
                    format!(
                        "{} {}/{}",
                        link["ifindex"],
                        a["local"].as_str().unwrap(),
                        a["prefixlen"]
                    )
                };
                link["addr_info"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(of)
                    .collect::<Vec<_>>()
            })
            .collect();
        addresses.sort();
        listed.sort();
        assert_eq!(addresses, listed);

        let routes = door.routes().unwrap();
        let listed = json("ip -4 -j route show table all").len()
            + json("ip -6 -j route show table all").len();
        assert_eq!(routes.len(), listed);
        let to = |destination: &str| {
            *routes
                .iter()
                .find(|r| r.destination.to_string() == destination)
                .unwrap()
        };
        let bridge = Some(named(&links, "br0").unwrap().index);
        let via = |text: &str| Some(text.parse().unwrap());
        let default = to("0.0.0.0/0");
        assert_eq!(
            (default.gateway, default.interface, default.table),
            (via("10.9.0.254"), bridge, 254)
        );
        let static_route = to("10.7.0.0/16");
        assert_eq!(
            (static_route.gateway, static_route.source),
            (via("10.9.0.253"), via("10.9.0.1"))
        );
        assert_eq!((static_route.metric, static_route.protocol), (5, 97));
        assert_eq!(
            (to("10.8.0.0/16").kind, to("10.8.0.0/16").interface),
            (RouteKind::BLACKHOLE, None)
        );
        assert_eq!(to("10.6.0.0/16").table, 1234);
        assert_eq!(to("fd00:7::/64").gateway, via("fd00:9::2"));
    });
}

#[test]
fn a_door_stays_in_the_namespace_it_was_opened_in() {
    in_new_namespace(|| {
        sh(BRIDGE);
        let mut door = NetlinkLinks::open().unwrap();
        in_new_namespace(|| assert!(named(&door.links().unwrap(), "br0").is_some()));
    });
}

#[test]
fn changed_addresses_and_links_are_heard_of_from_any_thread() {
    in_new_namespace(|| {
        // On `lo` nothing happens of itself: no carrier, no duplicate detection.
        let mut events = AddressEvents::open().unwrap();
        let long = Duration::from_secs(5);
        while events.wait(Duration::from_millis(200)).unwrap() {}
        for change in [
            "ip addr add 10.9.0.1/24 dev lo",
            "ip addr del 10.9.0.1/24 dev lo",
            "ip addr add fd00:9::1/64 dev lo nodad",
            "ip link set lo mtu 9000",
        ] {
            sh(change);
            let heard =
                std::thread::scope(|scope| scope.spawn(|| events.wait(long)).join().unwrap());
            assert!(heard.unwrap(), "{change}");
            while events.wait(Duration::from_millis(100)).unwrap() {}
        }
        let begin = Instant::now();
        assert!(!events.wait(Duration::from_millis(50)).unwrap());
        assert!(begin.elapsed() >= Duration::from_millis(50));
        sh(
            "for n in $(seq 250); do for m in $(seq 20); do echo addr add 10.9.$n.$m/32 dev lo; done; done | ip -batch -",
        );
        assert!(
            events.wait(long).unwrap(),
            "thousands of changes overrun the socket, and count as a change"
        );
        assert!(
            !events.wait(Duration::ZERO).unwrap(),
            "all of them were taken together"
        );
    });
}

#[test]
fn the_twin_fails_when_told_to() {
    let twin = MemoryLinks::new();
    let refused = || LinkError::NotPermitted {
        operation: "test".to_owned(),
    };
    twin.fail_next(LinkOperation::List, refused());
    let mut door = twin.clone();
    assert!(matches!(
        door.addresses(),
        Err(LinkError::NotPermitted { .. })
    ));
    assert!(door.addresses().is_ok());
}
