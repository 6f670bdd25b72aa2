//! Several services that ask for one frontend.

use sluice_service_plan::catalog::Catalog;
use sluice_service_plan::model::{
    ObjectName, Protocol, Service, ServicePort, ServiceType, Settings, TrafficPolicy,
};
use sluice_service_plan::plan::{FrontendAddress, FrontendKind, LostClaim, PlanChange};

use crate::objects::*;

fn with_external_ip(of: &str, created: i64, cluster_ip: &str) -> Service {
    Service {
        created,
        cluster_ips: ips(&[cluster_ip]),
        external_ips: ips(&["203.0.113.1"]),
        ..service(of)
    }
}

fn lost_to(holder: &str) -> LostClaim {
    LostClaim {
        address: FrontendAddress::Ip(ip("203.0.113.1")),
        port: 80,
        protocol: Protocol::Tcp,
        holder: name(holder),
    }
}

/// Changed services, each with the number of its frontends and what it lost to whom.
fn summary(change: &PlanChange) -> Vec<(&ObjectName, usize, Vec<&LostClaim>)> {
    change
        .services
        .iter()
        .filter_map(|one| {
            let plan = one.after.as_ref()?;
            let frontends = plan.ports.iter().map(|port| port.frontends.len()).sum();
            Some((&one.name, frontends, plan.lost.iter().collect()))
        })
        .collect()
}

#[test]
fn the_older_service_wins_and_the_loser_inherits_in_the_same_change() {
    let (young, middle, old) = (
        with_external_ip("a", 30, "10.96.0.1"),
        with_external_ip("b", 20, "10.96.0.2"),
        with_external_ip("c", 10, "10.96.0.3"),
    );
    let mut catalog = Catalog::new(node(), Settings::default());
    let (a, b, c) = (name("a"), name("b"), name("c"));

    catalog.set_service(young);
    catalog.set_service(middle);
    assert_eq!(
        summary(&catalog.take_changes()),
        [(&a, 1, vec![&lost_to("b")]), (&b, 2, vec![])]
    );
    catalog.set_service(old.clone());
    assert_eq!(
        summary(&catalog.take_changes()),
        [
            (&a, 1, vec![&lost_to("c")]),
            (&b, 1, vec![&lost_to("c")]),
            (&c, 2, vec![])
        ]
    );
    catalog.set_service(Service {
        external_ips: vec![],
        ..old.clone()
    });
    assert_eq!(
        summary(&catalog.take_changes()),
        [
            (&a, 1, vec![&lost_to("b")]),
            (&b, 2, vec![]),
            (&c, 1, vec![])
        ]
    );
    catalog.set_service(old);
    catalog.take_changes();
    catalog.remove_service(&c);
    let change = catalog.take_changes();
    assert_eq!(
        summary(&change),
        [(&a, 1, vec![&lost_to("b")]), (&b, 2, vec![])]
    );
    assert!(
        change
            .services
            .iter()
            .any(|one| one.name == c && one.after.is_none())
    );
}

#[test]
fn a_service_made_anew_is_young_again() {
    let mut catalog = Catalog::new(node(), Settings::default());
    catalog.set_service(with_external_ip("a", 10, "10.96.0.1"));
    catalog.set_service(with_external_ip("b", 20, "10.96.0.2"));
    catalog.take_changes();
    catalog.set_service(with_external_ip("a", 30, "10.96.0.1"));
    let change = catalog.take_changes();
    assert_eq!(
        summary(&change),
        [
            (&name("a"), 1, vec![&lost_to("b")]),
            (&name("b"), 2, vec![])
        ]
    );
}

#[test]
fn a_service_that_lost_everything_is_told_so() {
    let plan = plan(
        &[
            service("a"),
            Service {
                created: 9,
                ..service("b")
            },
        ],
        &[],
    );
    let loser = plan_of(&plan, "a").unwrap();
    assert!(loser.ports.is_empty());
    assert_eq!(loser.lost.len(), 1);
    assert_eq!(loser.lost[0].holder, name("b"));
}

#[test]
fn different_protocols_are_different_frontends() {
    let udp = vec![ServicePort {
        protocol: Protocol::Udp,
        ..port("", 80)
    }];
    let plan = plan(
        &[
            service("a"),
            Service {
                ports: udp,
                ..service("b")
            },
        ],
        &[],
    );
    assert!(
        plan.services
            .values()
            .all(|one| one.lost.is_empty() && one.ports.len() == 1)
    );
}

#[test]
fn a_service_that_asks_twice_gets_the_first_kind() {
    let twice = Service {
        external_ips: ips(&["10.96.0.1", "203.0.113.2"]),
        load_balancer_ips: ips(&["203.0.113.2", "203.0.113.2", "203.0.113.3"]),
        ..service("web")
    };
    let plan = plan(&[twice], &[]);
    let kinds: Vec<_> = only_port(&plan)
        .frontends
        .iter()
        .map(|one| (one.address, one.kind))
        .collect();
    let at = |text: &str, kind| (FrontendAddress::Ip(ip(text)), kind);
    assert_eq!(
        kinds,
        [
            at("10.96.0.1", FrontendKind::ClusterIp),
            at("203.0.113.2", FrontendKind::ExternalIp),
            at("203.0.113.3", FrontendKind::LoadBalancer),
        ]
    );
    assert!(plan_of(&plan, "web").unwrap().lost.is_empty());
}

#[test]
fn two_ports_of_one_service_on_one_frontend_leave_it_to_the_first_by_name() {
    let ports = vec![port("z", 80), port("a", 80)];
    let plan = plan(
        &[Service {
            ports,
            ..service("web")
        }],
        &[],
    );
    assert_eq!(&*only_port(&plan).key.port, "a");
}

#[test]
fn a_health_check_port_goes_to_the_older_service() {
    let balancer = |of: &str, created, last: u8| Service {
        created,
        kind: ServiceType::LoadBalancer,
        cluster_ips: ips(&[&format!("10.96.0.{last}")]),
        external_policy: TrafficPolicy::Local,
        health_check_port: Some(31_000),
        ..service(of)
    };
    let mut catalog = Catalog::new(node(), Settings::default());
    catalog.set_service(balancer("old", 1, 1));
    catalog.set_service(balancer("young", 2, 2));
    catalog.take_changes();
    let young = plan_of(catalog.plan(), "young").unwrap();
    assert!(young.health_check.is_none());
    assert_eq!(young.lost[0].address, FrontendAddress::NodePort);
    assert_eq!(
        (young.lost[0].port, &young.lost[0].holder),
        (31_000, &name("old"))
    );
    assert!(
        plan_of(catalog.plan(), "old")
            .unwrap()
            .health_check
            .is_some()
    );

    catalog.remove_service(&name("old"));
    catalog.take_changes();
    let young = plan_of(catalog.plan(), "young").unwrap();
    assert!(young.health_check.is_some() && young.lost.is_empty());
}
