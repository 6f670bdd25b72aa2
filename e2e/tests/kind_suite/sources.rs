//! As which source pods are seen: classes of pods, on real pods.

use std::collections::BTreeSet;
use std::net::IpAddr;

use anyhow::{Context, bail, ensure};
use serde_json::json;
use sluice_e2e::kind::{Cluster, Node};
use sluice_e2e::lab::Outcome;

use super::Scenario;
use super::lab::{ECHO, Lab, PATIENCE, pod_addresses};
use super::policies::{Policy, assert_nothing_lost, pool};

pub(crate) const SCENARIOS: &[Scenario] = &[(
    "pods are seen as their class says, and as soon as a label says another one",
    classes,
)];

const LABEL: &str = "source";

fn classes(lab: &Lab) -> anyhow::Result<()> {
    let served = lab.serve("classes", &json!({}))?;
    let node = lab.node("a")?;
    let address = SecondAddress::add(lab, node)?;
    let (pod, partner) = (pod_addresses(lab, "client-a")?[0], address.ip);
    let load = lab.client("client-a").load(served.address(0)?)?;
    let class = |name: &str, action: &str| json!({"name": name, "podSelector": {"matchLabels": {LABEL: name}}, "action": action});
    let mut snat = class("partner", "SNAT");
    snat["snat"] = json!({"addressCIDRs": [format!("{partner}/32")]});
    let spec = |masquerade_all: bool| {
        json!({
            "mode": "IPTables",
            "sourceNAT": {
                "masqueradeAll": masquerade_all,
                "podClasses": [class("kept", "Preserve"), class("hidden", "Masquerade"), snat],
            },
        })
    };
    let seen_as = |class: Option<&str>, expected: IpAddr| -> anyhow::Result<()> {
        let label = class.map_or_else(|| format!("{LABEL}-"), |class| format!("{LABEL}={class}"));
        let command = [
            "label",
            "pod",
            "client-a",
            "--namespace",
            ECHO,
            "--overwrite",
            &label,
        ];
        lab.cluster.kubectl(&command)?;
        let what = format!("client-a is seen as {expected} with the label {label}");
        Cluster::eventually(&what, PATIENCE, || {
            let outcomes = lab.client("client-a").probe(
                "tcp",
                served.address(0).map_err(|error| error.to_string())?,
                12,
            );
            let outcomes = outcomes.map_err(|error| error.to_string())?;
            let sources = sources_at("echo-b", &outcomes);
            (sources == BTreeSet::from([expected]))
                .then_some(())
                .ok_or_else(|| format!("{sources:?}"))
        })?;
        Ok(())
    };
    let policy = Policy::apply(lab, "classes", &pool("a"), &spec(true))?;
    policy.wait("Ready")?;
    seen_as(None, node.addresses[0])?;
    seen_as(Some("kept"), pod)?;
    seen_as(Some("partner"), partner)?;
    seen_as(Some("of-no-class"), node.addresses[0])?;
    policy.change(&pool("a"), &spec(false))?;
    policy.wait("Ready")?;
    seen_as(Some("hidden"), node.addresses[0])?;
    seen_as(None, pod)?;
    assert_nothing_lost(load)
}

/// The sources that a pod of another node saw: none is there that a bridge of the client's node gave.
fn sources_at(pod: &str, outcomes: &[Outcome]) -> BTreeSet<IpAddr> {
    let of_pod = |outcome: &Outcome| match outcome {
        Outcome::Reached {
            endpoint, source, ..
        } if endpoint == pod => Some(source.ip()),
        _ => None,
    };
    outcomes.iter().filter_map(of_pod).collect()
}

/// Another address of a node on the network of the nodes; it goes with the value.
struct SecondAddress<'a> {
    lab: &'a Lab,
    node: &'a Node,
    ip: IpAddr,
}

impl<'a> SecondAddress<'a> {
    fn add(lab: &'a Lab, node: &'a Node) -> anyhow::Result<Self> {
        let first = node.addresses.first().context("the node has no address")?;
        let IpAddr::V4(first) = first else {
            bail!("{first} is not of IPv4");
        };
        // Docker gives addresses from the network's start.
        let [a, b, c, _] = first.octets();
        let ip = IpAddr::from([a, b, c, 250]);
        let taken = lab
            .cluster
            .nodes()
            .iter()
            .any(|node| node.addresses.contains(&ip));
        ensure!(!taken, "{ip} is a node's already");
        let address = Self { lab, node, ip };
        address.ip_address("add")?;
        Ok(address)
    }

    fn ip_address(&self, verb: &str) -> anyhow::Result<()> {
        let address = format!("{}/32", self.ip);
        let command = ["ip", "address", verb, &address, "dev", "eth0"];
        self.lab.cluster.on_node(&self.node.name, &command)?;
        Ok(())
    }
}

impl Drop for SecondAddress<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.ip_address("del") {
            eprintln!("{error:#}");
        }
    }
}
