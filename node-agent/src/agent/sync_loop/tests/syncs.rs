//! When and how changes are programmed.

use sluice_crds::v1alpha1::Sysctl;

use super::*;

#[test]
fn nothing_is_written_before_everything_was_listed() {
    let mut bench = Bench::new();
    bench.push(service("a", None));
    bench.settle();
    assert!(bench.stage.calls().is_empty() && !bench.health.is_healthy());
    bench.inbox.set_listed();
    bench.settle();
    assert_eq!(bench.stage.calls(), ["nft reconcile 1"]);
    assert!(bench.health.is_healthy());
    assert_eq!(bench.metric("sluice_chains"), "7");
}

#[test]
fn a_burst_is_one_transaction() {
    let mut bench = Bench::at_rest();
    for name in ["b", "c", "b", "d", "b"] {
        bench.push(service(name, None));
    }
    bench.wake();
    assert_eq!(bench.stage.calls(), ["nft apply 3"]);
}

#[test]
fn the_next_sync_starts_an_interval_after_the_end_of_the_last() {
    let mut bench = Bench::at_rest();
    bench.stage.lock().sync_takes = Duration::from_millis(30);
    bench.push(service("b", None));
    bench.wake();
    let end = bench.stage.now();
    bench.push(service("c", None));
    bench.wake();
    let interval = bench.stage.lock().start_of_last_sync.unwrap() - end;
    assert_eq!(interval, Duration::from_millis(50));
}

#[test]
fn a_slow_sync_is_followed_by_a_longer_rest_in_which_changes_gather() {
    let mut bench = Bench::at_rest();
    bench.stage.lock().sync_takes = Duration::from_millis(700);
    bench.push(service("b", None));
    bench.wake();
    let end = bench.stage.now();
    bench.stage.calls();
    bench.push(service("c", None));
    bench.push(service("d", None));
    bench.wake();
    assert_eq!(
        bench.stage.lock().start_of_last_sync.unwrap() - end,
        Duration::from_millis(175)
    );
    assert_eq!(bench.stage.calls(), ["nft apply 2"]);
}

#[test]
fn the_policy_changes_the_interval_while_running() {
    let mut bench = Bench::at_rest();
    bench.push(policy(|spec| spec.sync.min_interval_milliseconds = 2000));
    bench.wake();
    let end = bench.stage.now();
    bench.push(service("b", None));
    bench.wake();
    let interval = bench.stage.lock().start_of_last_sync.unwrap() - end;
    assert_eq!(interval, Duration::from_secs(2));
}

#[test]
fn changes_that_wait_because_the_policy_spaces_syncs_are_not_late() {
    let mut bench = Bench::at_rest();
    let interval = Duration::from_secs(10);
    let longer_than_late = bench
        .stage
        .now()
        .checked_sub(Duration::from_secs(31))
        .unwrap();
    bench.push(policy(|spec| {
        spec.sync.min_interval_milliseconds = u32::try_from(interval.as_millis()).unwrap();
    }));
    bench.wake();
    bench.inbox.push(service("b", None), longer_than_late);
    assert!(bench.health.is_healthy());
    bench.push(policy(|_| ()));
    while bench.inbox.oldest_change().is_some() {
        bench.wake();
    }
    bench.inbox.push(service("c", None), longer_than_late);
    assert!(!bench.health.is_healthy());
}

#[test]
fn after_an_error_the_whole_plan_is_reconciled_with_growing_waits_and_health_is_red_meanwhile() {
    let mut bench = Bench::at_rest();
    bench.stage.lock().failures = VecDeque::from(["apply", "reconcile", "reconcile"]);
    bench.push(service("b", None));
    bench.wake();
    let mut waits = Vec::new();
    for _ in 0..3 {
        assert!(!bench.health.is_healthy());
        let before = bench.stage.now();
        // Later changes wait for the retry.
        bench.push(service("c", None));
        waits.push((bench.wake() - before).as_millis());
    }
    assert_eq!(waits, [250, 500, 1000]);
    assert_eq!(
        bench.stage.calls(),
        [
            "nft apply 1",
            "nft reconcile 3",
            "nft reconcile 3",
            "nft reconcile 3"
        ]
    );
    assert!(bench.health.is_healthy());
    assert_eq!(
        bench.metric("sluice_sync_failures_total{category=\"set_full\"}"),
        "3"
    );
    assert_eq!(
        bench.metric("sluice_sync_failing"),
        "",
        "it is no longer failing"
    );
}

#[test]
fn changes_count_as_pending_until_the_kernel_holds_them() {
    let mut bench = Bench::at_rest();
    bench.stage.lock().failures = VecDeque::from(["apply"]);
    bench.push(service("b", None));
    bench.metrics.sync.queued((1, 0), bench.inbox.waiting());
    bench.wake();
    assert_eq!(
        bench.metric("kubeproxy_sync_proxy_rules_service_changes_pending"),
        "1"
    );
    bench.wake();
    assert_eq!(
        bench.metric("kubeproxy_sync_proxy_rules_service_changes_pending"),
        "0"
    );
}

#[test]
fn health_check_servers_follow_the_plan_once_the_kernel_holds_it() {
    let mut bench = Bench::at_rest();
    let name = ObjectName::new("ns", "b");
    bench.push(service("b", Some(30_100)));
    bench.stage.lock().failures = VecDeque::from(["apply"]);
    bench.wake();
    assert!(bench.health_checks.borrow().is_empty());
    bench.wake();
    assert_eq!(bench.health_checks.borrow()[&name].port, 30_100);
    bench.push(Batch {
        services: BTreeMap::from([(name, None)]),
        ..Batch::default()
    });
    bench.wake();
    assert!(bench.health_checks.borrow_and_update().is_empty());
}

#[test]
fn a_node_that_forwards_nothing_is_told_of_until_it_does() {
    let mut bench = Bench::at_rest();
    let switch = bench.state_dir.path().join("sys/net/ipv4/ip_forward");
    std::fs::create_dir_all(switch.parent().unwrap()).unwrap();
    std::fs::write(&switch, "0\n").unwrap();
    bench.push(Batch {
        node: Some(NodeFacts {
            internal_ips: vec!["192.0.2.1".parse().unwrap()],
            ..NodeFacts::default()
        }),
        ..Batch::default()
    });
    bench.wake();
    assert!(bench.is_told("does not forward IPv4"));
    std::fs::write(&switch, "1\n").unwrap();
    bench.push(service("b", None));
    bench.wake();
    assert!(!bench.is_told("does not forward"));
}

#[test]
fn a_sysctl_that_the_node_does_not_take_is_told_of_until_it_does() {
    let mut bench = Bench::at_rest();
    bench.push(policy(|spec| {
        spec.conntrack.max_per_core = Some(1000);
        spec.sysctls = vec![Sysctl {
            name: "net.core.somaxconn".into(),
            value: "1024".into(),
        }];
        spec.sync.full_interval_seconds = 60;
    }));
    bench.wake();
    let name = "net.core.somaxconn";
    let words = format!(
        "sysctl {name} is not 1024: this kernel has no sysctl {name}; correct it in spec.sysctls"
    );
    assert!(bench.is_told(&words));
    assert!(bench.is_told("nf_conntrack_max; correct it in spec.conntrack"));
    assert!(bench.sync_loop.books.report.borrow().programmed && bench.health.is_healthy());

    let file = bench.state_dir.path().join("sys/net/core/somaxconn");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, "128\n").unwrap();
    let until = bench.stage.now() + Duration::from_secs(61);
    while bench.stage.now() < until {
        bench.wake();
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap().trim(), "1024");
    assert!(!bench.is_told(name) && bench.is_told("nf_conntrack_max"));
}

#[test]
fn the_ports_of_services_are_told_and_not_the_services() {
    let mut bench = Bench::at_rest();
    let told = |bench: &Bench| bench.sync_loop.books.report.borrow().service_ports;
    assert_eq!(told(&bench), 1);
    let mut two_ports = service("b", None);
    let object = two_ports.services.values_mut().next().unwrap();
    let ports = &mut object.as_mut().unwrap().ports;
    ports[0].name = "a".into();
    ports.push(ServicePort {
        name: "b".into(),
        port: 443,
        ..ports[0].clone()
    });
    bench.push(two_ports);
    bench.wake();
    assert_eq!(told(&bench), 3);
    bench.push(service("b", None));
    bench.push(Batch {
        services: BTreeMap::from([(ObjectName::new("ns", "a"), None)]),
        ..Batch::default()
    });
    bench.wake();
    assert_eq!(told(&bench), 1);
}

#[test]
fn pods_are_put_into_sets_of_families_that_are_served_and_of_no_other() {
    let mut bench = Bench::new();
    bench.stage.lock().families = vec![Family::V4];
    let classes = r#"[{"name": "out", "action": "Masquerade"}]"#;
    bench.push(policy(|spec| {
        spec.source_nat.pod_classes = serde_json::from_str(classes).unwrap();
    }));
    bench.inbox.set_listed();
    bench.settle();
    let terms = bench.sync_loop.books.report.borrow().terms.clone().unwrap();
    let treatment = terms.treatment(terms.classes.first());
    let address = |ip: &str| ip.parse().unwrap();
    assert_eq!(treatment.sets_of(address("10.244.0.5")).count(), 1);
    assert_eq!(treatment.sets_of(address("fd00::5")).count(), 0);
    assert!(
        terms
            .sets
            .iter()
            .all(|set| set.name.starts_with("SLUICE-4-"))
    );
}
