//! The door to links against the kernel and `ip`, in namespaces of its own; its twin runs the same suite.

#![allow(clippy::unwrap_used, clippy::panic)] // Helpers of tests fail as tests do.

mod namespace;

use std::time::{Duration, Instant};

use namespace::{in_new_namespace, sh};
use sluice_kernel::links::{
    AddressEvents, InterfaceAddress, Link, LinkError, LinkOperation, Links, MemoryLinks,
    NetlinkLinks, RefusedObject, Route, RouteEvents, RouteFilter, RouteKind, RouteNotice, named,
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

/// What `look` sees, and what the command prints before and after: looks again until both are alike, because a link that comes up
/// gets addresses and routes of IPv6 by and by.
fn while_ip_lists<T>(command: &str, mut look: impl FnMut() -> T) -> (T, String) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let before = sh(command);
        let seen = look();
        let after = sh(command);
        if before == after {
            return (seen, after);
        }
        assert!(Instant::now() < deadline, "never at rest: {after}");
    }
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
        let json = |text: &str| serde_json::from_str::<Vec<serde_json::Value>>(text).unwrap();

        let links = door.links().unwrap();
        let listed = json(&sh("ip -j -d link"));
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

        let (addresses, listed) = while_ip_lists("ip -j addr", || door.addresses().unwrap());
        let mut addresses: Vec<String> = addresses
            .iter()
            .map(|a| format!("{} {}/{}", a.interface, a.address, a.prefix_len))
            .collect();
        let mut listed: Vec<String> = json(&listed)
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

        let (routes, listed) = while_ip_lists(
            "ip -4 -j route show table all; ip -6 -j route show table all",
            || door.routes().unwrap(),
        );
        let listed: Vec<serde_json::Value> = serde_json::Deserializer::from_str(&listed)
            .into_iter::<Vec<serde_json::Value>>()
            .flat_map(Result::unwrap)
            .collect();
        assert_eq!(routes.len(), listed.len(), "{routes:#?} {listed:#?}");
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

/// A local route in table local that binds a virtual address to an interface.
fn binding(destination: &str, interface: u32, source: &str) -> Route {
    Route {
        kind: RouteKind::LOCAL,
        table: 255,
        source: Some(source.parse().unwrap()),
        ..route(destination, interface)
    }
}

const NODE_V4: &str = "10.9.0.1";
const NODE_V6: &str = "fd00:9::1";
const VIP_V4: &str = "10.96.0.10/32";
const VIP_V6: &str = "fd00:96::a/128";

/// Gives `v1` the node's addresses.
fn address_node(door: &mut dyn Links) -> [InterfaceAddress; 2] {
    let interface = index(door, "v1");
    let held = [(NODE_V4, 24), (NODE_V6, 64)].map(|(address, prefix_len)| InterfaceAddress {
        interface,
        address: address.parse().unwrap(),
        prefix_len,
    });
    assert!(door.add_addresses(&held).unwrap().is_empty());
    held
}

fn ours(door: &mut dyn Links) -> Vec<Route> {
    let filter = RouteFilter {
        protocol: Some(97),
        ..RouteFilter::default()
    };
    let mut routes = door.routes_of(&filter).unwrap();
    routes.sort_unstable();
    routes
}

fn sorted(routes: impl IntoIterator<Item = Route>) -> Vec<Route> {
    let mut routes: Vec<_> = routes.into_iter().collect();
    routes.sort_unstable();
    routes
}

#[test]
fn a_batch_of_routes_is_added_and_deleted_without_those_that_are_refused() {
    everywhere(|door| {
        let interface = index(door, "br0");
        address_node(door);
        let good = [
            binding(VIP_V4, interface, NODE_V4),
            binding(VIP_V6, interface, NODE_V6),
            binding("10.96.0.11/32", interface, NODE_V4),
        ];
        let batch = [
            good[0],
            binding("10.96.0.12/32", 9999, NODE_V4),
            good[1],
            binding("10.96.0.13/32", interface, "192.0.2.1"),
            good[2],
            binding("fd00:96::b/128", interface, "2001:db8::1"),
        ];
        for _ in 0..2 {
            let refused = door.add_routes(&batch).unwrap();
            let places: Vec<_> = refused.iter().map(|r| r.position).collect();
            assert_eq!(places, [1, 3, 5], "{refused:?}");
            assert!(matches!(
                refused[0].error,
                LinkError::NoSuchInterface { .. }
            ));
            for refused in &refused[1..] {
                assert!(
                    matches!(refused.error, LinkError::Kernel { code: 22, .. }),
                    "{refused:?}"
                );
            }
            assert_eq!(ours(door), sorted(good));
        }
        for _ in 0..2 {
            assert!(door.delete_routes(&batch).unwrap().is_empty());
            assert_eq!(ours(door), []);
        }
        assert!(door.add_routes(&[]).unwrap().is_empty());
    });
}

#[test]
fn a_batch_of_addresses_is_added_and_deleted_without_those_that_are_refused() {
    everywhere(|door| {
        let interface = index(door, "br0");
        let on = |address: &str, interface| InterfaceAddress {
            interface,
            address: address.parse().unwrap(),
            prefix_len: if address.contains(':') { 128 } else { 32 },
        };
        let batch = [
            on("10.96.0.10", interface),
            on("10.96.0.11", 9999),
            on("fd00:96::a", interface),
        ];
        let held = |door: &mut dyn Links| {
            let mut held = door.addresses_of(interface).unwrap();
            held.retain(|a| batch.contains(a));
            held.sort_unstable();
            held
        };
        for _ in 0..2 {
            let refused = door.add_addresses(&batch).unwrap();
            assert!(
                matches!(
                    refused[..],
                    [RefusedObject {
                        position: 1,
                        error: LinkError::NoSuchInterface { .. }
                    }]
                ),
                "{refused:?}"
            );
            assert_eq!(held(door), [batch[0], batch[2]]);
        }
        for _ in 0..2 {
            assert!(door.delete_addresses(&batch).unwrap().is_empty());
            assert_eq!(held(door), []);
        }
    });
}

#[test]
fn only_what_is_asked_for_is_listed() {
    everywhere(|door| {
        let (bridge, end) = (index(door, "br0"), index(door, "v1"));
        let held = address_node(door);
        let mut of_end = door.addresses_of(end).unwrap();
        of_end.retain(|a| held.contains(a));
        assert_eq!(of_end.len(), 2);
        assert!(
            door.addresses_of(bridge)
                .unwrap()
                .iter()
                .all(|a| a.interface == bridge && !held.contains(a))
        );
        assert_eq!(door.addresses_of(9999).unwrap(), []);

        let all = [
            binding(VIP_V4, bridge, NODE_V4),
            binding(VIP_V6, bridge, NODE_V6),
            binding("10.96.0.11/32", end, NODE_V4),
            Route {
                protocol: 98,
                ..binding("10.96.0.12/32", bridge, NODE_V4)
            },
            Route {
                table: 1234,
                ..binding("fd00:96::b/128", bridge, NODE_V6)
            },
        ];
        assert!(door.add_routes(&all).unwrap().is_empty());
        let mut listed = |table, protocol, interface| {
            let filter = RouteFilter {
                table,
                protocol,
                interface,
            };
            sorted(door.routes_of(&filter).unwrap())
        };
        let (ours, local) = (Some(97), Some(255));
        assert_eq!(listed(local, ours, Some(bridge)), sorted([all[0], all[1]]));
        assert_eq!(listed(local, ours, None), sorted([all[0], all[1], all[2]]));
        assert_eq!(listed(None, ours, Some(end)), [all[2]]);
        assert_eq!(listed(None, Some(98), None), [all[3]]);
        assert_eq!(listed(Some(1234), ours, None), [all[4]]);
        assert_eq!(listed(Some(4321), None, None), []);
        assert_eq!(listed(None, None, Some(9999)), []);
        assert!(listed(None, None, None).len() >= all.len());
    });
}

#[test]
fn an_ipv6_route_without_a_metric_gets_one() {
    everywhere(|door| {
        let interface = index(door, "br0");
        address_node(door);
        let plain = |destination, source| Route {
            metric: 0,
            ..binding(destination, interface, source)
        };
        let (v4, v6) = (plain(VIP_V4, NODE_V4), plain(VIP_V6, NODE_V6));
        assert!(door.add_routes(&[v4, v6]).unwrap().is_empty());
        let kept = Route { metric: 1024, ..v6 };
        assert_eq!(ours(door), sorted([v4, kept]));
        assert!(door.delete_routes(&[v4, v6]).unwrap().is_empty());
        assert_eq!(ours(door), []);
    });
}

#[test]
fn a_route_is_deleted_by_its_maker_and_interface_only() {
    everywhere(|door| {
        let (bridge, end) = (index(door, "br0"), index(door, "v1"));
        address_node(door);
        for (destination, source) in [(VIP_V4, NODE_V4), (VIP_V6, NODE_V6)] {
            let kept = binding(destination, bridge, source);
            door.replace_route(&kept).unwrap();
            for other in [
                Route {
                    protocol: 98,
                    ..kept
                },
                Route {
                    interface: Some(end),
                    ..kept
                },
                Route { metric: 78, ..kept },
                Route { table: 254, ..kept },
            ] {
                assert!(!door.delete_route(&other).unwrap(), "{other:?}");
            }
            assert_eq!(ours(door), [kept]);
            let no_source = Route {
                source: None,
                ..kept
            };
            assert!(door.delete_route(&no_source).unwrap(), "{destination}");
        }
    });
}

#[test]
fn a_link_that_is_down_has_local_ipv4_routes_only() {
    everywhere(|door| {
        let interface = index(door, "br0");
        address_node(door);
        let on_it = ["10.96.1.1", "fd00:96::1"].map(|address| InterfaceAddress {
            interface,
            address: address.parse().unwrap(),
            prefix_len: if address.contains(':') { 128 } else { 32 },
        });
        assert!(door.add_addresses(&on_it).unwrap().is_empty());
        let v4 = binding(VIP_V4, interface, NODE_V4);
        let all = [
            v4,
            binding(VIP_V6, interface, NODE_V6),
            route("10.95.0.0/16", interface),
            route("fd00:95::/112", interface),
        ];
        assert!(door.add_routes(&all).unwrap().is_empty());
        door.set_up(interface, false).unwrap();
        assert_eq!(ours(door), [v4]);
        assert_eq!(door.addresses_of(interface).unwrap(), on_it[..1]);
        assert!(door.delete_route(&v4).unwrap());
        let refused = door.add_routes(&all).unwrap();
        let places: Vec<_> = refused.iter().map(|r| r.position).collect();
        assert_eq!(places, [1, 2, 3], "{refused:?}");
        for refused in refused {
            assert!(matches!(refused.error, LinkError::Kernel { code: 100, .. }));
        }
        door.set_up(interface, true).unwrap();
        assert_eq!(ours(door), [v4]);
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
fn a_route_outlives_its_source_address_as_the_kernel_has_it() {
    everywhere(|door| {
        let interface = index(door, "br0");
        let held = address_node(door);
        let main = |destination, source: &str| Route {
            source: Some(source.parse().unwrap()),
            ..route(destination, interface)
        };
        let local = [
            binding(VIP_V4, interface, NODE_V4),
            binding(VIP_V6, interface, NODE_V6),
        ];
        let other = [
            main("10.95.0.0/16", NODE_V4),
            main("fd00:95::/112", NODE_V6),
        ];
        assert!(door.add_routes(&local).unwrap().is_empty());
        assert!(door.add_routes(&other).unwrap().is_empty());
        assert!(door.delete_addresses(&held).unwrap().is_empty());
        // Whether an IPv6 route by another device keeps the source depends on the kernel's age.
        let mut left = ours(door);
        for route in &mut left {
            if route.destination.addr().is_ipv6() {
                route.source = None;
            }
        }
        let without = |route| Route {
            source: None,
            ..route
        };
        assert_eq!(
            left,
            sorted([local[0], without(local[1]), without(other[1])])
        );
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

#[test]
fn twenty_thousand_routes_are_bound_listed_and_unbound_within_seconds() {
    everywhere(|door| {
        let interface = index(door, "br0");
        address_node(door);
        let vips: Vec<_> = (0..20_000_u32)
            .map(|n| {
                let address = std::net::Ipv4Addr::from(0x0a60_0000 + n);
                binding(&format!("{address}/32"), interface, NODE_V4)
            })
            .collect();
        let begin = Instant::now();
        assert!(door.add_routes(&vips).unwrap().is_empty());
        let added = begin.elapsed();
        assert_eq!(ours(door), vips);
        let listed = begin.elapsed();
        assert!(door.delete_routes(&vips).unwrap().is_empty());
        let deleted = begin.elapsed();
        eprintln!(
            "20,000 routes: added after {added:?}, listed after {listed:?}, deleted after {deleted:?}"
        );
        assert_eq!(ours(door), []);
    });
}

#[test]
fn lost_routes_and_links_are_told() {
    in_new_namespace(|| {
        sh(BRIDGE);
        let mut door = NetlinkLinks::open().unwrap();
        let interface = index(&mut door, "br0");
        address_node(&mut door);
        let [one, six] = [
            binding(VIP_V4, interface, NODE_V4),
            binding(VIP_V6, interface, NODE_V6),
        ];
        let foreign = Route {
            protocol: 98,
            ..binding("10.96.0.99/32", interface, NODE_V4)
        };
        let mut events = RouteEvents::open(97).unwrap();
        let mut told = || {
            let mut told = Vec::new();
            loop {
                let more = events.wait(Duration::from_millis(300)).unwrap();
                if more.is_empty() {
                    return told;
                }
                told.extend(more);
            }
        };
        told();
        assert!(door.add_routes(&[one, six, foreign]).unwrap().is_empty());
        assert_eq!(told(), [], "nothing was lost");
        assert!(door.delete_routes(&[one, foreign]).unwrap().is_empty());
        assert_eq!(told(), [RouteNotice::RouteGone(one)]);
        sh("ip link set br0 down");
        let down = told();
        assert!(down.contains(&RouteNotice::LinkDown(interface)), "{down:?}");
        assert!(!down.contains(&RouteNotice::LinkGone(interface)));
        sh("ip link del br0");
        assert!(told().contains(&RouteNotice::LinkGone(interface)));
        sh("ip link set v1 up");
        let v1 = index(&mut door, "v1");
        let flood: Vec<_> = (0..5_000_u32)
            .map(|n| {
                let address = std::net::Ipv4Addr::from(0x0a60_0000 + n);
                binding(&format!("{address}/32"), v1, NODE_V4)
            })
            .collect();
        assert!(door.add_routes(&flood).unwrap().is_empty());
        assert!(told().contains(&RouteNotice::Overrun));
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
