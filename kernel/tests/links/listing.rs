//! Listings, compared with those of `ip`.

use std::time::{Duration, Instant};

use sluice_kernel::links::{Links, NetlinkLinks, Route, RouteFilter, RouteKind, named};

use crate::namespace::{in_new_namespace, sh};
use crate::sample::{NODE_V4, NODE_V6, VIP_V4, VIP_V6, address_node, binding, sorted};
use crate::subject::{BRIDGE, everywhere, index};

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
                let held = link["addr_info"].as_array().unwrap().iter();
                held.filter(|address| address["tentative"] != true)
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
