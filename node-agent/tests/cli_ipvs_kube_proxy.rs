//! The command line on a node where kube-proxy's IPVS mode was: virtual servers, addresses and address sets as it makes them.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a step that fails is a test that fails"
)]

mod node;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Output;
use std::thread;
use std::time::Duration;

use node::{Node, run, text, web};
use sluice_kernel::ipvs::{IpvsError, IpvsNetlink};

const IPVS: [&str; 4] = ["--mode", "ipvs", "--iptables-variant", "nft"];
const RULES: [&str; 4] = ["--mode", "iptables", "--iptables-variant", "nft"];
const OF_OTHERS: &str = "-A -t 10.96.0.10:9999 -s wlc";

/// One service that is ours too, and one that is not; nothing where the kernel has no IPVS.
fn node_of_kube_proxy() -> Option<Node> {
    let node = Node::new();
    match IpvsNetlink::open() {
        Ok(_) => {}
        Err(IpvsError::Absent) => {
            assert!(
                std::env::var_os("SLUICE_REQUIRE_IPVS").is_none(),
                "this kernel has no IPVS, and SLUICE_REQUIRE_IPVS asks for it"
            );
            eprintln!("SKIP: this kernel has no IPVS");
            return None;
        }
        Err(error) => panic!("{error}"),
    }
    for line in [
        "ip link set uplink up",
        "ip route add default via 192.168.0.1",
        "ip link add kube-ipvs0 type dummy",
        "ip address add 10.96.0.1/32 dev kube-ipvs0",
        "ip address add 10.96.0.10/32 dev kube-ipvs0",
        "sysctl -qw net.ipv4.vs.conntrack=1",
        "ipset create KUBE-CLUSTER-IP hash:ip,port comment",
        "ipset add KUBE-CLUSTER-IP 10.96.0.1,tcp:443",
        "ipset add KUBE-CLUSTER-IP 10.96.0.10,tcp:80",
        "ipset create KUBE-NODE-PORT-TCP bitmap:port range 0-65535",
        "ipset add KUBE-NODE-PORT-TCP 30080",
        "ipset create KUBE-IPVS-IPS hash:ip",
        "ipset add KUBE-IPVS-IPS 10.96.0.1",
        "ipset add KUBE-IPVS-IPS 10.96.0.10",
        "iptables-nft -t nat -N KUBE-SERVICES",
        "iptables-nft -t nat -A PREROUTING -j KUBE-SERVICES",
        "iptables-nft -t nat -A OUTPUT -j KUBE-SERVICES",
        "iptables-nft -t nat -A KUBE-SERVICES -m set --match-set KUBE-CLUSTER-IP dst,dst -j ACCEPT",
        "iptables-nft -N KUBE-IPVS-FILTER",
        "iptables-nft -A INPUT -j KUBE-IPVS-FILTER",
        "iptables-nft -A KUBE-IPVS-FILTER -m set --match-set KUBE-CLUSTER-IP dst,dst -j RETURN",
        "iptables-nft -A KUBE-IPVS-FILTER -m conntrack --ctstate NEW -m set --match-set KUBE-IPVS-IPS dst -j REJECT",
        "ipvsadm -A -t 10.96.0.1:443 -s rr",
        "ipvsadm -a -t 10.96.0.1:443 -r 192.168.0.10:6443 -m",
        "ipvsadm -A -t 10.96.0.10:80 -s rr",
        "ipvsadm -a -t 10.96.0.10:80 -r 192.168.0.10:8080 -m",
        "ipvsadm -A -t 192.168.0.10:30080 -s rr",
        "ipvsadm -a -t 192.168.0.10:30080 -r 192.168.0.10:8080 -m",
        "ipvsadm -A -t 10.96.0.10:9999 -s wlc",
    ] {
        command(line);
    }
    node.write("web.yaml", &web("192.168.0.10"));
    Some(node)
}

fn command(line: &str) {
    let words: Vec<&str> = line.split(' ').collect();
    let ran = run(words[0], &words[1..]);
    assert!(ran.status.success(), "{line}: {}", text(&ran.stderr));
}

fn virtual_servers() -> String {
    text(&run("ipvsadm", &["-S", "-n"]).stdout)
}

/// A connection through the virtual server, and whether bytes come back over it.
struct Kept(TcpStream);

impl Kept {
    fn open() -> Self {
        let listener = TcpListener::bind("192.168.0.10:8080").unwrap();
        thread::spawn(move || {
            for mut one in listener.incoming().flatten() {
                thread::spawn(move || {
                    let mut byte = [0];
                    while one.read_exact(&mut byte).is_ok() && one.write_all(&byte).is_ok() {}
                });
            }
        });
        let stream = TcpStream::connect("10.96.0.10:80").unwrap();
        let patience = Some(Duration::from_secs(20));
        stream.set_read_timeout(patience).unwrap();
        Self(stream)
    }

    #[track_caller]
    fn works(&mut self) {
        self.0.write_all(b"x").unwrap();
        self.0.read_exact(&mut [0]).unwrap();
    }
}

#[track_caller]
fn says(output: &Output, code: i32, parts: &[&str]) {
    let said = text(&output.stdout) + &text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    for part in parts {
        assert!(said.contains(part), "{part} is missing in\n{said}");
    }
}

#[test]
fn in_ipvs_mode_it_is_taken_over_and_goes_with_us() {
    let Some(node) = node_of_kube_proxy() else {
        return;
    };
    let mut kept = Kept::open();
    kept.works();
    let agent = node.start(&IPVS);
    kept.works();

    // Whose that one is cannot be told.
    let refused = node.agent("cleanup", &["--kube-proxy"]);
    says(
        &refused,
        2,
        &["TCP 10.96.0.10:9999", "none of kube-proxy's"],
    );
    assert!(Node::sets().contains(&"KUBE-IPVS-IPS".to_owned()));
    command("ipvsadm -D -t 10.96.0.10:9999");
    let listed = node.agent("cleanup", &["--kube-proxy", "--dry-run"]);
    let goes = [
        "virtual server TCP 10.96.0.1:443\n",
        "address 10.96.0.10 of kube-ipvs0",
    ];
    says(&listed, 0, &goes);
    let cleaned = node.agent("cleanup", &["--kube-proxy"]);
    says(&cleaned, 0, &["1 virtual servers, 2 addresses"]);
    kept.works();
    let sets = Node::sets();
    assert!(sets.iter().all(|set| !set.starts_with("KUBE-")), "{sets:?}");
    assert!(!virtual_servers().contains("10.96.0.1:443"));
    let addresses = text(&run("ip", &["-o", "-4", "address", "show", "dev", "kube-ipvs0"]).stdout);
    assert_eq!(addresses, "");
    let same = node.agent("render", &[&IPVS[..], &["--diff"]].concat());
    says(&same, 0, &[]);

    agent.terminate();
    says(&node.agent("cleanup", &[]), 0, &["2 virtual servers"]);
    assert_eq!(virtual_servers(), "");
    assert!(!text(&run("ip", &["-o", "link"]).stdout).contains("kube-ipvs0"));
}

#[test]
fn removed_before_kube_proxys_sets_are_it_leaves_what_it_found() {
    let Some(node) = node_of_kube_proxy() else {
        return;
    };
    let links = || {
        let shown = ["address show", "route show table local"].map(|what| {
            let words = format!("-4 -o {what} dev kube-ipvs0");
            let words: Vec<&str> = words.split(' ').collect();
            text(&run("ip", &words).stdout)
        });
        shown.concat()
    };
    let before = (virtual_servers(), links());
    let mut kept = Kept::open();
    for binding in ["local-route", "dummy"] {
        let agent = node.start(&[&IPVS[..], &["--ipvs-vip-binding", binding]].concat());
        kept.works();
        agent.terminate();
        let cleaned = node.agent("cleanup", &[]);
        says(&cleaned, 0, &["2 virtual servers stay to kube-proxy"]);
        assert_eq!((virtual_servers(), links()), before, "{binding}");
        kept.works();
    }
}

#[test]
fn in_iptables_mode_it_goes_once_its_connections_have_ended() {
    let Some(node) = node_of_kube_proxy() else {
        return;
    };
    let mut kept = Kept::open();
    kept.works();
    let agent = node.start(&RULES);
    kept.works();
    let forced = ["--kube-proxy", "--force"];
    says(&node.agent("cleanup", &["--kube-proxy"]), 2, &["9999"]);
    command("ipvsadm -D -t 10.96.0.10:9999");
    let cleaned = node.agent("cleanup", &["--kube-proxy"]);
    says(&cleaned, 1, &["connections", "TCP 10.96.0.10:80"]);
    let left = virtual_servers();
    assert!(
        !left.contains("10.96.0.1:443") && !left.contains("30080"),
        "{left}"
    );
    assert!(left.contains("-r 192.168.0.10:8080 -m -w 0"), "{left}");
    kept.works();
    let new = TcpStream::connect("10.96.0.10:80").unwrap();
    let has_address = |ip: &str| {
        let shown = text(&run("ip", &["-o", "-4", "address"]).stdout);
        shown.contains(&format!(" {ip}/32 "))
    };
    assert!(has_address("10.96.0.10") && !has_address("10.96.0.1"));
    drop((kept, new));
    command("ipvsadm -A -t 10.96.0.10:9999 -s wlc");
    says(
        &node.agent("cleanup", &forced),
        0,
        &["stays: virtual server"],
    );
    assert_eq!(virtual_servers().trim(), OF_OTHERS);
    assert!(has_address("10.96.0.10"), "another uses it");
    assert_eq!(
        Node::sets()
            .iter()
            .filter(|set| set.starts_with("KUBE-"))
            .count(),
        0
    );
    agent.terminate();
}
