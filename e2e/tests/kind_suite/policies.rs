//! Pools that are served in different ways, and how they get there.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use sluice_e2e::kind::{Cluster, Load, Node, time_limit};

use super::Scenario;
use super::installing::{has_condition, is_programmed};
use super::lab::{BOTH, Lab, PATIENCE, await_pods};
use super::watching::Watch;

pub(crate) const SCENARIOS: &[Scenario] = &[
    (
        "pools differ in their iptables, and each change of a pool loses no connection",
        pools_differ,
    ),
    ("a rollout moves one node at a time", staged_rollout),
    (
        "a pool that cannot run IPVS says so and keeps serving",
        without_ipvs,
    ),
    (
        "a policy that contradicts itself is refused in a sentence",
        refusal,
    ),
];

/// A policy that goes with the value; every node is then back where it was.
pub(crate) struct Policy<'a> {
    lab: &'a Lab,
    name: &'static str,
}

impl<'a> Policy<'a> {
    pub(crate) fn apply(
        lab: &'a Lab,
        name: &'static str,
        pool: &Value,
        spec: &Value,
    ) -> anyhow::Result<Self> {
        let policy = Self { lab, name };
        match policy.change(pool, spec) {
            Ok(()) => Ok(policy),
            Err(error) => {
                // There is none to delete.
                policy.keep();
                Err(error)
            }
        }
    }

    pub(crate) fn change(&self, pool: &Value, spec: &Value) -> anyhow::Result<()> {
        let mut spec = spec.clone();
        spec["nodeSelector"] = pool.clone();
        let rollout = &mut spec["rollout"];
        rollout["minReadySeconds"] = json!(1);
        self.lab.cluster.apply(&[json!({
            "apiVersion": "sluice.dev/v1alpha1", "kind": "ServiceProxyPolicy", "metadata": {"name": self.name}, "spec": spec,
        })])?;
        Ok(())
    }

    /// As `kubectl wait` says it.
    pub(crate) fn wait(&self, condition: &str) -> anyhow::Result<()> {
        let generation = self.object()?["metadata"]["generation"].clone();
        Cluster::eventually("the operator has seen the policy", PATIENCE, || {
            let object = self.object().map_err(|error| error.to_string())?;
            (object["status"]["observedGeneration"] == generation)
                .then_some(())
                .ok_or_else(|| object["status"].to_string())
        })?;
        let (condition, object) = (
            format!("--for=condition={condition}"),
            format!("serviceproxypolicy/{}", self.name),
        );
        self.lab
            .cluster
            .kubectl(&["wait", &condition, &object, &time_limit(90)])?;
        Ok(())
    }

    /// Leaves it where it is.
    pub(crate) fn keep(self) {
        std::mem::forget(self);
    }

    pub(crate) fn object(&self) -> anyhow::Result<Value> {
        Ok(self.lab.cluster.get(&["serviceproxypolicy", self.name])?)
    }
}

impl Drop for Policy<'_> {
    fn drop(&mut self) {
        let deleted = self
            .lab
            .cluster
            .kubectl(&["delete", "serviceproxypolicy", self.name]);
        let settled = deleted.map_err(anyhow::Error::from).and_then(|_| {
            self.lab
                .await_nodes("every node is back where it was", PATIENCE, |proxy| {
                    is_programmed(proxy) && proxy["spec"]["policy"] != self.name
                })
        });
        if let Err(error) = settled {
            eprintln!("{error:#}");
        }
    }
}

pub(crate) fn pool(name: &str) -> Value {
    json!({"matchLabels": {"pool": name}})
}

/// How many chains of Sluice a node has in one variant of iptables.
fn chains(lab: &Lab, node: &Node, variant: &str) -> anyhow::Result<usize> {
    let program = format!("iptables-{variant}-save");
    let text = lab.cluster.on_node(&node.name, &[&program])?;
    Ok(text
        .lines()
        .filter(|line| line.starts_with(":SLUICE-"))
        .count())
}

/// A load that must not fail.
pub(crate) fn assert_nothing_lost(load: Load) -> anyhow::Result<()> {
    let report = load.stop()?;
    eprintln!(
        "          {} connections, {} failed; by pod: {:?}",
        report.attempts,
        report.failures.len(),
        report.answers
    );
    ensure!(
        report.failures.is_empty(),
        "of {} connections failed: {:?}",
        report.attempts,
        report.failures
    );
    ensure!(
        report.attempts > 20,
        "only {} connections were made",
        report.attempts
    );
    Ok(())
}

fn pools_differ(lab: &Lab) -> anyhow::Result<()> {
    let served = lab.serve("pools", &json!({}))?;
    let variant = |variant: &str| json!({"mode": "IPTables", "iptables": {"variant": variant}});
    let loads = [
        lab.client("client-a").load(served.address(0)?)?,
        lab.client("client-b").load(served.address(1)?)?,
    ];
    let a = Policy::apply(lab, "pool-a", &pool("a"), &variant("Legacy"))?;
    let b = Policy::apply(lab, "pool-b", &pool("b"), &variant("NFT"))?;
    a.wait("Ready")?;
    b.wait("Ready")?;
    let is = |legacy: &str, nft: &str| -> anyhow::Result<()> {
        for (pool, variant, other) in [(legacy, "legacy", "nft"), (nft, "nft", "legacy")] {
            let node = lab.node(pool)?;
            Cluster::eventually(
                &format!("{} has chains of {variant} only", node.name),
                PATIENCE,
                || {
                    let count =
                        |variant| chains(lab, node, variant).map_err(|error| error.to_string());
                    let (chosen, left) = (count(variant)?, count(other)?);
                    (chosen > 0 && left == 0)
                        .then_some(())
                        .ok_or_else(|| format!("{chosen} and {left} of {other}"))
                },
            )?;
        }
        Ok(())
    };
    is("a", "b")?;
    a.change(&pool("a"), &variant("NFT"))?;
    b.change(&pool("b"), &variant("Legacy"))?;
    a.wait("Ready")?;
    b.wait("Ready")?;
    is("b", "a")?;
    for load in loads {
        assert_nothing_lost(load)?;
    }
    Ok(())
}

fn staged_rollout(lab: &Lab) -> anyhow::Result<()> {
    let spec = |variant: &str| json!({"mode": "IPTables", "iptables": {"variant": variant}, "rollout": {"maxUnavailable": 1}});
    let all = Policy::apply(lab, "all", &json!({}), &spec("NFT"))?;
    all.wait("Ready")?;
    let first = all.object()?["status"]["currentRevision"].clone();
    let nodes = lab.cluster.nodes().len();
    let watch = Watch::begin(lab)?;
    let mut proxies = BTreeMap::new();
    let next = |proxies: &mut BTreeMap<String, Value>| -> anyhow::Result<()> {
        let proxy = watch.next()?;
        proxies.insert(proxy["metadata"]["name"].to_string(), proxy);
        Ok(())
    };
    while proxies.len() < nodes {
        next(&mut proxies)?;
    }
    all.change(&json!({}), &spec("Legacy"))?;
    let mut steps = Vec::new();
    while steps.last() != Some(&(nodes, 0)) {
        next(&mut proxies).with_context(|| format!("moved and on their way: {steps:?}"))?;
        let moved = proxies
            .values()
            .filter(|proxy| proxy["spec"]["revision"] != first);
        let moved: Vec<&Value> = moved.collect();
        let on_their_way = moved.iter().filter(|proxy| !is_programmed(proxy)).count();
        steps.push((moved.len(), on_their_way));
    }
    all.wait("Ready")?;
    ensure!(
        steps.iter().all(|&(_, on_their_way)| on_their_way <= 1),
        "moved and on their way: {steps:?}"
    );
    // Else what is told of the ways was not seen.
    ensure!(
        (1..=nodes).all(|moved| steps.contains(&(moved, 1))),
        "no node was on its way: {steps:?}"
    );
    Ok(())
}

fn without_ipvs(lab: &Lab) -> anyhow::Result<()> {
    let served = lab.serve("no-ipvs", &json!({"type": "NodePort"}))?;
    let node = lab.node("b")?;
    let port = served.node_port("TCP")?;
    let load = lab
        .outside()
        .load(SocketAddr::new(node.addresses[0], port))?;
    let proxy = || lab.cluster.get(&["nodeserviceproxy", &node.name]);
    let can = proxy()?["status"]["capabilities"]["ipvs"] == true;
    let policy = Policy::apply(lab, "ipvs", &pool("b"), &json!({"mode": "IPVS"}))?;
    if can {
        policy.wait("Ready")?;
        ensure!(
            proxy()?["status"]["activeMode"] == "IPVS",
            "{}",
            proxy()?["status"]
        );
    } else {
        Cluster::eventually("the node says that it cannot", PATIENCE, || {
            let policy = policy.object().map_err(|error| error.to_string())?;
            let proxy = proxy().map_err(|error| error.to_string())?;
            let said = has_condition(&policy, "Stalled", "True")
                || has_condition(&proxy, "Supported", "False");
            said.then_some(())
                .ok_or_else(|| format!("{} {}", policy["status"], proxy["status"]))
        })?;
        ensure!(
            proxy()?["status"]["activeMode"] == "IPTables",
            "{}",
            proxy()?["status"]
        );
        Cluster::eventually("an event says why", PATIENCE, || {
            let events = ["get", "events", "--all-namespaces", "--output=wide"];
            let events = lab.cluster.kubectl(&events);
            let events = events.map_err(|error| error.to_string())?;
            let says_why = events.contains("IPVS") || events.contains("ip_vs");
            says_why.then_some(()).ok_or(events)
        })?;
    }
    await_pods(
        lab.outside(),
        "tcp",
        SocketAddr::new(node.addresses[0], port),
        &BOTH,
    )?;
    drop(policy);
    assert_nothing_lost(load)
}

fn refusal(lab: &Lab) -> anyhow::Result<()> {
    let contradiction = json!({"mode": "IPVS", "nodePorts": {"localhost": true}});
    let Err(refused) = Policy::apply(lab, "contradiction", &json!({}), &contradiction) else {
        anyhow::bail!("it was taken");
    };
    let said = format!("{refused:#}");
    ensure!(said.contains("nodePorts.localhost"), "{said}");
    Ok(())
}
