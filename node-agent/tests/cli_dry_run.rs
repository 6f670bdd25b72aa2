//! `render`, `explain` and `check`: they tell, and change nothing.

mod node;

use std::net::TcpListener;
use std::process::Command;

use node::{Node, run, text, web};

const NFT: [&str; 2] = ["--iptables-variant", "nft"];

#[test]
fn render_prints_what_would_be_programmed_and_touches_nothing() {
    let node = Node::new();
    node.write("web.yaml", &web("10.1.0.5"));
    let before = Node::rules();
    let rendered = node.agent("render", &NFT);
    let said = text(&rendered.stdout);
    assert_eq!(
        rendered.status.code(),
        Some(0),
        "{}",
        text(&rendered.stderr)
    );
    for part in [
        "*nat",
        "--to-destination 10.1.0.5:8080",
        "create SLUICE-4-CLUSTER-IP hash:ip",
        "COMMIT",
    ] {
        assert!(said.contains(part), "{part} is missing in\n{said}");
    }
    assert_eq!(Node::rules(), before);
    assert!(Node::sets().is_empty());

    let only_v6 = node.agent("render", &["--iptables-variant", "nft", "--family", "ipv6"]);
    assert!(
        !text(&only_v6.stdout).contains("10.96.0.10"),
        "{}",
        text(&only_v6.stdout)
    );
}

#[test]
fn render_diff_ends_with_1_while_the_kernel_differs_and_with_0_when_it_does_not() {
    let node = Node::new();
    node.write("web.yaml", &web("10.1.0.5"));
    let diff = ["--iptables-variant", "nft", "--diff"];
    let empty = node.agent("render", &diff);
    assert_eq!(empty.status.code(), Some(1), "{}", text(&empty.stderr));
    assert!(text(&empty.stdout).contains("is not in the kernel"));

    let agent = node.start(&NFT);
    let same = node.agent("render", &diff);
    assert_eq!(same.status.code(), Some(0), "{}", text(&same.stdout));
    assert_eq!(text(&same.stdout), "");
    // As the CNI plugin puts pods into their classes.
    run("ipset", &["add", "SLUICE-4-POD-MASQ", "10.1.0.5"]);
    let same = node.agent("render", &diff);
    assert_eq!(same.status.code(), Some(0), "{}", text(&same.stdout));

    agent.terminate();
    node.write("web.yaml", &web("10.1.0.6"));
    let differs = node.agent("render", &diff);
    assert_eq!(differs.status.code(), Some(1));
    let said = text(&differs.stdout);
    let has = |sign: char, endpoint: &str| {
        said.lines()
            .any(|line| line.starts_with(sign) && line.contains(endpoint))
    };
    assert!(
        has('-', "10.1.0.5:8080") && has('+', "10.1.0.6:8080"),
        "{said}"
    );
}

#[test]
fn explain_tells_the_steps_the_objects_and_the_verdict() {
    let node = Node::new();
    let external = "type: NodePort\n  externalIPs: [198.51.100.9]";
    let web = web("10.1.0.5").replace("type: NodePort", external);
    node.write("web.yaml", &web);
    let explain = |from: &str, to: &str| {
        let output = node.agent("explain", &["--from", from, "--to", to]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    let cluster_ip = explain("10.1.0.9", "10.96.0.10:80");
    for part in [
        "shop/web",
        "10.1.0.5:8080",
        "set SLUICE-4-CLUSTER-IP: 10.96.0.10",
        "DNAT",
    ] {
        assert!(
            cluster_ip.contains(part),
            "{part} is missing in\n{cluster_ip}"
        );
    }
    let node_port = explain("192.168.0.77", "192.168.0.10:30080/tcp");
    for part in ["node port", "source of this node", "MASQ"] {
        assert!(
            node_port.contains(part),
            "{part} is missing in\n{node_port}"
        );
    }
    let unlisted = explain("10.1.0.9", "10.96.0.10:22");
    assert!(unlisted.contains("verdict: refused"), "{unlisted}");
    let health = explain("192.168.0.77", "198.51.100.9:10256");
    for part in [
        "health is told there",
        "set SLUICE-4-EXTERNAL-IP: 198.51.100.9",
        "filter SLUICE-INPUT: -p tcp -m tcp --dport 10256 -m set --match-set SLUICE-4-EXTERNAL-IP dst -j ACCEPT",
        "verdict: not a service's",
    ] {
        assert!(health.contains(part), "{part} is missing in\n{health}");
    }
    let foreign = explain("10.1.0.9", "9.9.9.9:53/udp");
    assert!(foreign.contains("verdict: not a service's"), "{foreign}");
}

#[test]
fn render_and_explain_name_virtual_servers_and_service_addresses_in_ipvs_mode() {
    let node = Node::new();
    node.write("web.yaml", &web("10.1.0.5"));
    let ipvs = ["--iptables-variant", "nft", "--mode", "ipvs"];
    let rendered = text(&node.agent("render", &ipvs).stdout);
    for part in [
        "# mode IPVS",
        "-A -t 10.96.0.10:80 -s rr\n-a -t 10.96.0.10:80 -r 10.1.0.5:8080 -m -w 1\n",
        "-A -t 192.168.0.10:30080 -s rr\n",
        "route add local 10.96.0.10 dev kube-ipvs0 table local",
    ] {
        assert!(rendered.contains(part), "{part} is missing in\n{rendered}");
    }
    let bound = [&ipvs[..], &["--ipvs-vip-binding", "dummy"]].concat();
    let rendered = text(&node.agent("render", &bound).stdout);
    assert!(
        rendered.contains("address add 10.96.0.10/32 dev kube-ipvs0"),
        "{rendered}"
    );
    let packet = ["--from", "10.1.0.9", "--to", "10.96.0.10:80"];
    let explained = text(&node.agent("explain", &[&ipvs[..], &packet].concat()).stdout);
    for part in [
        "virtual server: -A -t 10.96.0.10:80 -s rr",
        "service address: route add local 10.96.0.10",
        "real server: -a -t 10.96.0.10:80 -r 10.1.0.5:8080",
    ] {
        assert!(
            explained.contains(part),
            "{part} is missing in\n{explained}"
        );
    }
}

#[test]
fn explain_leads_clients_inside_the_node_by_their_mark() {
    let node = Node::new();
    let local = web("10.1.0.5").replace(
        "type: NodePort",
        "type: NodePort\n  externalTrafficPolicy: Local",
    );
    node.write("web.yaml", &local);
    let explain = |from: &str| {
        let args = [
            "--mode",
            "ipvs",
            "--iptables-variant",
            "nft",
            "--detect-local-mode",
            "node-cidr",
            "--from",
            from,
        ];
        let to = ["--to", "192.168.0.10:30080"];
        text(&node.agent("explain", &[&args[..], &to].concat()).stdout)
    };
    let inside = explain("10.1.0.9");
    assert!(
        inside.contains("set SLUICE-4-V-INSIDE: 192.168.0.10,tcp:30080 skbmark 0x5c"),
        "{inside}"
    );
    assert!(inside.contains("real server: -a -f "), "{inside}");
    let outside = explain("192.168.0.77");
    assert!(
        !outside.contains("SLUICE-4-V-INSIDE") && outside.contains("-a -t 192.168.0.10:30080"),
        "{outside}"
    );
}

#[test]
fn explain_knows_that_link_local_addresses_serve_node_ports_by_rules_only() {
    let node = Node::new();
    let add = "address add fe80::10/64 dev eth0 nodad";
    node::run("ip", &add.split(' ').collect::<Vec<_>>());
    let v6 = web("fd00:1::5")
        .replace("10.96.0.10", "\"fd00::10\"")
        .replace("IPv4", "IPv6")
        .replace("[fd00:1::5]", "[\"fd00:1::5\"]");
    node.write("web.yaml", &v6);
    let explain = |mode: &str, to: &str| {
        let args = ["--iptables-variant", "nft", "--mode", mode];
        let packet = ["--from", "fe80::77", "--to", to];
        text(&node.agent("explain", &[&args[..], &packet].concat()).stdout)
    };
    let node_port = "[fe80::10]:30080";
    let by_rules = explain("iptables", node_port);
    assert!(by_rules.contains("node port of service"), "{by_rules}");
    let by_ipvs = explain("ipvs", node_port);
    assert!(by_ipvs.contains("verdict: not a service's"), "{by_ipvs}");
    let cluster_ip = explain("ipvs", "[fd00::10]:80");
    assert!(cluster_ip.contains("goes to one of 1"), "{cluster_ip}");
}

#[test]
fn explain_knows_that_ipvs_leaves_excluded_addresses_to_others() {
    let node = Node::new();
    node.write("web.yaml", &web("10.1.0.5"));
    let explain = |mode: &str| {
        let exclude = ["--ipvs-exclude-cidr", "10.96.0.0/16"];
        let args = ["--iptables-variant", "nft", "--mode", mode];
        let packet = ["--from", "192.168.0.77", "--to", "10.96.0.10:80"];
        text(
            &node
                .agent("explain", &[&args[..], &exclude, &packet].concat())
                .stdout,
        )
    };
    let by_ipvs = explain("ipvs");
    for part in [
        "ipvs.excludeCIDRs leave 10.96.0.10 to others",
        "nat SLUICE-IPVS: -m set --match-set SLUICE-4-EXCLUDED dst -j RETURN",
        "verdict: not a service's",
    ] {
        assert!(by_ipvs.contains(part), "{by_ipvs}");
    }
    let by_rules = explain("iptables");
    assert!(by_rules.contains("goes to one of 1"), "{by_rules}");
}

#[test]
fn check_tells_which_mode_the_policy_means_and_why() {
    let node = Node::new();
    let own = web("10.1.0.5").replace("10.96.0.10", "192.168.0.10");
    node.write("web.yaml", &own);
    let manifests = node.path("manifests");
    let check = |more: &[&str]| -> serde_json::Value {
        let args = [
            "--manifests",
            &manifests,
            "--node-name",
            "n1",
            "--output",
            "json",
        ];
        let variant = ["--iptables-variant", "nft"];
        let checked = node.agent("check", &[&args[..], &variant, more].concat());
        serde_json::from_slice(&checked.stdout).unwrap()
    };
    let asked = check(&["--mode", "ipvs", "--ipvs-scheduler", "mh"]);
    let can_run = asked["ipvs"]["canRun"].as_bool().unwrap();
    assert_eq!(asked["mode"]["means"] == "IPVS", can_run, "{asked:#}");
    assert_eq!(asked["canRun"], true, "{asked:#}");
    let schedulers = asked["ipvs"]["schedulers"].as_array().unwrap();
    let mh = schedulers.iter().find(|one| one["name"] == "scheduler mh");
    let works = mh.unwrap()["works"].as_bool().unwrap();
    let told = asked["ipvs"]["notes"].to_string().contains("scheduler mh");
    assert_ne!(works, told, "{asked:#}");
    assert!(can_run || told, "{asked:#}");
    let conflict = asked["conflicts"].to_string();
    assert!(
        conflict.contains("192.168.0.10 is a cluster IP of shop/web"),
        "{conflict}"
    );

    let auto = check(&["--mode", "auto"]);
    assert_eq!(auto["mode"]["means"], "IPTables");
    assert!(
        auto["mode"]["why"].as_str().unwrap().contains("1 services"),
        "{auto:#}"
    );
}

#[test]
fn check_says_whether_it_goes_by_a_policy_or_by_flags_alone() {
    let node = Node::new();
    node.write("web.yaml", &web("10.1.0.5"));
    let variant = ["--node-name", "n1", "--iptables-variant", "nft"];
    let manifests = node.path("manifests");
    let by_flags = text(&node.agent("check", &variant).stdout);
    assert!(by_flags.contains("note: by flags alone"), "{by_flags}");
    assert!(
        by_flags.contains("ok  iptables nft match set"),
        "{by_flags}"
    );
    let given = [&variant[..], &["--manifests", &manifests]].concat();
    let given = text(&node.agent("check", &given).stdout);
    assert!(!given.contains("by flags alone"), "{given}");
    let nobody = ["--kubeconfig", "/nowhere"];
    let failed = node.agent("check", &[&variant[..], &nobody].concat());
    assert_eq!(failed.status.code(), Some(2));
    let said = text(&failed.stderr);
    assert!(said.contains("/nowhere"), "{said}");
}

#[test]
fn check_names_a_firewall_that_would_drop_what_ipvs_serves() {
    let node = Node::new();
    if Command::new("nft").arg("-v").output().is_err() {
        return;
    }
    let check = || {
        let args = [
            "--node-name",
            "n1",
            "--iptables-variant",
            "nft",
            "--output",
            "json",
        ];
        let checked = node.agent("check", &args);
        serde_json::from_slice::<serde_json::Value>(&checked.stdout).unwrap()
    };
    let names_it = |report: &serde_json::Value| {
        let notes = report["ipvs"]["notes"].to_string();
        notes.contains("chain in of the nftables table inet firewall")
    };
    assert!(!names_it(&check()));
    let rules = "table inet firewall {
        chain in { type filter hook input priority 0; policy drop; }
    }";
    std::fs::write(node.path("firewall"), rules).unwrap();
    run("nft", &["-f", &node.path("firewall")]);
    let report = check();
    assert!(names_it(&report), "{report:#}");
    assert_eq!(report["ipvs"]["suitsAuto"], false, "{report:#}");
    assert_eq!(report["canRun"], true, "{report:#}");

    let of_firewalld = "flush table inet firewall
        delete chain inet firewall in
        table inet firewall {
        chain in { type filter hook input priority 10; policy accept; ct state established accept; reject; }
    }";
    std::fs::write(node.path("firewall"), of_firewalld).unwrap();
    run("nft", &["-f", &node.path("firewall")]);
    assert!(names_it(&check()), "{of_firewalld}");
}

#[test]
fn check_tells_what_works_and_who_sits_on_node_ports() {
    let node = Node::new();
    node.write("web.yaml", &web("10.1.0.5"));
    let _listener = TcpListener::bind("0.0.0.0:30080").unwrap();
    let manifests = node.path("manifests");
    let args = [
        "--manifests",
        &manifests,
        "--node-name",
        "n1",
        "--iptables-variant",
        "nft",
    ];
    let checked = node.agent("check", &[&args[..], &["--output", "json"]].concat());
    let report: serde_json::Value = serde_json::from_slice(&checked.stdout).unwrap();
    assert_eq!(report["canRun"], true, "{report:#}");
    assert_eq!(checked.status.code(), Some(0));
    assert_eq!(report["nodePorts"][0]["port"], 30080, "{report:#}");
    let owner = report["nodePorts"][0]["owner"].as_str().unwrap();
    assert!(
        owner.ends_with(&format!("({})", std::process::id())),
        "{owner}"
    );
    assert!(Node::sets().is_empty() && !Node::rules().contains("SLUICE-"));

    let said = text(&node.agent("check", &args).stdout);
    assert!(said.contains("this node can run Sluice"), "{said}");
    assert!(said.contains("node port of shop/web"), "{said}");
}

#[test]
fn errors_are_one_clear_line() {
    let node = Node::new();
    std::fs::remove_dir_all(node.manifests()).unwrap();
    let failed = node.agent("render", &NFT);
    assert_eq!(failed.status.code(), Some(2));
    let said = text(&failed.stderr);
    assert!(
        said.contains("does not exist") && said.lines().count() == 1,
        "{said}"
    );
}
