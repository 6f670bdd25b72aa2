//! "Which endpoints" of a service port.

use sluice_service_plan::catalog::Catalog;
use sluice_service_plan::model::{
    AddressType, EndpointSlice, EndpointWeight, Hints, NodeFacts, Protocol, Service, ServicePort,
    Settings, SliceEndpoint, SlicePort, TrafficPolicy,
};
use sluice_service_plan::plan::Endpoint;

use crate::objects::*;

fn local_policy() -> Service {
    Service {
        internal_policy: TrafficPolicy::Local,
        ..service("web")
    }
}

fn hinted(zones: &[&str], nodes: &[&str], endpoint: SliceEndpoint) -> SliceEndpoint {
    let list = |names: &[&str]| names.iter().map(|name| (*name).into()).collect();
    let hints = Hints {
        zones: list(zones),
        nodes: list(nodes),
    };
    SliceEndpoint {
        hints: Some(Box::new(hints)),
        ..endpoint
    }
}

#[test]
fn ready_endpoints_are_used_and_draining_ones_only_when_there_is_no_other() {
    let dead = |at| SliceEndpoint {
        ready: false,
        serving: false,
        ..local(at)
    };
    let rows = [
        (
            "all ready",
            vec![remote("10.1.1.1"), local("10.1.0.1")],
            vec!["10.1.0.1:8080", "10.1.1.1:8080"],
            vec!["10.1.0.1:8080"],
        ),
        (
            "a ready one wins over draining ones",
            vec![remote("10.1.1.1"), terminating(remote("10.1.1.2"))],
            vec!["10.1.1.1:8080"],
            vec![],
        ),
        (
            "the local set falls back by itself",
            vec![remote("10.1.1.1"), terminating(local("10.1.0.1"))],
            vec!["10.1.1.1:8080"],
            vec!["10.1.0.1:8080"],
        ),
        (
            "all draining",
            vec![terminating(remote("10.1.1.1")), dead("10.1.0.1")],
            vec!["10.1.1.1:8080"],
            vec![],
        ),
        (
            "neither ready nor serving",
            vec![dead("10.1.0.1")],
            vec![],
            vec![],
        ),
        (
            "not ready but serving, not terminating",
            vec![SliceEndpoint {
                ready: false,
                ..local("10.1.0.1")
            }],
            vec![],
            vec![],
        ),
    ];
    for (case, endpoints, cluster, here) in rows {
        let plan = plan(&[local_policy()], &[slice("s", "web", endpoints)]);
        let port = only_port(&plan);
        assert_eq!(addresses(&port.cluster), cluster, "{case}");
        assert_eq!(addresses(&port.local), here, "{case}");
    }
}

#[test]
fn slices_merge_and_each_address_and_port_counts_once() {
    let two_ports = EndpointSlice {
        ports: vec![slice_port("", 8080), slice_port("", 9090)],
        ..slice(
            "b",
            "web",
            vec![terminating(remote("10.1.1.1")), local("10.1.0.1")],
        )
    };
    let plan = plan(
        &[local_policy()],
        &[
            two_ports,
            slice(
                "a",
                "web",
                vec![remote("10.1.1.1"), terminating(remote("10.1.0.1"))],
            ),
        ],
    );
    let port = only_port(&plan);
    assert_eq!(
        addresses(&port.cluster),
        ["10.1.0.1:8080", "10.1.0.1:9090", "10.1.1.1:8080"]
    );
    assert_eq!(addresses(&port.local), ["10.1.0.1:8080", "10.1.0.1:9090"]);
    assert_eq!(
        port.cluster
            .iter()
            .map(Endpoint::is_local)
            .collect::<Vec<_>>(),
        [true, true, false],
        "any slice may say that it is here"
    );
}

#[test]
fn of_two_descriptions_of_one_endpoint_each_state_counts() {
    let down = SliceEndpoint {
        ready: false,
        serving: false,
        ..remote("10.1.1.1")
    };
    let ending = SliceEndpoint {
        terminating: true,
        ..down.clone()
    };
    let rows = [
        (ending.clone(), terminating(remote("10.1.1.1")), 1),
        (terminating(remote("10.1.1.1")), ending, 1),
        (down.clone(), remote("10.1.1.1"), 1),
        (down.clone(), down, 0),
    ];
    for (first, second, want) in rows {
        let slices = [
            slice("a", "web", vec![first]),
            slice("b", "web", vec![second]),
        ];
        assert_eq!(
            only_port(&plan(&[service("web")], &slices)).cluster.len(),
            want
        );
    }
}

#[test]
fn an_address_that_a_new_endpoint_has_is_not_that_of_the_one_that_terminates() {
    let old = || terminating(local("10.1.0.1"));
    let starting = || SliceEndpoint {
        ready: false,
        serving: false,
        ..remote("10.1.0.1")
    };
    let rows = [(remote("10.1.0.1"), 1), (starting(), 0)];
    for (new, want) in rows {
        let orders = [[old(), new.clone()], [new, old()]];
        for endpoints in orders {
            let slices = [slice("s", "web", endpoints.to_vec())];
            let plan = plan(&[local_policy()], &slices);
            let port = only_port(&plan);
            assert_eq!(port.cluster.len(), want, "{:?}", port.cluster);
            assert!(!port.cluster.iter().any(Endpoint::is_local));
            assert_eq!(*port.local, []);
        }
    }
}

#[test]
fn udp_flows_may_stay_wherever_somebody_serves() {
    let udp = |service: Service| Service {
        ports: vec![ServicePort {
            protocol: Protocol::Udp,
            ..port("", 80)
        }],
        ..service
    };
    let with = |endpoints: Vec<SliceEndpoint>| EndpointSlice {
        ports: vec![SlicePort {
            protocol: Protocol::Udp,
            ..slice_port("", 8080)
        }],
        ..slice("s", "web", endpoints)
    };
    let dead = SliceEndpoint {
        ready: false,
        serving: false,
        ..remote("10.1.1.3")
    };
    let both = ["10.1.0.1:8080", "10.1.1.1:8080"];
    let ours = || hinted(&[ZONE], &[], local("10.1.0.1"));
    let rows = [
        (
            "one terminates",
            service("web"),
            vec![local("10.1.0.1"), terminating(remote("10.1.1.1")), dead],
        ),
        (
            "a hint takes one away",
            service("web"),
            vec![ours(), hinted(&["zone-2"], &[], remote("10.1.1.1"))],
        ),
        (
            "the policy takes one away",
            local_policy(),
            vec![local("10.1.0.1"), remote("10.1.1.1")],
        ),
    ];
    for (case, service, endpoints) in rows {
        let plan = plan(&[udp(service)], &[with(endpoints)]);
        let port = only_port(&plan);
        assert_eq!(addresses(&port.serving), both, "{case}");
    }
    let all = [with(vec![remote("10.1.1.1")])];
    let plan = plan(&[udp(service("web"))], &all);
    let port = only_port(&plan);
    assert!(std::sync::Arc::ptr_eq(&port.serving, &port.cluster));
}

#[test]
fn what_does_not_belong_is_not_seen() {
    let web = slice("s", "web", vec![remote("10.1.1.1")]);
    let other_name = vec![slice_port("metrics", 8080)];
    let udp = vec![SlicePort {
        protocol: Protocol::Udp,
        ..slice_port("", 8080)
    }];
    let rows = [
        (
            "headless",
            EndpointSlice {
                headless: true,
                ..web.clone()
            },
        ),
        (
            "names",
            EndpointSlice {
                address_type: AddressType::Fqdn,
                ..web.clone()
            },
        ),
        (
            "other family",
            EndpointSlice {
                address_type: AddressType::Ipv6,
                ..web.clone()
            },
        ),
        (
            "other service",
            EndpointSlice {
                service: "db".into(),
                ..web.clone()
            },
        ),
        (
            "other port name",
            EndpointSlice {
                ports: other_name,
                ..web.clone()
            },
        ),
        (
            "other protocol",
            EndpointSlice {
                ports: udp,
                ..web.clone()
            },
        ),
        (
            "no port",
            EndpointSlice {
                ports: vec![],
                ..web.clone()
            },
        ),
    ];
    for (case, slice) in rows {
        assert!(
            only_port(&plan(&[service("web")], &[slice]))
                .cluster
                .is_empty(),
            "{case}"
        );
    }
    assert_eq!(only_port(&plan(&[service("web")], &[web])).cluster.len(), 1);
}

#[test]
fn each_family_has_its_own_endpoints() {
    let v6 = EndpointSlice {
        address_type: AddressType::Ipv6,
        ..slice("v6", "web", vec![remote("fd01::1"), remote("10.1.1.9")])
    };
    let v4 = slice("v4", "web", vec![remote("10.1.1.1"), remote("fd01::9")]);
    let plan = plan(&[load_balancer("web")], &[v4, v6]);
    let ports = &plan_of(&plan, "web").unwrap().ports;
    assert_eq!(addresses(&ports[0].cluster), ["10.1.1.1:8080"]);
    assert_eq!(addresses(&ports[1].cluster), ["[fd01::1]:8080"]);
}

#[test]
fn hints_count_only_where_all_have_them_and_one_is_for_us() {
    let a = || remote("10.1.1.1");
    let b = || remote("10.1.1.2");
    let both = ["10.1.1.1:8080", "10.1.1.2:8080"];
    let rows: [(&str, Vec<SliceEndpoint>, &[&str]); 8] = [
        (
            "our zone",
            vec![hinted(&[ZONE], &[], a()), hinted(&["zone-2"], &[], b())],
            &both[..1],
        ),
        (
            "two zones in one hint",
            vec![
                hinted(&["zone-2", ZONE], &[], a()),
                hinted(&[ZONE], &[], b()),
            ],
            &both,
        ),
        (
            "one without a hint",
            vec![hinted(&[ZONE], &[], a()), b()],
            &both,
        ),
        (
            "none for our zone",
            vec![hinted(&["zone-2"], &[], a()), hinted(&["zone-3"], &[], b())],
            &both,
        ),
        (
            "node before zone",
            vec![
                hinted(&[ZONE], &["node-b"], a()),
                hinted(&["zone-2"], &[NODE], b()),
            ],
            &both[1..],
        ),
        (
            "no node hint is ours: zone",
            vec![
                hinted(&[ZONE], &["node-b"], a()),
                hinted(&["zone-2"], &["node-c"], b()),
            ],
            &both[..1],
        ),
        (
            "one that is not ready needs no hint",
            vec![hinted(&[ZONE], &[], a()), terminating(b())],
            &both[..1],
        ),
        (
            "draining ones are used wherever they are",
            vec![
                terminating(hinted(&[ZONE], &[], a())),
                terminating(hinted(&["zone-2"], &[], b())),
            ],
            &both,
        ),
    ];
    for (case, endpoints, want) in rows {
        let plan = plan(&[service("web")], &[slice("s", "web", endpoints)]);
        assert_eq!(addresses(&only_port(&plan).cluster), want, "{case}");
    }
}

#[test]
fn local_policies_ignore_hints_and_an_unknown_zone_is_nobodys() {
    let endpoints = vec![
        hinted(&["zone-2"], &[], local("10.1.0.1")),
        hinted(&[ZONE], &[], remote("10.1.1.1")),
    ];
    let slice = slice("s", "web", endpoints);
    let hinting = plan(&[local_policy()], std::slice::from_ref(&slice));
    assert_eq!(addresses(&only_port(&hinting).cluster), ["10.1.1.1:8080"]);
    assert_eq!(addresses(&only_port(&hinting).local), ["10.1.0.1:8080"]);

    let mut nowhere = Catalog::new(
        NodeFacts {
            zone: None,
            ..node()
        },
        Settings::default(),
    );
    nowhere.set_service(service("web"));
    nowhere.set_slice(slice);
    nowhere.take_changes();
    assert_eq!(only_port(nowhere.plan()).cluster.len(), 2);
}

#[test]
fn the_first_matching_row_gives_the_weight() {
    let row = |zones: &[&str], nodes: &[&str], weight| EndpointWeight {
        zones: zones.iter().map(|one| (*one).into()).collect(),
        nodes: nodes.iter().map(|one| (*one).into()).collect(),
        weight,
    };
    let endpoints = vec![
        local("10.1.0.1"),
        remote("10.1.1.1"),
        SliceEndpoint {
            node: Some("node-c".into()),
            ..remote("10.1.1.2")
        },
        SliceEndpoint {
            node: None,
            zone: None,
            ..remote("10.1.1.3")
        },
    ];
    let slices = [slice("s", "web", endpoints)];
    let rows = [
        (vec![], [1, 1, 1, 1]),
        (vec![row(&[ZONE], &[], 5)], [5, 1, 1, 1]),
        (
            vec![row(&["zone-2"], &["node-c"], 7), row(&["zone-2"], &[], 3)],
            [1, 3, 7, 1],
        ),
        (vec![row(&[], &[], 2), row(&[ZONE], &[], 9)], [2, 2, 2, 2]),
        (
            vec![row(&[], &[NODE, "node-b"], 4), row(&[], &[], 6)],
            [4, 4, 6, 6],
        ),
    ];
    for (endpoint_weights, want) in rows {
        let settings = Settings {
            endpoint_weights,
            ..Settings::default()
        };
        let plan = plan_with(settings, &[service("web")], &slices);
        let weights: Vec<_> = only_port(&plan)
            .cluster
            .iter()
            .map(|one| one.weight)
            .collect();
        assert_eq!(weights, want);
    }
}

#[test]
fn equal_pools_of_a_service_share_their_memory() {
    let dns = Service {
        ports: vec![
            ServicePort {
                protocol: Protocol::Udp,
                ..port("dns", 53)
            },
            port("dns-tcp", 53),
        ],
        ..service("dns")
    };
    let endpoints = EndpointSlice {
        ports: vec![
            SlicePort {
                protocol: Protocol::Udp,
                ..slice_port("dns", 53)
            },
            slice_port("dns-tcp", 53),
        ],
        ..slice("s", "dns", vec![remote("10.1.1.1")])
    };
    let plan = plan(&[dns], &[endpoints]);
    let ports = &plan_of(&plan, "dns").unwrap().ports;
    assert!(std::sync::Arc::ptr_eq(&ports[0].cluster, &ports[1].cluster));
}
