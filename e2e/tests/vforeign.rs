//! What others have in IPVS, on devices, in sets and rules, before a data plane comes, stays as it is while it runs and when it is gone.

// Helpers of tests may fail as tests do.
#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;
use std::net::SocketAddr;

use sluice_e2e::changes::ServedNode;
use sluice_e2e::lab::places::{A1, A2, A3, B1, CLIENT, NODE};
use sluice_e2e::lab::{Lab, Outcome, Probe};
use sluice_e2e::packets::build::{
    NODE_PORT, PORT, all_ready, cluster_ip, only, outside_ip, service,
};
use sluice_e2e::packets::planes::{self, PlaneUnderTest};
use sluice_service_plan::model::{Family, Protocol, Settings};

/// A virtual server of another program, on the node's own address.
const THEIRS: u16 = 9999;

/// Makes what others have, on the device that is ours too.
fn populate(lab: &Lab, plane: &PlaneUnderTest) {
    let node = lab.node();
    node.ip("link add kube-ipvs0 type dummy
        link set kube-ipvs0 up
        addr add 172.31.0.1/32 dev kube-ipvs0
        addr add fd00:31::1/128 dev kube-ipvs0 nodad
        link add theirs0 type dummy
        link set theirs0 up
        addr add 172.31.0.2/32 dev theirs0
        route add local 172.31.0.3 dev theirs0 table local proto 99
        route add local 172.31.0.4 dev kube-ipvs0 table local proto 99")
        .unwrap();
    let servers = format!(
        "-A -t {node}:{THEIRS} -s wlc -p 77
-a -t {node}:{THEIRS} -r {pod}:8080 -m -w 5
-A -f 77 -s rr
-a -f 77 -r {pod}:0 -m
-A -u 172.31.0.1:53 -s sh
",
        node = NODE.v4,
        pod = A3.v4
    );
    node.program("ipvsadm", &["--restore"], &servers).unwrap();
    for line in [
        "create THEIRS hash:ip,port",
        "add THEIRS 10.96.0.10,tcp:80",
        "create KUBE-CLUSTER-IP hash:ip,port",
    ] {
        node.command(&format!("ipset {line}")).unwrap();
    }
    for program in [plane.programs.v4, plane.programs.v6] {
        for line in [
            "-t nat -N THEIRS",
            "-t nat -A PREROUTING -p tcp --dport 9998 -j THEIRS",
            "-t filter -A INPUT -p tcp --dport 9998 -j DROP",
            "-t mangle -A OUTPUT -p udp --dport 9998 -j MARK --set-xmark 0x80/0x80",
        ] {
            node.command(&format!("{program} -w {line}")).unwrap();
        }
    }
}

/// All of it as the kernel lists it, without what is ours.
fn others(lab: &Lab, plane: &PlaneUnderTest) -> String {
    let ours =
        [cluster_ip, outside_ip].map(|ip| Family::ALL.map(|family| ip(family, 10).to_string()));
    let is_ours = |line: &str| {
        line.contains("SLUICE")
            || line.contains("proto 92")
            || ours
                .as_flattened()
                .iter()
                .any(|ip| line.contains(ip.as_str()))
            || line.contains(&format!(":{NODE_PORT}"))
            || mark(line).is_some_and(|mark| mark >> 24 == 0x5c)
    };
    let commands = [
        "ipvsadm --save -n".to_owned(),
        "ip -oneline address show dev kube-ipvs0 scope global".to_owned(),
        "ip -oneline address show dev theirs0".to_owned(),
        "ip route show table local type local".to_owned(),
        "ipset save".to_owned(),
        format!("{}-save", plane.programs.v4),
        format!("{}-save", plane.programs.v6),
    ];
    let mut text = String::new();
    for command in commands {
        let listed = lab.node().command(&command).unwrap();
        // Comments tell the time, first lines of chains count packets.
        let theirs = listed
            .lines()
            .filter(|line| !line.starts_with(['#', ':']) || line.contains("THEIRS"))
            .filter(|line| line.contains("THEIRS") || !is_ours(line))
            .map(|line| line.split(" [").next().unwrap_or_default());
        let mut lines: Vec<&str> = theirs.collect();
        lines.sort_unstable();
        let _ = writeln!(text, "{command}\n{}", lines.join("\n"));
    }
    text
}

/// The mark in a line about a virtual server by mark. Ours begin with one byte of ours.
fn mark(line: &str) -> Option<u32> {
    let (_, mark) = line.split_once(" -f ")?;
    mark.split(' ').next()?.parse().ok()
}

fn answers(lab: &Lab, to: SocketAddr) -> Outcome {
    let probe = Probe::new(Protocol::Tcp, None, to);
    lab.probe(&CLIENT, &probe).unwrap()
}

#[test]
fn what_others_made_is_untouched_by_programming_changes_and_removal() {
    for plane in planes::here().filter(|plane| plane.ipvs.is_some()) {
        let lab_first = |lab: &Lab| populate(lab, plane);
        let settings = plane.settings(Settings::default());
        let mut node = ServedNode::start_after(lab_first, plane.open, settings).unwrap();
        let before = others(node.lab(), plane);
        assert!(
            before.contains("172.31.0.4") && before.contains("-f 77"),
            "{before}"
        );
        let web = Family::ALL
            .into_iter()
            .fold(service("web"), |service, family| {
                service
                    .cluster_ip(cluster_ip(family, 10))
                    .external_ip(outside_ip(family, 10))
            })
            .port("tcp", Protocol::Tcp, PORT)
            .node_port(NODE_PORT)
            .external_local();
        for pods in [vec![A1, B1], vec![A2], vec![], vec![A1, A2]] {
            let endpoints: Vec<_> = pods.iter().flat_map(|pod| all_ready([*pod])).collect();
            node.serve(&web, &endpoints).unwrap();
            node.with_plane(|plane, plan| plane.reconcile(plan))
                .unwrap()
                .unwrap();
            assert_eq!(others(node.lab(), plane), before, "on {}", plane.name);
            let theirs = answers(node.lab(), SocketAddr::new(NODE.ip(Family::V4), THEIRS));
            assert_eq!(theirs.endpoint(), Some(A3.name), "{theirs}");
        }
        let ours = answers(
            node.lab(),
            SocketAddr::new(cluster_ip(Family::V4, 10), PORT),
        );
        assert!(ours.endpoint().is_some(), "{ours}");
        let errors = node.with_plane(|plane, _| plane.remove()).unwrap();
        assert!(errors.is_empty(), "{errors:?}");
        assert_eq!(
            others(node.lab(), plane),
            before,
            "after {} was removed",
            plane.name
        );
        let left = node.lab().node().command("ipvsadm --save -n").unwrap();
        assert_eq!(left.lines().count(), 5, "{left}");
        let theirs = answers(node.lab(), SocketAddr::new(NODE.ip(Family::V4), THEIRS));
        assert_eq!(theirs.endpoint(), Some(A3.name), "{theirs}");
    }
}

#[test]
fn an_excluded_address_is_others_whatever_the_service_there_has() {
    for plane in planes::here().filter(|plane| plane.ipvs.is_some()) {
        let theirs = [outside_ip(Family::V4, 50), NODE.ip(Family::V4)];
        let lab_first = |lab: &Lab| {
            let (node, [routed, own]) = (lab.node(), theirs);
            node.ip(&format!(
                "link add theirs0 type dummy
                link set theirs0 up
                addr add {routed}/32 dev theirs0"
            ))
            .unwrap();
            let servers = format!(
                "-A -t {routed}:{PORT} -s rr
-a -t {routed}:{PORT} -r {pod}:8080 -m
-A -t {own}:{NODE_PORT} -s rr
-a -t {own}:{NODE_PORT} -r {pod}:8080 -m
",
                pod = A3.v4
            );
            node.program("ipvsadm", &["--restore"], &servers).unwrap();
        };
        let mut settings = plane.settings(Settings::default());
        settings.ipvs.excluded = theirs.map(only).into();
        let mut node = ServedNode::start_after(lab_first, plane.open, settings).unwrap();
        let vip = cluster_ip(Family::V4, 10);
        let web = service("web")
            .cluster_ip(vip)
            .port("tcp", Protocol::Tcp, PORT)
            .node_port(NODE_PORT)
            .load_balancer(theirs[0])
            // The client is outside of these.
            .source_ranges(&[only(NODE.ip(Family::V4))]);
        for pods in [vec![A1], vec![], vec![A2]] {
            let endpoints: Vec<_> = pods.iter().flat_map(|pod| all_ready([*pod])).collect();
            node.serve(&web, &endpoints).unwrap();
            for (ip, port) in theirs.into_iter().zip([PORT, NODE_PORT]) {
                let outcome = answers(node.lab(), SocketAddr::new(ip, port));
                let on = format!("{ip} on {} with {pods:?}: {outcome}", plane.name);
                assert_eq!(outcome.endpoint(), Some(A3.name), "{on}");
            }
            let ours = answers(node.lab(), SocketAddr::new(vip, PORT));
            assert_eq!(ours.endpoint(), pods.first().map(|pod| pod.name), "{ours}");
        }
    }
}
