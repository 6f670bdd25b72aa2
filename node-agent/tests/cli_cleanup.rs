//! `sluice-agent cleanup` on a real kernel.

mod node;

use node::{Node, run, text, web};

const NFT: [&str; 2] = ["--iptables-variant", "nft"];

#[test]
fn cleanup_removes_everything_of_ours_and_nothing_else_but_not_while_an_agent_runs() {
    let node = Node::new();
    node.write("web.yaml", &web("10.1.0.5"));
    run("iptables-nft", &["-t", "nat", "-N", "DOCKER"]);
    run(
        "iptables-nft",
        &["-t", "nat", "-A", "PREROUTING", "-j", "DOCKER"],
    );
    run("ipset", &["create", "somebody", "hash:ip"]);
    let before = rules_without_built_in(&Node::rules());

    let agent = node.start(&NFT);
    let refused = node.agent("cleanup", &[]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(
        text(&refused.stderr).contains("--force"),
        "{}",
        text(&refused.stderr)
    );
    assert!(Node::rules().contains("SLUICE-"));

    agent.terminate();
    let cleaned = node.agent("cleanup", &[]);
    let said = text(&cleaned.stdout);
    assert_eq!(
        cleaned.status.code(),
        Some(0),
        "{said}{}",
        text(&cleaned.stderr)
    );
    assert!(said.contains("no rule of ours is left"), "{said}");
    assert_eq!(rules_without_built_in(&Node::rules()), before);
    assert_eq!(Node::sets(), ["somebody"]);

    let notes = |dir: &str| -> Vec<String> {
        let files = std::fs::read_dir(node.path(dir)).unwrap();
        let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name != "manifests").collect()
    };
    assert_eq!(notes("run"), ["agent.lock"]);
    assert!(notes("state").is_empty(), "{:?}", notes("state"));

    let again = node.agent("cleanup", &[]);
    assert_eq!(again.status.code(), Some(0));
    assert!(
        text(&again.stdout).contains("0 removed"),
        "{}",
        text(&again.stdout)
    );
}

#[test]
fn cleanup_brings_sysctls_back() {
    let node = Node::new();
    let read = || text(&run("sysctl", &["-n", "net.ipv4.conf.all.route_localnet"]).stdout);
    assert_eq!(read().trim(), "0");
    let mut agent = node.start(&["--iptables-variant", "nft", "--localhost-node-ports"]);
    agent.eventually("the sysctl is set", |_| read().trim() == "1");
    agent.terminate();
    let cleaned = node.agent("cleanup", &[]);
    assert!(
        text(&cleaned.stdout).contains("route_localnet: as it was"),
        "{cleaned:?}"
    );
    assert_eq!(read().trim(), "0");
}

#[test]
fn sysctls_are_written_where_the_nodes_are_mounted() {
    let node = Node::new();
    let mounted = node.path("proc-sys");
    let file = format!("{mounted}/net/ipv4/conf/all/route_localnet");
    std::fs::create_dir_all(file.rsplit_once('/').unwrap().0).unwrap();
    std::fs::write(&file, "0\n").unwrap();
    let read = || std::fs::read_to_string(&file).unwrap().trim().to_owned();
    let there = ["--proc-sys", &mounted];
    let flags = [&NFT[..], &["--localhost-node-ports"], &there].concat();
    let mut agent = node.start(&flags);
    agent.eventually("the sysctl is set there", |_| read() == "1");
    let own = text(&run("sysctl", &["-n", "net.ipv4.conf.all.route_localnet"]).stdout);
    assert_eq!(own.trim(), "0");
    agent.terminate();
    let cleaned = node.agent("cleanup", &there);
    assert_eq!(cleaned.status.code(), Some(0), "{cleaned:?}");
    assert_eq!(read(), "0");
}

#[test]
fn cleanup_stays_when_all_is_gone_until_it_is_told_to_end() {
    let node = Node::new();
    node.write("web.yaml", &web("10.1.0.5"));
    let agent = node.start(&NFT);
    let refused = node.agent("cleanup", &["--stay"]);
    assert_eq!(refused.status.code(), Some(2), "it has nothing to wait for");
    agent.terminate();
    let mut cleanup = node.spawn("cleanup", &["--stay"]);
    cleanup.eventually("everything is gone", |cleanup| {
        cleanup.log().contains("0 left")
    });
    assert_eq!(Node::sets(), Vec::<String>::new());
    let mut looks = 0;
    cleanup.eventually("it has stayed for a while", |_| {
        looks += 1;
        looks > 20
    });
    cleanup.terminate();
}

#[test]
fn cleanup_that_is_told_to_end_while_it_removes_ends_when_all_is_gone() {
    let node = Node::new();
    node.write("web.yaml", &web("10.1.0.5"));
    node.start(&NFT).terminate();
    let [asked, answer] = ["asked", "answer"].map(|name| node.path(name));
    let slow = format!(
        "#!/bin/sh\n: > {asked}\nwhile [ ! -e {answer} ]; do sleep 0.02; done\nPATH=${{PATH#*:}} exec iptables-nft-save \"$@\"\n"
    );
    let mut cleanup = node.spawn_with(("iptables-nft-save", &slow), "cleanup", &["--stay"]);
    cleanup.eventually("it removes", |_| std::path::Path::new(&asked).exists());
    cleanup.tell_to_end();
    std::fs::write(answer, "").unwrap();
    let log = cleanup.ends_well();
    assert!(log.contains("0 left"), "{log}");
    assert_eq!(Node::sets(), Vec::<String>::new());
}

/// Chains and rules, without the built-in chains, whose tables stay once they are made.
fn rules_without_built_in(rules: &str) -> Vec<String> {
    let lines = rules
        .lines()
        .filter(|line| line.starts_with("-A") || (line.starts_with(':') && line.contains(" - ")));
    lines
        .map(|line| line.split(" [").next().unwrap_or_default().to_owned())
        .collect()
}
