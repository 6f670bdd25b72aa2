//! "Which services", "Frontends", "Masquerade".

use sluice_service_plan::model::{
    LocalDetector, OUR_PROXY_NAME, Service, ServicePort, ServiceType, Settings, TrafficPolicy,
};
use sluice_service_plan::plan::{
    Frontend, FrontendAddress, FrontendKind, Masquerade, Plan, Pool, Refusal,
};

use crate::objects::*;

fn with_label(key: &str, value: &str) -> Service {
    Service {
        labels: [(key.into(), value.into())].into(),
        ..service("web")
    }
}

fn frontend(plan: &Plan, kind: FrontendKind) -> &Frontend {
    let ports = &plan_of(plan, "web").unwrap().ports;
    ports[0]
        .frontends
        .iter()
        .find(|one| one.kind == kind)
        .unwrap()
}

#[test]
fn only_services_with_cluster_ips_that_are_ours_are_proxied() {
    let label = "service.kubernetes.io/service-proxy-name";
    let rows = [
        ("plain", service("web"), true),
        (
            "headless",
            Service {
                cluster_ips: vec![],
                ..service("web")
            },
            false,
        ),
        (
            "alias",
            Service {
                kind: ServiceType::ExternalName,
                ..service("web")
            },
            false,
        ),
        (
            "no ports",
            Service {
                ports: vec![],
                ..service("web")
            },
            false,
        ),
        ("another proxy's", with_label(label, "cilium"), false),
        ("empty proxy name", with_label(label, ""), false),
        ("our name", with_label(label, OUR_PROXY_NAME), true),
        (
            "headless label",
            with_label("service.kubernetes.io/headless", ""),
            true,
        ),
    ];
    for (case, service, want) in rows {
        assert_eq!(
            plan_of(&plan(&[service], &[]), "web").is_some(),
            want,
            "{case}"
        );
    }
}

#[test]
fn a_load_balancer_has_every_kind_of_frontend_in_both_families() {
    let plan = plan(&[load_balancer("web")], &[]);
    let got: Vec<Vec<_>> = plan_of(&plan, "web")
        .unwrap()
        .ports
        .iter()
        .map(|port| {
            port.frontends
                .iter()
                .map(|one| (one.address, one.port, one.kind))
                .collect()
        })
        .collect();
    let at = |text: &str, kind| (FrontendAddress::Ip(ip(text)), 80, kind);
    let node_port = (FrontendAddress::NodePort, 30_080, FrontendKind::NodePort);
    assert_eq!(
        got,
        [
            vec![
                at("10.96.0.1", FrontendKind::ClusterIp),
                at("203.0.113.1", FrontendKind::ExternalIp),
                at("203.0.113.2", FrontendKind::LoadBalancer),
                node_port,
            ],
            vec![
                at("2001:db8:e::1", FrontendKind::ExternalIp),
                at("2001:db8:f::1", FrontendKind::LoadBalancer),
                at("fd00::1", FrontendKind::ClusterIp),
                node_port,
            ],
        ]
    );
}

#[test]
fn a_family_without_a_cluster_ip_is_not_served() {
    let single = Service {
        cluster_ips: ips(&["10.96.0.1"]),
        ..load_balancer("web")
    };
    assert_eq!(only_port(&plan(&[single], &[])).frontends.len(), 4);
}

#[test]
fn a_cluster_ip_service_has_no_node_port() {
    let ports = vec![ServicePort {
        node_port: Some(30_080),
        ..port("", 80)
    }];
    let plan = plan(
        &[Service {
            ports,
            ..service("web")
        }],
        &[],
    );
    assert_eq!(only_port(&plan).frontends.len(), 1);
}

#[test]
fn ports_are_ordered_by_family_name_and_protocol() {
    let ports = vec![port("b", 81), port("a", 80)];
    let plan = plan(
        &[Service {
            ports,
            ..load_balancer("web")
        }],
        &[],
    );
    let keys: Vec<_> = plan_of(&plan, "web")
        .unwrap()
        .ports
        .iter()
        .map(|port| port.key.clone())
        .collect();
    assert_eq!(keys.len(), 4);
    assert!(keys.is_sorted(), "{keys:?}");
}

#[test]
fn traffic_policies_choose_pools_and_refusals() {
    use TrafficPolicy::{Cluster, Local};
    let rows = [
        (
            Cluster,
            Cluster,
            (Pool::Cluster, Pool::Cluster),
            (Pool::Cluster, Pool::Cluster),
        ),
        (
            Cluster,
            Local,
            (Pool::Cluster, Pool::Cluster),
            (Pool::Local, Pool::Cluster),
        ),
        (
            Local,
            Cluster,
            (Pool::Local, Pool::Local),
            (Pool::Cluster, Pool::Cluster),
        ),
        (
            Local,
            Local,
            (Pool::Local, Pool::Local),
            (Pool::Local, Pool::Cluster),
        ),
    ];
    for (internal_policy, external_policy, for_cluster_ip, for_others) in rows {
        let service = Service {
            internal_policy,
            external_policy,
            ..load_balancer("web")
        };
        for (slices, refusal) in [
            (
                vec![slice(
                    "s",
                    "web",
                    vec![remote("10.1.1.1"), local("10.1.0.1")],
                )],
                Refusal::Drop,
            ),
            (vec![], Refusal::Reject),
        ] {
            let plan = plan(std::slice::from_ref(&service), &slices);
            let port = &plan_of(&plan, "web").unwrap().ports[0];
            for one in &port.frontends {
                let want = match one.kind {
                    FrontendKind::ClusterIp => for_cluster_ip,
                    _ => for_others,
                };
                assert_eq!((one.outside, one.inside), want, "{one:?}");
                assert_eq!(one.refusal, refusal);
            }
            let local_is_used = internal_policy == Local || external_policy == Local;
            assert_eq!(
                port.local.len(),
                usize::from(local_is_used && !slices.is_empty())
            );
        }
    }
}

#[test]
fn an_external_policy_means_something_only_to_services_that_outsiders_reach() {
    let local = Service {
        external_policy: TrafficPolicy::Local,
        ..service("web")
    };
    let lingering = Service {
        load_balancer_ips: ips(&["203.0.113.2"]),
        ..local.clone()
    };
    let plan_lingering = plan(&[lingering], &[]);
    assert_eq!(
        frontend(&plan_lingering, FrontendKind::LoadBalancer).outside,
        Pool::Cluster
    );
    let external = Service {
        external_ips: ips(&["203.0.113.1"]),
        ..local
    };
    assert_eq!(
        frontend(&plan(&[external], &[]), FrontendKind::ExternalIp).outside,
        Pool::Local
    );
}

#[test]
fn masquerade_follows_detector_policy_and_kind() {
    let detector = LocalDetector::Cidrs(nets(&["10.1.0.0/16"]));
    let rows = [
        (LocalDetector::None, false, Masquerade::Never),
        (LocalDetector::None, true, Masquerade::Always),
        (detector.clone(), false, Masquerade::Outside),
        (detector, true, Masquerade::Always),
    ];
    for (detect_local, masquerade_all, for_cluster_ip) in rows {
        let settings = Settings {
            detect_local,
            masquerade_all,
            ..Settings::default()
        };
        for (external_policy, for_others) in [
            (TrafficPolicy::Cluster, Masquerade::Always),
            (TrafficPolicy::Local, Masquerade::FromNode),
        ] {
            let service = Service {
                external_policy,
                ..load_balancer("web")
            };
            let plan = plan_with(settings.clone(), &[service], &[]);
            for one in plan_of(&plan, "web")
                .unwrap()
                .ports
                .iter()
                .flat_map(|port| &port.frontends)
            {
                let want = match one.kind {
                    FrontendKind::ClusterIp => for_cluster_ip,
                    _ => for_others,
                };
                assert_eq!(one.masquerade, want, "{one:?}");
            }
        }
    }
}

#[test]
fn source_ranges_guard_load_balancer_ips_of_their_family_only() {
    let rows = [
        (vec![], None, None),
        (vec!["192.0.2.0/24"], Some(vec!["192.0.2.0/24"]), None),
        (vec!["fd00::/8"], None, Some(vec!["fd00::/8"])),
        (
            vec!["192.0.2.0/24", "0.0.0.0/0", "fd00::/8"],
            None,
            Some(vec!["fd00::/8"]),
        ),
        (
            vec!["198.51.100.0/24", "192.0.2.0/24", "198.51.100.0/24"],
            Some(vec!["192.0.2.0/24", "198.51.100.0/24"]),
            None,
        ),
    ];
    for (ranges, v4, v6) in rows {
        let service = Service {
            source_ranges: nets(&ranges),
            ..load_balancer("web")
        };
        let plan = plan(&[service], &[]);
        for (port, want) in plan_of(&plan, "web").unwrap().ports.iter().zip([v4, v6]) {
            for one in &port.frontends {
                let guarded = one.kind == FrontendKind::LoadBalancer;
                let want = want.as_deref().filter(|_| guarded).map(nets);
                assert_eq!(one.source_ranges, want, "{one:?}");
            }
        }
    }
}

#[test]
fn affinity_is_carried_over() {
    let sticky = Service {
        affinity_seconds: Some(10_800),
        ..service("web")
    };
    assert_eq!(
        only_port(&plan(&[sticky], &[])).affinity_seconds,
        Some(10_800)
    );
}
