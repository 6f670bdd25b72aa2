//! What is read of the node's network, and when.

use sluice_kernel::links::{InterfaceAddress, Link, LinkOperation, MemoryLinks, RouteKind};

use super::*;

fn route(destination: &str, table: u32) -> Route {
    Route {
        destination: destination.parse().unwrap(),
        kind: RouteKind::UNICAST,
        gateway: None,
        interface: Some(7),
        source: None,
        table,
        protocol: 4,
        metric: 0,
    }
}

fn links() -> MemoryLinks {
    let links = MemoryLinks::new();
    links.put_link(Link {
        index: 7,
        name: "eth0".into(),
        kind: None,
        up: true,
        master: None,
        hairpin: None,
    });
    links
}

#[test]
fn events_list_routes_of_table_main_and_those_of_others_are_seen_when_it_is_time() {
    let mut kernel = links();
    kernel.replace_route(&route("10.244.1.2/32", MAIN)).unwrap();
    kernel.replace_route(&route("10.244.1.3/32", 100)).unwrap();
    let mut reader = Reader::new(Box::new(kernel.clone()));
    let mut read = |which| {
        let routes = reader.read(which).unwrap().routes;
        let last = routes.iter().map(|route| match route.addr() {
            IpAddr::V4(ip) => ip.octets()[3],
            IpAddr::V6(_) => 0,
        });
        last.collect::<Vec<_>>()
    };
    assert_eq!(read(Routes::All), [2, 3]);
    kernel.replace_route(&route("10.244.1.4/32", MAIN)).unwrap();
    kernel.replace_route(&route("10.244.1.5/32", 100)).unwrap();
    let told = kernel.routes_told();
    assert_eq!(read(Routes::Main), [2, 3, 4]);
    assert_eq!(kernel.routes_told() - told, 2, "those of table main");
    kernel.delete_route(&route("10.244.1.3/32", 100)).unwrap();
    assert_eq!(read(Routes::Main), [2, 3, 4]);
    assert_eq!(read(Routes::All), [2, 4, 5]);
}

#[test]
fn an_event_that_could_not_be_followed_is_followed_at_the_next_attempt() {
    let mut kernel = links();
    let events = AddressEvents::open().unwrap();
    let inbox = Arc::new(Inbox::default());
    let metrics = Arc::new(Metrics::default());
    let mut watch = NetworkWatch::over(events, Box::new(kernel.clone()), inbox, metrics).unwrap();
    kernel
        .add_address(&InterfaceAddress {
            interface: 7,
            address: [192, 0, 2, 1].into(),
            prefix_len: 24,
        })
        .unwrap();
    watch.next_look = Instant::now() + Duration::from_secs(60);
    // As after an event.
    watch.is_late = true;
    kernel.fail_next(
        LinkOperation::List,
        LinkError::NotABridgePort { interface: 7 },
    );
    watch.step().unwrap_err();
    let start = Instant::now();
    watch.step().unwrap();
    assert!(start.elapsed() < Duration::from_secs(20));
    assert_eq!(watch.told.addresses, [IpAddr::from([192, 0, 2, 1])]);
}

#[test]
fn addresses_of_pods_links_are_no_move_of_the_node() {
    let with = |addresses: &[&str]| NodeNetwork {
        addresses: addresses.iter().map(|ip| ip.parse().unwrap()).collect(),
        ..NodeNetwork::default()
    };
    let before = with(&["192.0.2.1", "2001:db8::1", "fe80::1"]);
    assert!(!with(&["192.0.2.1", "2001:db8::1", "fe80::1", "fe80::2"]).has_moved(&before));
    assert!(!with(&["192.0.2.1", "2001:db8::1"]).has_moved(&before));
    assert!(with(&["192.0.2.1", "fe80::1"]).has_moved(&before));
    assert!(with(&["169.254.0.1", "192.0.2.1", "2001:db8::1", "fe80::1"]).has_moved(&before));
}
