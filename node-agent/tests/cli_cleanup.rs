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

/// Chains and rules, without the built-in chains, whose tables stay once they are made.
fn rules_without_built_in(rules: &str) -> Vec<String> {
    let lines = rules
        .lines()
        .filter(|line| line.starts_with("-A") || (line.starts_with(':') && line.contains(" - ")));
    lines
        .map(|line| line.split(" [").next().unwrap_or_default().to_owned())
        .collect()
}
