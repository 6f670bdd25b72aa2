//! The way to a verdict, and its words.

use sluice_service_plan::access::Admission;
use sluice_service_plan::catalog::Catalog;
use sluice_service_plan::model::{
    LocalDetector, NodeFacts, NodePortAddresses, Protocol, Service, Settings, TrafficPolicy,
};
use sluice_service_plan::packet::{Origin, Packet, Side};
use sluice_service_plan::plan::{Plan, Refusal};
use sluice_service_plan::trace::{FrontendIndex, Step, Trace, Verdict, trace, trace_by_ipvs};

use crate::objects::*;

const POD: &str = "10.1.0.7";
const CLIENT: &str = "198.18.0.9";

fn packet(source: &str, destination: &str) -> Packet {
    let source = ip(source);
    Packet {
        protocol: Protocol::Tcp,
        source,
        destination: destination.parse().unwrap(),
        origin: Origin::of_source(source, &node()),
        class: None,
    }
}

fn traced(plan: &Plan, packet: &Packet) -> Trace {
    let trace = trace(packet, plan);
    let indexed = FrontendIndex::new(plan).trace(packet);
    assert_eq!(
        (&trace.verdict, &trace.steps),
        (&indexed.verdict, &indexed.steps)
    );
    trace
}

fn settings() -> Settings {
    Settings {
        detect_local: LocalDetector::Cidrs(nets(&["10.1.0.0/16"])),
        ..Settings::default()
    }
}

fn balancer(external_policy: TrafficPolicy) -> Service {
    Service {
        external_policy,
        ..load_balancer("web")
    }
}

/// A verdict in one word and its endpoints.
fn short(trace: &Trace) -> String {
    match &trace.verdict {
        Verdict::Balance {
            endpoints,
            masquerade,
            ..
        } => {
            let how = if *masquerade { "masquerade" } else { "keep" };
            format!("{how} {}", addresses(endpoints).join(" "))
        }
        Verdict::Reject => "reject".into(),
        Verdict::Drop => "drop".into(),
        Verdict::NotOurs => "pass".into(),
    }
}

fn check(rows: &[(&str, &str, &str)], policy: TrafficPolicy) {
    let slices = [slice(
        "s",
        "web",
        vec![remote("10.1.1.1"), local("10.1.0.1")],
    )];
    let plan = plan_with(settings(), &[balancer(policy)], &slices);
    for (source, destination, want) in rows {
        let got = short(&traced(&plan, &packet(source, destination)));
        assert_eq!(got, *want, "{policy:?} {source} {destination}");
    }
}

#[test]
fn under_policy_cluster_every_frontend_serves_all_endpoints() {
    let keep = "keep 10.1.0.1:8080 10.1.1.1:8080";
    let masquerade = "masquerade 10.1.0.1:8080 10.1.1.1:8080";
    let rows = [
        (POD, "10.96.0.1:80", keep),
        (CLIENT, "10.96.0.1:80", masquerade),
        (NODE_IP, "10.96.0.1:80", masquerade),
        (POD, "203.0.113.1:80", masquerade),
        (CLIENT, "203.0.113.2:80", masquerade),
        (CLIENT, "192.0.2.1:30080", masquerade),
    ];
    check(&rows, TrafficPolicy::Cluster);
}

#[test]
fn under_policy_local_only_outsiders_are_kept_to_this_node() {
    let here = "keep 10.1.0.1:8080";
    let all = "keep 10.1.0.1:8080 10.1.1.1:8080";
    let masquerade = "masquerade 10.1.0.1:8080 10.1.1.1:8080";
    let rows = [
        (CLIENT, "10.96.0.1:80", masquerade),
        (CLIENT, "203.0.113.1:80", here),
        (POD, "203.0.113.1:80", all),
        (NODE_IP, "203.0.113.2:80", masquerade),
        (CLIENT, "198.51.100.1:30080", here),
        (POD, "192.0.2.1:30080", all),
    ];
    check(&rows, TrafficPolicy::Local);
}

#[test]
fn what_no_service_lists_passes_unless_it_is_a_cluster_ip() {
    let rows = [
        (CLIENT, "10.96.0.1:22", "reject"),
        (NODE_IP, "[fd00::1]:22", "reject"),
        (CLIENT, "203.0.113.1:22", "pass"),
        (CLIENT, "203.0.113.2:30080", "pass"),
        (CLIENT, "192.0.2.1:80", "pass"),
        (CLIENT, "192.0.2.77:30080", "pass"),
        (NODE_IP, "127.0.0.1:30080", "pass"),
    ];
    check(&rows, TrafficPolicy::Cluster);
}

#[test]
fn the_nodes_health_is_asked_for_on_external_addresses_alone() {
    let plan = |service: Service| {
        let node = NodeFacts {
            health_port: Some(10_256),
            ..node()
        };
        let mut catalog = Catalog::new(node, settings());
        catalog.set_service(service);
        catalog.set_slice(slice("s", "web", vec![remote("10.1.1.1")]));
        catalog.take_changes();
        catalog.plan().clone()
    };
    let web = plan(balancer(TrafficPolicy::Cluster));
    let judged = |to| traced(&web, &packet(CLIENT, to));
    for address in ["203.0.113.1:10256", "203.0.113.2:10256"] {
        let trace = judged(address);
        assert_eq!(short(&trace), "pass", "{address}");
        let destination = address.parse().unwrap();
        assert_eq!(trace.steps, [Step::Health { destination }]);
    }
    assert_eq!(short(&judged("10.96.0.1:10256")), "reject");
    for other in ["203.0.113.2:10257", "203.0.113.77:10256"] {
        let steps = judged(other).steps;
        assert!(matches!(steps[..], [Step::NoFrontend { .. }]), "{other}");
    }
    let mut udp = packet(CLIENT, "203.0.113.2:10256");
    udp.protocol = Protocol::Udp;
    let steps = traced(&web, &udp).steps;
    assert!(matches!(steps[..], [Step::NoFrontend { .. }]));
    // A service's own port comes first.
    let its_own = plan(Service {
        ports: vec![port("", 10_256)],
        ..balancer(TrafficPolicy::Cluster)
    });
    let trace = traced(&its_own, &packet(CLIENT, "203.0.113.2:10256"));
    assert_eq!(short(&trace), "masquerade 10.1.1.1:8080");
}

#[test]
fn nothing_here_is_silence_and_nothing_anywhere_is_refusal() {
    let rows = [
        (vec![remote("10.1.1.1")], CLIENT, "drop"),
        (vec![remote("10.1.1.1")], POD, "keep 10.1.1.1:8080"),
        (vec![], CLIENT, "reject"),
        (vec![], POD, "reject"),
    ];
    for (endpoints, source, want) in rows {
        let plan = plan_with(
            settings(),
            &[balancer(TrafficPolicy::Local)],
            &[slice("s", "web", endpoints)],
        );
        assert_eq!(
            short(&traced(&plan, &packet(source, "203.0.113.2:80"))),
            want,
            "{source}"
        );
    }
}

#[test]
fn source_ranges_drop_strangers_at_load_balancer_ips_only() {
    let service = Service {
        source_ranges: nets(&["198.51.100.0/24"]),
        ..balancer(TrafficPolicy::Cluster)
    };
    let plan = plan_with(
        settings(),
        &[service],
        &[slice("s", "web", vec![remote("10.1.1.1")])],
    );
    let served = "masquerade 10.1.1.1:8080";
    let rows = [
        (CLIENT, "203.0.113.2:80", "drop"),
        (POD, "203.0.113.2:80", "drop"),
        ("198.51.100.77", "203.0.113.2:80", served),
        ("203.0.113.2", "203.0.113.2:80", served),
        (CLIENT, "203.0.113.1:80", served),
        (CLIENT, "192.0.2.1:30080", served),
    ];
    for (source, destination, want) in rows {
        assert_eq!(
            short(&traced(&plan, &packet(source, destination))),
            want,
            "{source} {destination}"
        );
    }
}

#[test]
fn loopback_serves_the_node_alone() {
    let rows = [
        (false, "127.0.0.1", Origin::Node, "pass"),
        (true, "127.0.0.1", Origin::Node, "masquerade 10.1.1.1:8080"),
        (true, CLIENT, Origin::Interface("eth0".into()), "drop"),
        (true, "127.0.0.1", Origin::Elsewhere, "drop"),
        (false, CLIENT, Origin::Elsewhere, "pass"),
    ];
    for (localhost_node_ports, source, origin, want) in rows {
        let settings = Settings {
            localhost_node_ports,
            ..settings()
        };
        let plan = plan_with(
            settings,
            &[balancer(TrafficPolicy::Cluster)],
            &[slice("s", "web", vec![remote("10.1.1.1")])],
        );
        let packet = Packet {
            origin,
            ..packet(source, "127.0.0.1:30080")
        };
        assert_eq!(short(&traced(&plan, &packet)), want, "{packet}");
        let v6 = Packet {
            origin: Origin::Node,
            ..self::packet("::1", "[::1]:30080")
        };
        assert_eq!(short(&traced(&plan, &v6)), "pass", "{v6}");
    }
}

#[test]
fn node_ports_keep_to_the_selected_addresses() {
    let settings = Settings {
        node_port_addresses: NodePortAddresses::Primary,
        ..settings()
    };
    let slices = [slice("s", "web", vec![remote("10.1.1.1")])];
    let plan = plan_with(settings, &[balancer(TrafficPolicy::Cluster)], &slices);
    assert_eq!(
        short(&traced(&plan, &packet(CLIENT, "198.51.100.1:30080"))),
        "pass"
    );
    assert_ne!(
        short(&traced(&plan, &packet(CLIENT, "192.0.2.1:30080"))),
        "pass"
    );
}

#[test]
fn an_external_ip_that_is_the_nodes_own_closes_none_of_the_nodes_ports() {
    let own = |external: bool| Service {
        cluster_ips: ips(&[if external { "10.96.0.1" } else { NODE_IP }]),
        external_ips: ips(if external { &[NODE_IP] } else { &[] }),
        ..service("web")
    };
    for external in [true, false] {
        let plan = plan_with(settings(), &[own(external)], &[]);
        assert_eq!(
            short(&traced(&plan, &packet(CLIENT, "192.0.2.1:22"))),
            "pass"
        );
        assert_eq!(
            short(&traced(&plan, &packet(CLIENT, "192.0.2.1:80"))),
            "reject"
        );
    }
}

#[test]
fn hairpin_and_localhost_are_masqueraded_always_and_exclusions_keep_the_source_otherwise() {
    let settings = Settings {
        exclude_destinations: nets(&["10.1.0.0/24"]),
        localhost_node_ports: true,
        ..settings()
    };
    let slices = [slice(
        "s",
        "web",
        vec![remote("10.1.1.1"), local("10.1.0.1"), local(POD)],
    )];
    let plan = plan_with(settings, &[balancer(TrafficPolicy::Cluster)], &slices);
    let rows = [
        (CLIENT, "10.96.0.1:80", [false, false, true]),
        (POD, "10.96.0.1:80", [false, true, false]),
        (POD, "203.0.113.1:80", [false, true, true]),
        ("127.0.0.1", "127.0.0.1:30080", [true, true, true]),
    ];
    for (source, destination, want) in rows {
        let trace = traced(&plan, &packet(source, destination));
        let Verdict::Balance { endpoints, .. } = &trace.verdict else {
            panic!("{trace:?}")
        };
        let got: Vec<_> = endpoints.iter().map(|one| trace.masqueraded(one)).collect();
        assert_eq!(got, want, "{source} {destination}");
    }
}

#[test]
fn the_steps_tell_the_whole_way_in_words() {
    let service = Service {
        affinity_seconds: Some(10_800),
        source_ranges: nets(&["198.18.0.0/24"]),
        ports: vec![port("http", 80)],
        ..balancer(TrafficPolicy::Local)
    };
    let endpoints = sluice_service_plan::model::EndpointSlice {
        ports: vec![slice_port("http", 8080)],
        ..slice("s", "web", vec![local("10.1.0.1")])
    };
    let plan = plan_with(settings(), &[service], &[endpoints]);
    let trace = traced(&plan, &packet(CLIENT, "203.0.113.2:80"));
    let words: Vec<_> = trace.steps.iter().map(ToString::to_string).collect();
    assert_eq!(
        words,
        [
            "203.0.113.2:80/tcp is a load-balancer IP of service ns/web, port http",
            "client 198.18.0.9: loadBalancerSourceRanges allow it by 198.18.0.0/24",
            "externalTrafficPolicy is Local and it comes from outside: it gets one of this node's usable endpoints, number of them: 1",
            "sessionAffinity: a client seen in the last 10800 s gets the endpoint it had",
            "the source stays: externalTrafficPolicy is Local, and it starts elsewhere than on the node",
        ]
    );
    assert_eq!(
        trace.verdict.to_string(),
        "goes to one of 1 endpoints of ns/web:http/tcp"
    );
}

#[test]
fn steps_are_typed() {
    let service = Service {
        source_ranges: nets(&["192.0.2.0/24"]),
        ..balancer(TrafficPolicy::Local)
    };
    let plan = plan_with(
        settings(),
        &[service],
        &[slice("s", "web", vec![remote("10.1.1.1")])],
    );
    let last = |source, destination| traced(&plan, &packet(source, destination)).steps.pop();
    assert_eq!(
        last(CLIENT, "203.0.113.2:80"),
        Some(Step::SourceRanges {
            source: ip(CLIENT),
            admission: Admission::Refused
        })
    );
    assert_eq!(
        last(CLIENT, "203.0.113.1:80"),
        Some(Step::Refused {
            refusal: Refusal::Drop
        })
    );
    assert!(matches!(
        last(CLIENT, "10.96.0.1:22"),
        Some(Step::UnlistedPort { .. })
    ));
    assert!(matches!(
        last(CLIENT, "10.9.9.9:22"),
        Some(Step::NoFrontend { .. })
    ));
    let pool = traced(&plan, &packet(POD, "203.0.113.1:80"))
        .steps
        .swap_remove(1);
    assert!(
        matches!(
            pool,
            Step::Pool {
                side: Side::Pod,
                depends_on_side: true,
                ..
            }
        ),
        "{pool:?}"
    );
}

#[test]
fn other_ports_of_an_address_that_ipvs_binds_are_refused_and_by_rules_they_pass() {
    let slices = [slice("s", "web", vec![remote("10.1.1.1")])];
    let services = [balancer(TrafficPolicy::Cluster)];
    let served = plan_with(settings(), &services, &slices);
    let empty = plan_with(settings(), &services, &[]);
    let packet = packet(CLIENT, "203.0.113.1:8443");
    assert_eq!(trace(&packet, &served).verdict, Verdict::NotOurs);
    let closed = trace_by_ipvs(&packet, &served);
    assert_eq!(closed.verdict, Verdict::Reject);
    assert!(matches!(closed.steps[..], [Step::ClosedPort { .. }]));
    assert_eq!(trace_by_ipvs(&packet, &empty).verdict, Verdict::NotOurs);
}

#[test]
fn addresses_that_ipvs_leaves_to_others_are_services_by_rules_only() {
    let mut settings = settings();
    settings.ipvs.excluded = nets(&["203.0.113.0/24", "192.0.2.1/32"]);
    let slices = [slice("s", "web", vec![remote("10.1.1.1")])];
    let plan = plan_with(settings, &[balancer(TrafficPolicy::Cluster)], &slices);
    for (destination, is_excluded) in [
        ("203.0.113.1:80", true),
        ("192.0.2.1:30080", true),
        ("10.96.0.1:80", false),
    ] {
        let packet = packet(CLIENT, destination);
        let by_rules = trace(&packet, &plan);
        assert!(matches!(by_rules.verdict, Verdict::Balance { .. }));
        let by_ipvs = trace_by_ipvs(&packet, &plan);
        if is_excluded {
            let destination = packet.destination.ip();
            assert_eq!(by_ipvs.verdict, Verdict::NotOurs);
            assert_eq!(by_ipvs.steps, [Step::Excluded { destination }]);
        } else {
            assert_eq!(by_ipvs.verdict, by_rules.verdict);
        }
    }
}
