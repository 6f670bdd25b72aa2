//! The IPVS balancer on the kernel, in a network namespace of the test's own.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a step that fails is a test that fails"
)]

use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use nix::sched::{CloneFlags, unshare};
use sluice_agent::balancer::ipvs::kube_proxy_left::{CleaningDoors, KubeProxyLeft};
use sluice_agent::balancer::ipvs::{Doors, IpvsBalancer};
use sluice_agent::balancer::{Balancer, Scope};
use sluice_kernel::address_set::IpsetNetlink;
use sluice_kernel::conntrack::ConntrackNetlink;
use sluice_kernel::ipvs::{IpvsError, IpvsNetlink};
use sluice_kernel::links::NetlinkLinks;
use sluice_service_plan::catalog::Catalog;
use sluice_service_plan::model::{
    AddressType, EndpointSlice, Family, NodeFacts, ObjectName, Protocol, Service, ServicePort,
    ServiceType, Settings, SliceEndpoint, SlicePort, TrafficPolicy, VipBinding,
};

/// Moves the thread into a network namespace with an address and a default route; false where the kernel has no IPVS.
fn node_with_ipvs() -> bool {
    unshare(CloneFlags::CLONE_NEWNET).unwrap();
    run("ip link set lo up");
    run("ip link add eth0 type veth peer name uplink");
    run("ip address add 192.0.2.10/24 dev eth0");
    run("ip address add 2001:db8::10/64 dev eth0 nodad");
    run("ip link set eth0 up && ip link set uplink up");
    run("ip route add default via 192.0.2.1 && ip route add default via 2001:db8::1");
    match IpvsNetlink::open() {
        Ok(_) => true,
        Err(IpvsError::Absent) => {
            assert!(
                std::env::var_os("SLUICE_REQUIRE_IPVS").is_none(),
                "this kernel has no IPVS, and SLUICE_REQUIRE_IPVS asks for it"
            );
            eprintln!("SKIP: this kernel has no IPVS");
            false
        }
        Err(error) => panic!("{error}"),
    }
}

fn run(script: &str) -> String {
    let output = Command::new("sh").args(["-ec", script]).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{script}: {told}");
    String::from_utf8(output.stdout).unwrap()
}

fn balancer() -> IpvsBalancer {
    let doors = Doors {
        ipvs: Box::new(IpvsNetlink::open().unwrap()),
        links: Box::new(NetlinkLinks::open().unwrap()),
        sets: Box::new(IpsetNetlink::open().unwrap()),
    };
    IpvsBalancer::new(doors, &Family::ALL)
}

fn catalog() -> Catalog {
    let ips = |list: &[&str]| {
        list.iter()
            .map(|ip| ip.parse().unwrap())
            .collect::<Vec<_>>()
    };
    let node = NodeFacts {
        name: Arc::from("here"),
        internal_ips: ips(&["192.0.2.10", "2001:db8::10"]),
        addresses: ips(&["127.0.0.1", "::1", "192.0.2.10", "2001:db8::10"]),
        ..NodeFacts::default()
    };
    let mut catalog = Catalog::new(node, Settings::default());
    for (n, protocol) in Protocol::ALL.into_iter().enumerate() {
        let name = format!("s{n}");
        catalog.set_service(Service {
            kind: ServiceType::NodePort,
            cluster_ips: ips(&[
                &format!("10.96.0.{}", n + 1),
                &format!("fd00:96::{}", n + 1),
            ]),
            external_ips: ips(&["198.51.100.1"]),
            external_policy: TrafficPolicy::Local,
            affinity_seconds: (n == 0).then_some(60),
            ports: vec![ServicePort {
                name: Arc::from(""),
                protocol,
                port: 80 + u16::try_from(n).unwrap(),
                node_port: Some(30_080),
            }],
            ..Service::new(ObjectName::new("default", name.as_str()))
        });
        put_endpoints(&mut catalog, n, &["10.1.0.1", "10.1.0.2"]);
        put_endpoints(&mut catalog, n, &["fd00:1::1", "fd00:1::2"]);
    }
    catalog
}

/// The last of them on this node.
fn put_endpoints(catalog: &mut Catalog, of: usize, endpoints: &[&str]) {
    let v6 = endpoints[0].contains(':');
    catalog.set_slice(EndpointSlice {
        name: ObjectName::new("default", format!("s{of}-{v6}")),
        service: Arc::from(format!("s{of}")),
        headless: false,
        address_type: if v6 {
            AddressType::Ipv6
        } else {
            AddressType::Ipv4
        },
        ports: vec![SlicePort {
            name: Arc::from(""),
            protocol: Protocol::ALL[of],
            port: 8080,
        }],
        endpoints: endpoints
            .iter()
            .map(|endpoint| SliceEndpoint {
                node: Some(Arc::from(if endpoint.ends_with('2') {
                    "here"
                } else {
                    "there"
                })),
                ..SliceEndpoint::new(endpoint.parse().unwrap())
            })
            .collect(),
    });
}

fn servers() -> String {
    run("ipvsadm -Sn")
}

/// Names of all links; their state may come later than they do.
fn links() -> Vec<String> {
    let listed = run("ip -o link");
    let names = listed.lines().filter_map(|line| line.split(": ").nth(1));
    names.map(ToOwned::to_owned).collect()
}

fn start(balancer: &mut IpvsBalancer, catalog: &mut Catalog) -> bool {
    catalog.take_changes();
    balancer.adopt().unwrap();
    let mut report = balancer.apply(catalog.plan(), Scope::All).unwrap();
    report += balancer.activate().unwrap();
    assert_eq!(balancer.verify().unwrap(), vec![]);
    assert_eq!(balancer.check().unwrap(), vec![]);
    assert_eq!(balancer.conditions(), Vec::<String>::new());
    report.is_noop()
}

#[test]
fn the_kernel_holds_what_was_programmed_and_gives_back_what_was_its_own() {
    if !node_with_ipvs() {
        return;
    }
    run("ipvsadm -A -t 10.50.0.1:80 -s wlc && ipvsadm -a -t 10.50.0.1:80 -r 10.9.9.9:80 -m");
    let (foreign, before) = (servers(), links());
    let mut catalog = catalog();
    let mut first = balancer();
    assert!(!start(&mut first, &mut catalog));
    let programmed = servers();
    // One for each: cluster IPs of two families, external IP, node ports of two families, marks of two families with
    // and without the masquerade bit.
    let per_service = 2 + 1 + 2 + 4;
    assert_eq!(programmed.matches("-A ").count(), 1 + 3 * per_service);
    assert!(
        programmed.contains("-A -t 10.96.0.1:80 -s rr -p 60"),
        "{programmed}"
    );
    let route = run("ip route show table local 10.96.0.1");
    for part in ["dev kube-ipvs0", "proto 92", "src 192.0.2.10"] {
        assert!(route.contains(part), "{route}");
    }
    run("ip -6 route show table local fd00:96::1 | grep -q 'proto 92'");
    let marks = run("ipset list SLUICE-4-V-INSIDE");
    assert!(
        marks.contains("198.51.100.1,tcp:80 skbmark 0x5c"),
        "{marks}"
    );

    let mut second = balancer();
    assert!(
        start(&mut second, &mut catalog),
        "a restart wrote something"
    );
    assert_eq!(servers(), programmed);

    assert!(second.remove().is_empty());
    assert_eq!(servers(), foreign);
    assert_eq!(links(), before);
    assert!(run("ipset list -n").is_empty());
    assert!(!run("ip route show table local").contains("proto 92"));
}

#[test]
fn changes_and_departures_reach_the_kernel() {
    if !node_with_ipvs() {
        return;
    }
    let mut catalog = catalog();
    let mut balancer = balancer();
    start(&mut balancer, &mut catalog);
    for n in 0..2 {
        put_endpoints(&mut catalog, n, &["10.1.0.2", "10.1.0.4"]);
    }
    let change = catalog.take_changes();
    balancer
        .apply(catalog.plan(), Scope::Change(&change))
        .unwrap();
    assert_eq!(balancer.verify().unwrap(), vec![]);
    let changed = servers();
    assert!(
        changed.contains("-t 10.96.0.1:80 -r 10.1.0.1:8080 -m -w 0"),
        "{changed}"
    );
    assert!(
        !changed.contains("-u 10.96.0.2:81 -r 10.1.0.1:8080"),
        "{changed}"
    );
    assert_eq!(balancer.drain(Instant::now()).unwrap().waiting, 0);
    assert!(!servers().contains("-t 10.96.0.1:80 -r 10.1.0.1:8080"));

    // Another binding, and back.
    let before = (servers(), run("ip route show table local"));
    let mut settings = Settings::default();
    settings.ipvs.vip_binding = VipBinding::Dummy;
    for settings in [settings, Settings::default()] {
        catalog.set_settings(settings);
        let change = catalog.take_changes();
        balancer
            .apply(catalog.plan(), Scope::Change(&change))
            .unwrap();
        assert_eq!(balancer.verify().unwrap(), vec![]);
        assert_eq!(balancer.check().unwrap(), vec![]);
        for (ip, source) in [("10.96.0.1", "192.0.2.10"), ("fd00:96::1", "2001:db8::10")] {
            let found = run(&format!("ip route get {ip}"));
            assert!(found.contains(&format!("src {source} ")), "{found}");
        }
    }
    assert_eq!((servers(), run("ip route show table local")), before);

    balancer.deactivate().unwrap();
    assert_eq!(balancer.drain(Instant::now()).unwrap().waiting, 0);
    assert!(!servers().contains("-t 10.96.0.1:80"));
    assert!(balancer.remove().is_empty());
    assert!(servers().is_empty());
}

/// As kube-proxy leaves it, with more than the services of the catalog; and what keepalived has on an external address of one.
const LEFT_BY_KUBE_PROXY: &str = "
ip link add kube-ipvs0 type dummy
ip address add 10.96.0.1/32 dev kube-ipvs0
ip address add 10.96.0.99/32 dev kube-ipvs0
ip address add fd00:96::1/128 dev kube-ipvs0 nodad
ipset create KUBE-CLUSTER-IP hash:ip,port family inet hashsize 1024 maxelem 65536
ipset add KUBE-CLUSTER-IP 10.96.0.1,tcp:80
ipset add KUBE-CLUSTER-IP 10.96.0.99,tcp:443
ipset create KUBE-6-CLUSTER-IP hash:ip,port family inet6 hashsize 1024 maxelem 65536
ipset add KUBE-6-CLUSTER-IP fd00:96::1,tcp:80
ipset create KUBE-NODE-PORT-TCP bitmap:port range 0-65535
ipset add KUBE-NODE-PORT-TCP 30080
ipset create KUBE-IPVS-IPS hash:ip family inet hashsize 1024 maxelem 65536
ipset add KUBE-IPVS-IPS 10.96.0.1
ipset add KUBE-IPVS-IPS 10.96.0.99
ipset create KUBE-6-IPVS-IPS hash:ip family inet6 hashsize 1024 maxelem 65536
ipset add KUBE-6-IPVS-IPS fd00:96::1
ipvsadm --restore <<END
-A -t 10.96.0.1:80 -s rr -p 60
-a -t 10.96.0.1:80 -r 10.1.0.1:8080 -m -w 1
-a -t 10.96.0.1:80 -r 10.1.0.2:8080 -m -w 1
-A -t 10.96.0.99:443 -s rr
-a -t 10.96.0.99:443 -r 10.1.0.1:6443 -m -w 1
-A -t [fd00:96::1]:80 -s rr
-a -t [fd00:96::1]:80 -r [fd00:1::1]:8080 -m -w 1
-A -t 192.0.2.10:30080 -s lc
-a -t 192.0.2.10:30080 -r 10.1.0.9:8080 -m -w 1
-A -t 198.51.100.1:80 -s wrr
-a -t 198.51.100.1:80 -r 192.0.2.77:80 -g -w 3
END
";

fn cleaning_doors() -> CleaningDoors {
    CleaningDoors {
        ipvs: Some(Box::new(IpvsNetlink::open().unwrap())),
        links: Box::new(NetlinkLinks::open().unwrap()),
        sets: Box::new(IpsetNetlink::open().unwrap()),
        conntrack: Box::new(ConntrackNetlink::open().unwrap()),
    }
}

#[test]
fn what_kube_proxy_left_is_taken_over_and_what_is_anothers_is_not() {
    if !node_with_ipvs() {
        return;
    }
    run(LEFT_BY_KUBE_PROXY);
    let mut catalog = catalog();
    let mut first = balancer();
    let program = |balancer: &mut IpvsBalancer, catalog: &mut Catalog| {
        catalog.take_changes();
        balancer.adopt().unwrap();
        let mut report = balancer.apply(catalog.plan(), Scope::All).unwrap();
        report += balancer.activate().unwrap();
        assert_eq!(balancer.verify().unwrap(), vec![]);
        assert_eq!(balancer.check().unwrap(), vec![]);
        let told = balancer.conditions();
        assert!(
            told.len() == 1 && told[0].contains("198.51.100.1:80"),
            "{told:?}"
        );
        report.is_noop()
    };
    assert!(!program(&mut first, &mut catalog));
    let held = servers();
    for line in [
        "-A -t 10.96.0.1:80 -s rr -p 60\n",
        "-A -t [fd00:96::1]:80 -s rr -p 60\n",
        "-a -t [fd00:96::1]:80 -r [fd00:1::2]:8080 -m -w 1\n",
        "-A -t 192.0.2.10:30080 -s rr -p 60\n",
        "-a -t 192.0.2.10:30080 -r 10.1.0.9:8080 -m -w 0\n",
        "-A -t 198.51.100.1:80 -s wrr\n-a -t 198.51.100.1:80 -r 192.0.2.77:80 -g -w 3\n",
    ] {
        assert!(held.contains(line), "{line} is missing in\n{held}");
    }
    assert_eq!(first.drain(Instant::now()).unwrap().waiting, 0);
    assert!(program(&mut balancer(), &mut catalog), "a restart wrote");

    let left = KubeProxyLeft::find(cleaning_doors(), &Family::ALL).unwrap();
    assert_eq!(
        left.objects(),
        "virtual server TCP 10.96.0.99:443
address 10.96.0.1 of kube-ipvs0
address 10.96.0.99 of kube-ipvs0
address fd00:96::1 of kube-ipvs0
"
    );
    assert_eq!(left.unclear, [""; 0]);
    let before = (servers(), run("ip route show table local proto 92"));
    assert_eq!(left.remove(cleaning_doors(), false).unwrap(), [""; 0]);
    let gone = "-A -t 10.96.0.99:443 -s rr\n-a -t 10.96.0.99:443 -r 10.1.0.1:6443 -m -w 1\n";
    assert_eq!(servers(), before.0.replace(gone, ""));
    assert_eq!(run("ip route show table local proto 92"), before.1);
    assert_eq!(run("ip -o address show dev kube-ipvs0 scope global"), "");
    for set in [
        "CLUSTER-IP",
        "6-CLUSTER-IP",
        "NODE-PORT-TCP",
        "IPVS-IPS",
        "6-IPVS-IPS",
    ] {
        run(&format!("ipset destroy KUBE-{set}"));
    }
    let mut last = balancer();
    assert!(program(&mut last, &mut catalog), "something of ours went");
    assert!(last.remove().is_empty());
    assert_eq!(
        servers(),
        "-A -t 198.51.100.1:80 -s wrr\n-a -t 198.51.100.1:80 -r 192.0.2.77:80 -g -w 3\n"
    );
    assert!(!run("ip -o link").contains("kube-ipvs0"));
}
