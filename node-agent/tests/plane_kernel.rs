//! The iptables data plane on the real kernel, both variants, in a network namespace of the test's own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a step that fails is a test that fails

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use nix::sched::{CloneFlags, unshare};
use sluice_agent::data_plane::DataPlane;
use sluice_agent::node_plane::{Doors, FirstServices, NodePlane};
use sluice_crds::v1alpha1::ActiveMode;
use sluice_kernel::iptables::{
    Family, Iptables, IptablesError, IptablesPrograms, Listed, Stamp, Table, Variant,
};
use sluice_service_plan::catalog::Catalog;
use sluice_service_plan::model::{
    AddressType, EndpointSlice, EndpointWeight, LocalDetector, NodeFacts, NodePortAddresses,
    ObjectName, PodAction, PodClass, Protocol, Service, ServicePort, ServiceType, Settings,
    SliceEndpoint, SlicePort, TrafficPolicy,
};

const VARIANTS: [Variant; 2] = [Variant::Legacy, Variant::Nft];

fn in_namespace() {
    unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace of the test's own (needs root)");
    run("ip link set lo up");
}

fn run(command: &str) -> String {
    let words: Vec<&str> = command.split(' ').collect();
    let output = Command::new(words[0])
        .args(&words[1..])
        .output()
        .expect(command);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command}: {error}");
    String::from_utf8(output.stdout).expect("text")
}

fn service(n: u8, edit: impl Fn(&mut Service)) -> Service {
    let mut service = Service {
        name: ObjectName::new("default", format!("s{n}")),
        created: i64::from(n),
        labels: BTreeMap::new(),
        kind: ServiceType::LoadBalancer,
        cluster_ips: vec![
            format!("10.96.0.{n}").parse().unwrap(),
            format!("fd00:10:96::{n:x}").parse().unwrap(),
        ],
        external_ips: vec![format!("198.51.100.{n}").parse().unwrap()],
        load_balancer_ips: vec![
            format!("203.0.113.{n}").parse().unwrap(),
            format!("2001:db8:113::{n:x}").parse().unwrap(),
        ],
        source_ranges: vec![
            "192.0.2.0/24".parse().unwrap(),
            "2001:db8::/64".parse().unwrap(),
        ],
        internal_policy: TrafficPolicy::Cluster,
        external_policy: TrafficPolicy::Local,
        affinity_seconds: None,
        health_check_port: Some(32_000 + u16::from(n)),
        ports: Protocol::ALL
            .iter()
            .enumerate()
            .map(|(i, &protocol)| ServicePort {
                name: Arc::from(protocol.as_str()),
                protocol,
                port: 80,
                node_port: Some(30_000 + u16::from(n) * 3 + u16::try_from(i).unwrap()),
            })
            .collect(),
    };
    edit(&mut service);
    service
}

fn slices(n: u8, endpoints: u16) -> [EndpointSlice; 2] {
    [
        (AddressType::Ipv4, "10.244."),
        (AddressType::Ipv6, "fd00:10:244:"),
    ]
    .map(|(address_type, start)| EndpointSlice {
        name: ObjectName::new("default", format!("s{n}-{start}")),
        service: Arc::from(format!("s{n}")),
        headless: false,
        address_type,
        ports: Protocol::ALL
            .iter()
            .map(|&protocol| SlicePort {
                name: Arc::from(protocol.as_str()),
                protocol,
                port: 8080,
            })
            .collect(),
        endpoints: (0..endpoints)
            .map(|e| SliceEndpoint {
                address: match address_type {
                    AddressType::Ipv6 => format!("{start}:{n:x}:{e:x}").parse().unwrap(),
                    _ => format!("{start}{}.{}", e / 200, e % 200 + 1)
                        .parse()
                        .unwrap(),
                },
                ready: true,
                serving: true,
                terminating: false,
                node: Some(Arc::from(if e % 3 == 0 { "here" } else { "there" })),
                zone: None,
                hints: None,
            })
            .collect(),
    })
}

fn catalog() -> Catalog {
    let node = NodeFacts {
        name: Arc::from("here"),
        internal_ips: vec!["192.0.2.10".parse().unwrap()],
        addresses: ["127.0.0.1", "192.0.2.10", "192.0.2.11", "2001:db8::10"]
            .map(|ip| ip.parse().unwrap())
            .to_vec(),
        pod_cidrs: vec![
            "10.244.0.0/24".parse().unwrap(),
            "fd00:10:244::/64".parse().unwrap(),
        ],
        health_port: Some(10_256),
        ..NodeFacts::default()
    };
    let settings = Settings {
        detect_local: LocalDetector::Cidrs(vec!["10.244.0.0/24".parse().unwrap()]),
        endpoint_weights: vec![EndpointWeight {
            zones: vec![],
            nodes: vec![Arc::from("here")],
            weight: 3,
        }],
        ..Settings::default()
    };
    let mut catalog = Catalog::new(node, settings);
    for n in 1..40 {
        catalog.set_service(service(n, |service| {
            if n % 5 == 0 {
                service.affinity_seconds = Some(600);
            }
        }));
        for slice in slices(n, [0, 1, 2, 3, 9, 50][usize::from(n % 6)]) {
            catalog.set_slice(slice);
        }
    }
    catalog.take_changes();
    catalog
}

#[test]
fn what_is_programmed_is_listed_as_it_was_rendered_and_a_restart_writes_nothing() {
    for variant in VARIANTS {
        in_namespace();
        let catalog = catalog();
        let mut plane = NodePlane::open(variant, ActiveMode::IPTables).unwrap();
        plane.reconcile(catalog.plan()).unwrap();
        assert_eq!(plane.verify().unwrap(), vec![], "{variant}");
        assert_eq!(plane.check().unwrap(), vec![], "{variant}");
        let report = NodePlane::open(variant, ActiveMode::IPTables)
            .unwrap()
            .reconcile(catalog.plan())
            .unwrap();
        assert!(report.is_noop(), "{variant}: {report:?}");
    }
}

#[test]
fn every_setting_is_listed_as_it_was_rendered() {
    let base = catalog().plan().settings.as_ref().clone();
    let detectors = [
        LocalDetector::None,
        LocalDetector::BridgeInterface("cni0".to_owned()),
        LocalDetector::InterfaceNamePrefix("cali".to_owned()),
        LocalDetector::Cidrs(vec!["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()]),
    ];
    let mut all: Vec<Settings> = detectors
        .into_iter()
        .map(|detect_local| Settings {
            detect_local,
            ..base.clone()
        })
        .collect();
    all.push(Settings {
        snat_ports: Some((1024, 65535)),
        random_fully: false,
        ..base.clone()
    });
    let pool = vec![
        "192.0.2.0/24".parse().unwrap(),
        "2001:db8::/64".parse().unwrap(),
    ];
    all.push(Settings {
        snat_addresses: pool.clone(),
        ..base.clone()
    });
    all.push(Settings {
        snat_addresses: pool.clone(),
        snat_ports: Some((1024, 65535)),
        mark_bit: 31,
        ..base.clone()
    });
    for n in 0..all.len() {
        all.push(Settings {
            pod_classes: classes(&pool),
            ..all[n].clone()
        });
    }
    all.push(Settings {
        localhost_node_ports: true,
        tcp_be_liberal: true,
        ..base.clone()
    });
    all.push(Settings {
        node_port_addresses: NodePortAddresses::Primary,
        ..base.clone()
    });
    for variant in VARIANTS {
        in_namespace();
        let mut catalog = catalog();
        let mut plane = NodePlane::open(variant, ActiveMode::IPTables).unwrap();
        plane.reconcile(catalog.plan()).unwrap();
        for settings in &all {
            catalog.set_settings(settings.clone());
            let change = catalog.take_changes();
            plane.apply(catalog.plan(), &change).unwrap();
            assert_eq!(plane.verify().unwrap(), vec![], "{variant} {settings:?}");
            let report = NodePlane::open(variant, ActiveMode::IPTables)
                .unwrap()
                .reconcile(catalog.plan())
                .unwrap();
            assert!(report.is_noop(), "{variant} {settings:?}: {report:?}");
        }
    }
}

#[test]
fn the_rule_for_the_health_port_follows_it() {
    for variant in VARIANTS {
        in_namespace();
        let mut catalog = catalog();
        let mut plane = NodePlane::open(variant, ActiveMode::IPTables).unwrap();
        plane.reconcile(catalog.plan()).unwrap();
        for port in [Some(10_256), Some(10_300), None] {
            catalog.set_node(NodeFacts {
                health_port: port,
                ..catalog.plan().node.as_ref().clone()
            });
            let change = catalog.take_changes();
            plane.apply(catalog.plan(), &change).unwrap();
            assert_eq!(plane.verify().unwrap(), vec![], "{variant} {port:?}");
            for (program, family) in [("iptables", 4), ("ip6tables", 6)] {
                let rules = run(&format!("{program}-{variant}-save -t filter"));
                let rules = rules.lines().filter(|rule| rule.contains("--dport"));
                let expected = port.map(|port| {
                    format!(
                        "-A SLUICE-INPUT -p tcp -m tcp --dport {port} -m set --match-set SLUICE-{family}-EXTERNAL-IP dst -j ACCEPT"
                    )
                });
                assert!(rules.eq(expected.iter()), "{program}-{variant} {port:?}");
            }
        }
    }
}

/// One of each sort.
fn classes(addresses: &[ipnet::IpNet]) -> Vec<PodClass> {
    let mut classes = Vec::new();
    for action in [
        PodAction::Preserve,
        PodAction::Masquerade,
        PodAction::Snat(addresses.to_vec()),
    ] {
        for egress in [false, true] {
            for out_interface in [None, Some("eth0".to_owned())] {
                classes.push(PodClass {
                    name: Arc::from(format!("c{}", classes.len())),
                    action: action.clone(),
                    egress,
                    out_interface,
                });
            }
        }
    }
    classes
}

#[test]
fn sets_of_classes_keep_what_others_put_there_and_go_with_their_class() {
    for variant in VARIANTS {
        in_namespace();
        let mut catalog = catalog();
        let plain = catalog.plan().settings.as_ref().clone();
        let mut plane = NodePlane::open(variant, ActiveMode::IPTables).unwrap();
        plane.reconcile(catalog.plan()).unwrap();
        let own = |sets: &str| sets.lines().filter(|name| name.contains("-POD-")).count();
        assert_eq!(own(&run("ipset list -name")), 4, "{variant}");

        let addresses = ["192.0.2.0/24".parse().unwrap()];
        catalog.set_settings(Settings {
            pod_classes: classes(&addresses),
            ..plain.clone()
        });
        let change = catalog.take_changes();
        plane.apply(catalog.plan(), &change).unwrap();
        let sets = run("ipset list -name");
        assert_eq!(own(&sets), 4 + 20, "{variant}: {sets}");
        let of_pods = sets
            .lines()
            .filter(|name| name.starts_with("SLUICE-4-POD-"));
        let of_pods: Vec<&str> = of_pods.collect();
        for set in &of_pods {
            run(&format!("ipset add {set} 10.244.0.9"));
        }
        assert_eq!(plane.check().unwrap(), [], "{variant}");
        assert_eq!(plane.verify().unwrap(), [], "{variant}");
        let restarted = NodePlane::open(variant, ActiveMode::IPTables)
            .unwrap()
            .reconcile(catalog.plan())
            .unwrap();
        assert!(restarted.is_noop(), "{variant}: {restarted:?}");
        for set in &of_pods {
            run(&format!("ipset test {set} 10.244.0.9"));
        }

        catalog.set_settings(plain);
        let change = catalog.take_changes();
        plane.apply(catalog.plan(), &change).unwrap();
        assert_eq!(own(&run("ipset list -name")), 4, "{variant}");
        run("ipset test SLUICE-4-POD-MASQ 10.244.0.9");
        let rules = run(&format!("iptables-{variant}-save"));
        assert!(!rules.contains("-POD-"), "{variant}: {rules}");
        assert_eq!(plane.remove().len(), 0, "{variant}");
        assert_eq!(run("ipset list -name").trim(), "", "{variant}");
    }
}

#[test]
fn one_endpoint_change_is_one_transaction_and_few_bytes() {
    for variant in VARIANTS {
        in_namespace();
        let mut catalog = catalog();
        let mut plane = NodePlane::open(variant, ActiveMode::IPTables).unwrap();
        plane.reconcile(catalog.plan()).unwrap();
        let [slice, _] = slices(3, 4);
        catalog.set_slice(slice);
        let change = catalog.take_changes();
        let report = plane.apply(catalog.plan(), &change).unwrap();
        assert_eq!(
            (report.transactions, report.programs_started),
            (1, 1),
            "{variant}: {report:?}"
        );
        assert!(report.bytes_written < 20_000, "{variant}: {report:?}");
        assert_eq!(plane.verify().unwrap(), vec![], "{variant}");
    }
}

#[test]
fn drift_is_seen_by_counts_or_by_comparison_and_mended_without_touching_others() {
    for variant in VARIANTS {
        in_namespace();
        let iptables = format!("iptables-{variant}");
        run(&format!("{iptables} -w -t nat -N DOCKER"));
        run(&format!(
            "{iptables} -w -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER"
        ));
        run(&format!(
            "{iptables} -w -t nat -A DOCKER -p tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80"
        ));
        let catalog = catalog();
        let mut plane = NodePlane::open(variant, ActiveMode::IPTables).unwrap();
        plane.reconcile(catalog.plan()).unwrap();
        let tampers = [
            (format!("{iptables} -w -t nat -F SLUICE-FRONTENDS"), true),
            (
                format!("{iptables} -w -D INPUT -m comment --comment XX -j SLUICE-INPUT"),
                false,
            ),
            (
                format!("{iptables} -w -t nat -A SLUICE-SERVICES -j RETURN"),
                false,
            ),
            ("ipset del SLUICE-4-CLUSTER-IP 10.96.0.3".to_owned(), true),
            ("ipset flush SLUICE-6-MASQ-OUTSIDE".to_owned(), false),
            (format!("{iptables} -w -F SLUICE-REFUSE"), true),
        ];
        for (tamper, by_counts) in tampers {
            let words = tamper.replace("-m comment --comment XX ", "");
            if words == tamper {
                run(&tamper);
            } else {
                let status = Command::new(&iptables)
                    .args([
                        "-w",
                        "-D",
                        "INPUT",
                        "-m",
                        "comment",
                        "--comment",
                        "sluice: refused service traffic",
                        "-j",
                        "SLUICE-INPUT",
                    ])
                    .status();
                assert!(status.unwrap().success());
            }
            assert!(
                !plane.check().unwrap().is_empty() || !by_counts,
                "{variant}: counts did not see {tamper}"
            );
            let drifts = plane.verify().unwrap();
            assert!(
                !drifts.is_empty() || tamper.contains("flush"),
                "{variant}: not seen: {tamper}"
            );
            plane.reconcile(catalog.plan()).unwrap();
            assert_eq!(
                plane.verify().unwrap(),
                vec![],
                "{variant}: not mended: {tamper}"
            );
            assert_eq!(
                plane.check().unwrap(),
                vec![],
                "{variant}: not mended: {tamper}"
            );
        }
        assert!(plane.remove().is_empty(), "{variant}");
        assert_eq!(run("ipset list -n"), "", "{variant}");
        let left = run(&format!("{iptables}-save"));
        assert!(!left.contains("SLUICE"), "{variant}: {left}");
        assert!(
            left.contains(
                "-A DOCKER -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80"
            ),
            "{left}"
        );
    }
}

#[test]
fn a_changed_affinity_timeout_forgets_no_client() {
    in_namespace();
    let mut catalog = catalog();
    let mut plane = NodePlane::open(Variant::Nft, ActiveMode::IPTables).unwrap();
    plane.reconcile(catalog.plan()).unwrap();
    let names = run("ipset list -n");
    let set = names
        .lines()
        .find(|name| name.starts_with("SLUICE-4-A-"))
        .expect("an affinity set")
        .to_owned();
    run(&format!("ipset add {set} 192.0.2.100 timeout 500"));
    for n in [5, 10, 15, 20, 25, 30, 35] {
        catalog.set_service(service(n, |service| service.affinity_seconds = Some(6000)));
    }
    let change = catalog.take_changes();
    plane.apply(catalog.plan(), &change).unwrap();
    let listed = run(&format!("ipset list {set}"));
    // 600 - 500 seconds were over; so many are over of the 6000.
    let left: u32 = listed
        .lines()
        .find_map(|line| line.strip_prefix("192.0.2.100 timeout "))
        .unwrap_or_else(|| panic!("the client is forgotten: {listed}"))
        .parse()
        .unwrap();
    assert!((5700..=5900).contains(&left), "{left}");
    assert!(listed.contains("timeout 6000"), "{listed}");
}

#[test]
fn affinity_sets_that_rules_of_the_other_variant_use_are_destroyed_once_those_are_gone() {
    for (n, former) in VARIANTS.into_iter().enumerate() {
        in_namespace();
        let used = || {
            let names = run("ipset list -n");
            names.lines().filter(|name| name.contains("-A-")).count()
        };
        let mut catalog = catalog();
        let mut old = NodePlane::open(former, ActiveMode::IPTables).unwrap();
        old.reconcile(catalog.plan()).unwrap();
        let before = used();

        let [slice, _] = slices(10, 8);
        catalog.set_slice(slice);
        catalog.take_changes();
        let mut new = NodePlane::open(VARIANTS[1 - n], ActiveMode::IPTables).unwrap();
        new.reconcile(catalog.plan()).unwrap();
        assert_eq!(used(), before, "{former}");
        // The endpoint comes back with its clients, and goes again.
        for endpoints in [9, 8] {
            let [slice, _] = slices(10, endpoints);
            catalog.set_slice(slice);
            let change = catalog.take_changes();
            new.apply(catalog.plan(), &change).unwrap();
            assert_eq!(new.verify().unwrap(), vec![], "{former}");
        }
        assert_eq!(used(), before, "{former}");

        assert!(old.remove_rules().is_empty(), "{former}");
        new.reconcile(catalog.plan()).unwrap();
        assert_eq!(used(), before - Protocol::ALL.len(), "{former}");
        assert_eq!(new.verify().unwrap(), vec![], "{former}");
    }
}

#[test]
fn a_restart_lists_no_rules_if_nobody_committed_since_and_lists_them_if_somebody_did() {
    in_namespace();
    let run_dir = tempfile::tempdir().unwrap();
    let open = || {
        NodePlane::open(Variant::Nft, ActiveMode::IPTables)
            .unwrap()
            .remembering_in(run_dir.path())
    };
    let mut catalog = catalog();
    let mut plane = open();
    plane.reconcile(catalog.plan()).unwrap();
    let [slice, _] = slices(3, 4);
    catalog.set_slice(slice);
    let change = catalog.take_changes();
    plane.apply(catalog.plan(), &change).unwrap();

    let mut plane = open();
    let report = plane.reconcile(catalog.plan()).unwrap();
    assert!(report.is_noop(), "{report:?}");
    assert_eq!(report.programs_started, 0, "it was listed all the same");
    assert_eq!(plane.verify().unwrap(), vec![]);

    for edit in [
        "iptables-nft -t nat -F SLUICE-FRONTENDS",
        "iptables-nft -t nat -D OUTPUT 1",
        "nft flush table ip6 nat",
        "nft delete table ip filter",
    ] {
        run(edit);
        let mut plane = open();
        let report = plane.reconcile(catalog.plan()).unwrap();
        assert!(report.transactions > 0, "{edit}: {report:?}");
        assert_eq!(plane.verify().unwrap(), vec![], "{edit}");
    }

    // Somebody else's own table is no drift, but it may have been: it is listed once.
    run("nft add table inet somebody");
    let report = open().reconcile(catalog.plan()).unwrap();
    assert!(
        report.is_noop() && report.programs_started > 0,
        "{report:?}"
    );
    let report = open().reconcile(catalog.plan()).unwrap();
    assert_eq!(report.programs_started, 0, "{report:?}");
}

/// The node's iptables, until so many restores were made: then the agent is dead.
struct DiesAfter {
    door: IptablesPrograms,
    restores: u64,
}

impl Iptables for DiesAfter {
    fn variant(&self) -> Variant {
        self.door.variant()
    }

    fn restore(&mut self, family: Family, input: &str) -> Result<(), IptablesError> {
        let Some(left) = self.restores.checked_sub(1) else {
            return Err(IptablesError::TimedOut {
                program: "iptables-restore".to_owned(),
                seconds: 1,
            });
        };
        self.restores = left;
        self.door.restore(family, input)
    }

    fn list(
        &mut self,
        family: Family,
        table: Table,
        on_item: &mut dyn FnMut(Listed<'_>),
    ) -> Result<(), IptablesError> {
        self.door.list(family, table, on_item)
    }

    fn stamp(&mut self) -> Option<Stamp> {
        self.door.stamp()
    }

    fn programs_started(&self) -> u64 {
        self.door.programs_started()
    }

    fn bytes_written(&self) -> u64 {
        self.door.bytes_written()
    }
}

/// So many services with one endpoint each, and cluster DNS.
fn large(services: u16) -> Catalog {
    let mut catalog = catalog();
    let put = |catalog: &mut Catalog, name: ObjectName, ip: String, endpoint: String| {
        let port: Arc<str> = Arc::from("p");
        catalog.set_slice(EndpointSlice {
            name: ObjectName::new(Arc::clone(&name.namespace), format!("{}-a", name.name)),
            service: Arc::clone(&name.name),
            headless: false,
            address_type: AddressType::Ipv4,
            ports: vec![SlicePort {
                name: Arc::clone(&port),
                protocol: Protocol::Udp,
                port: 1053,
            }],
            endpoints: vec![SliceEndpoint::new(endpoint.parse().unwrap())],
        });
        catalog.set_service(Service {
            cluster_ips: vec![ip.parse().unwrap()],
            ports: vec![ServicePort {
                name: port,
                protocol: Protocol::Udp,
                port: 53,
                node_port: None,
            }],
            ..Service::new(name)
        });
    };
    for n in 0..services {
        let [high, low] = n.to_be_bytes();
        put(
            &mut catalog,
            ObjectName::new("many", format!("m{n}")),
            format!("10.100.{high}.{low}"),
            format!("10.245.{high}.{low}"),
        );
    }
    put(
        &mut catalog,
        ObjectName::new("kube-system", "kube-dns"),
        "10.97.0.10".to_owned(),
        "10.244.0.53".to_owned(),
    );
    catalog.take_changes();
    catalog
}

#[test]
fn at_a_cold_start_cluster_dns_is_in_the_kernel_before_any_other_of_5000_services() {
    let catalog = large(5000);
    let first = FirstServices::default().of(catalog.plan()).unwrap();
    for variant in VARIANTS {
        in_namespace();
        let mut plane = NodePlane::open(variant, ActiveMode::IPTables).unwrap();
        let families = [Family::V4, Family::V6];
        // The last of each family leads to what refuses: it waits for the other services too.
        let refusals = families.len() as u64;
        let transactions = plane.reconcile(&first).unwrap().transactions - refusals;

        in_namespace();
        let door = DiesAfter {
            door: IptablesPrograms::open(variant).unwrap(),
            restores: transactions,
        };
        let doors = Doors::with(Box::new(door), &families).unwrap();
        let start = Instant::now();
        let died = NodePlane::new(doors, &families, ActiveMode::IPTables).reconcile(catalog.plan());
        assert!(died.is_err(), "{variant}");
        let until_dns = start.elapsed();
        let rules = run(&format!("iptables-{variant}-save -t nat"));
        assert!(
            rules.contains("--to-destination 10.244.0.53:1053"),
            "{variant}: cluster DNS is not served: {rules}"
        );
        assert!(!rules.contains("10.245."), "{variant}: others came with it");
        run("ipset test SLUICE-4-CLUSTER-IP 10.97.0.10");

        let start = Instant::now();
        let mut plane = NodePlane::open(variant, ActiveMode::IPTables).unwrap();
        plane.reconcile(catalog.plan()).unwrap();
        eprintln!(
            "{variant}: first {until_dns:.1?}, the rest {:.1?}",
            start.elapsed()
        );
        assert_eq!(plane.verify().unwrap(), vec![], "{variant}");
        let rules = run(&format!("iptables-{variant}-save -t nat"));
        assert!(
            rules.contains("--to-destination 10.245.19.135:1053"),
            "{variant}"
        );
    }
}
