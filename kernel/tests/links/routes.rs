//! Routes, one and many, and what becomes of them.

use std::time::Instant;

use sluice_kernel::links::{InterfaceAddress, LinkError, Links, NetlinkLinks, Route};

use crate::namespace::{in_new_namespace, sh};
use crate::sample::{NODE_V4, NODE_V6, VIP_V4, VIP_V6, address_node, binding, ours, route, sorted};
use crate::subject::{BRIDGE, everywhere, index};

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
            let local = binding(destination, interface, source);
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
