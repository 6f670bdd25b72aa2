//! What the kernel tells of changes.

use std::time::{Duration, Instant};

use sluice_kernel::links::{AddressEvents, Links, NetlinkLinks, Route, RouteEvents, RouteNotice};

use crate::namespace::{in_new_namespace, sh};
use crate::sample::{NODE_V4, NODE_V6, VIP_V4, VIP_V6, address_node, binding};
use crate::subject::{BRIDGE, index};

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
fn an_address_is_held_when_its_duplicate_detection_is_over_and_that_is_heard_of() {
    in_new_namespace(|| {
        sh(BRIDGE);
        let mut door = NetlinkLinks::open().unwrap();
        let interface = index(&mut door, "br0");
        let mut events = AddressEvents::open().unwrap();
        let added = Instant::now();
        sh("ip addr add fd00:9::1/64 dev br0 nodad; ip addr add fd00:9::2/64 dev br0");
        let mut is_held = |address: &str| {
            let held = door.addresses_of(interface).unwrap();
            held.iter().any(|held| held.address.to_string() == address)
        };
        // Detection takes a second at least.
        let is_too_early = is_held("fd00:9::2") && added.elapsed() < Duration::from_millis(500);
        assert!(is_held("fd00:9::1") && !is_too_early);
        let deadline = Instant::now() + Duration::from_secs(20);
        while !is_held("fd00:9::2") {
            assert!(Instant::now() < deadline, "it is tentative for ever");
            assert!(events.wait(Duration::from_secs(10)).unwrap());
        }
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
