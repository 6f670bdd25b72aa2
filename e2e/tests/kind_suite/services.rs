//! What Services do for pods and for people outside.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};
use sluice_e2e::kind::workload::{PORT, SERVICE_PORT};
use sluice_e2e::kind::{Cluster, time_limit};
use sluice_e2e::lab::Outcome;

use super::Scenario;
use super::lab::{APP, BOTH, ECHO, Lab, PATIENCE, await_pods, pod_addresses};

/// Services that a proxy serves.
pub(crate) const SERVED: &[Scenario] = &[
    (
        "a Service has both pods for pods and nodes, TCP and UDP, IPv4 and IPv6",
        cluster_addresses,
    ),
    (
        "names are resolved through the Service of the DNS server",
        dns,
    ),
    ("the API server is reached through its Service", api_server),
    (
        "a node port is reached from outside on every node",
        node_ports,
    ),
    (
        "externalTrafficPolicy Local keeps the client's address, and nodes without a pod do not answer",
        local_traffic,
    ),
    (
        "a client stays with its pod where the Service asks for it",
        affinity,
    ),
    ("a pod reaches itself through its Service", hairpin),
    ("source ranges let in who is in them", source_ranges),
    (
        "a Service whose last pod goes refuses, and serves again with the next one",
        empty,
    ),
];
/// Services that a proxy has nothing to do with.
pub(crate) const LEFT_ALONE: &[Scenario] = &[(
    "headless and ExternalName Services are left alone",
    headless_and_external_name,
)];

fn cluster_addresses(lab: &Lab) -> anyhow::Result<()> {
    let served = lab.serve("cluster-address", &json!({}))?;
    for client in ["client-a", "client-b", "host-a"] {
        for family in [0, 1] {
            for protocol in ["tcp", "udp"] {
                await_pods(lab.client(client), protocol, served.address(family)?, &BOTH)?;
            }
        }
    }
    Ok(())
}

fn dns(lab: &Lab) -> anyhow::Result<()> {
    let rollout = [
        "rollout",
        "status",
        "deployment/coredns",
        "--namespace=kube-system",
        &time_limit(60),
    ];
    lab.cluster.kubectl(&rollout)?;
    let served = lab.serve("named", &json!({}))?;
    let mut expected = vec![served.address(0)?.ip(), served.address(1)?.ip()];
    expected.sort_unstable();
    for client in ["client-a", "client-b"] {
        let what = format!("{client} knows the name's addresses of both families");
        Cluster::eventually(&what, PATIENCE, || {
            let addresses = lab.client(client).resolve("named.echo.svc.cluster.local");
            let addresses = addresses.map_err(|error| error.to_string())?;
            (addresses == expected)
                .then_some(())
                .ok_or_else(|| format!("{addresses:?}, not {expected:?}"))
        })?;
    }
    Ok(())
}

fn api_server(lab: &Lab) -> anyhow::Result<()> {
    let object = lab.cluster.get(&["service", "kubernetes"])?;
    let ip = object["spec"]["clusterIP"].as_str().context("no address")?;
    let to = SocketAddr::new(ip.parse()?, 443);
    for client in ["client-a", "client-b", "host-a"] {
        lab.client(client).connect(to)?;
    }
    Ok(())
}

fn node_ports(lab: &Lab) -> anyhow::Result<()> {
    let served = lab.serve("node-port", &json!({"type": "NodePort"}))?;
    for (protocol, name) in [("tcp", "TCP"), ("udp", "UDP")] {
        let port = served.node_port(name)?;
        for node in lab.cluster.nodes() {
            for &address in &node.addresses {
                await_pods(
                    lab.outside(),
                    protocol,
                    SocketAddr::new(address, port),
                    &BOTH,
                )?;
            }
        }
    }
    Ok(())
}

fn local_traffic(lab: &Lab) -> anyhow::Result<()> {
    let served = lab.serve(
        "local",
        &json!({"type": "NodePort", "externalTrafficPolicy": "Local"}),
    )?;
    let port = served.node_port("TCP")?;
    let outside = lab.outside();
    for node in lab.cluster.nodes() {
        let to = SocketAddr::new(node.addresses[0], port);
        if node.pool == "control" {
            let outcome = outside.probe_briefly("tcp", to)?;
            ensure!(outcome.endpoint().is_none(), "{}: {outcome}", node.name);
            continue;
        }
        let outcome = Cluster::eventually(&format!("{} answers", node.name), PATIENCE, || {
            let outcome = outside.probe_briefly("tcp", to);
            let outcome = outcome.map_err(|error| error.to_string())?;
            match outcome.endpoint() {
                Some(_) => Ok(outcome),
                None => Err(outcome.to_string()),
            }
        })?;
        let Outcome::Reached {
            endpoint, source, ..
        } = &outcome
        else {
            bail!("{}: {outcome}", node.name);
        };
        let own = format!("echo-{}", node.pool);
        ensure!(*endpoint == own, "{}: {outcome}", node.name);
        let mut nodes = lab.cluster.nodes().iter();
        ensure!(
            !nodes.any(|node| node.addresses.contains(&source.ip())),
            "{}: the pod saw a node's address: {outcome}",
            node.name
        );
    }
    Ok(())
}

fn affinity(lab: &Lab) -> anyhow::Result<()> {
    let served = lab.serve("affine", &json!({"sessionAffinity": "ClientIP"}))?;
    for client in ["client-a", "client-b", "host-a"] {
        let to = served.address(0)?;
        let reached = Cluster::eventually(&format!("{client} reaches {to}"), PATIENCE, || {
            let reached = lab.client(client).reached("tcp", to, 24);
            reached.map_err(|error| error.to_string())
        })?;
        ensure!(reached.len() == 1, "{client}: {reached:?}");
    }
    Ok(())
}

fn hairpin(lab: &Lab) -> anyhow::Result<()> {
    let served = lab.serve("itself", &json!({}))?;
    for family in [0, 1] {
        for protocol in ["tcp", "udp"] {
            await_pods(
                lab.client("echo-a"),
                protocol,
                served.address(family)?,
                &BOTH,
            )?;
        }
    }
    Ok(())
}

fn source_ranges(lab: &Lab) -> anyhow::Result<()> {
    let served = lab.serve("guarded", &json!({"type": "LoadBalancer"}))?;
    let patch = |subresource: &[&str], change: &Value| -> anyhow::Result<()> {
        let service = ["patch", "service", "guarded", "--namespace", ECHO];
        let change = change.to_string();
        let change = ["--type=merge", "--patch", &change];
        let command = [&service, subresource, &change].concat();
        lab.cluster.kubectl(&command)?;
        Ok(())
    };
    // What a load balancer's controller would write.
    let status = json!({"status": {"loadBalancer": {"ingress": [{"ip": "198.51.100.7"}]}}});
    patch(&["--subresource=status"], &status)?;
    let ingress: SocketAddr = format!("198.51.100.7:{SERVICE_PORT}").parse()?;
    let via = lab.cluster.nodes()[1].addresses[0];
    let outside = lab.cluster.outside();
    outside.command(&format!("ip route replace 198.51.100.7 via {via}"))?;
    let everyone = || {
        Cluster::eventually("without ranges everyone is let in", PATIENCE, || {
            lab.outside()
                .reached("tcp", ingress, 4)
                .map_err(|error| error.to_string())
        })
    };
    // Twice, since an answer may be late too.
    let guarded = || {
        (0..2).try_for_each(|_| {
            let open = lab
                .outside()
                .probe_briefly("tcp", ingress)
                .map_err(|error| error.to_string())?;
            (open == Outcome::TimedOut)
                .then_some(())
                .ok_or_else(|| open.to_string())
        })
    };
    let tried = everyone().map_err(anyhow::Error::from).and_then(|_| {
        patch(
            &[],
            &json!({"spec": {"loadBalancerSourceRanges": ["192.0.2.0/24"]}}),
        )?;
        Cluster::eventually("who is in no range hears nothing", PATIENCE, guarded)?;
        patch(&[], &json!({"spec": {"loadBalancerSourceRanges": null}}))?;
        everyone()?;
        Ok(())
    });
    outside.command("ip route del 198.51.100.7")?;
    tried?;
    // Who is in the cluster is not asked for a range.
    await_pods(lab.client("client-b"), "tcp", served.address(0)?, &BOTH)
}

fn empty(lab: &Lab) -> anyhow::Result<()> {
    let served = lab.serve("emptied", &json!({}))?;
    let to = served.address(0)?;
    served.select("nobody")?;
    Cluster::eventually("a Service without pods refuses", PATIENCE, || {
        let outcome = lab
            .client("client-a")
            .probe_briefly("tcp", to)
            .map_err(|error| error.to_string())?;
        (outcome == Outcome::Refused)
            .then_some(())
            .ok_or_else(|| outcome.to_string())
    })?;
    served.select(APP)?;
    Cluster::eventually("it serves again", PATIENCE, || {
        lab.client("client-a")
            .reached("tcp", to, 8)
            .map_err(|error| error.to_string())
    })?;
    Ok(())
}

fn headless_and_external_name(lab: &Lab) -> anyhow::Result<()> {
    let headless = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "headless", "namespace": ECHO},
        "spec": {"clusterIP": "None", "ipFamilyPolicy": "RequireDualStack", "selector": {"app": APP}, "ports": [{"port": PORT}]},
    });
    let external = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "external", "namespace": ECHO},
        "spec": {"type": "ExternalName", "externalName": "headless.echo.svc.cluster.local"},
    });
    lab.cluster.apply(&[headless, external])?;
    let mut pods = BTreeSet::new();
    for name in BOTH {
        pods.extend(pod_addresses(lab, name)?);
    }
    for name in [
        "headless.echo.svc.cluster.local",
        "external.echo.svc.cluster.local",
    ] {
        Cluster::eventually("the name has the pods' addresses", PATIENCE, || {
            let addresses = lab
                .client("client-a")
                .resolve(name)
                .map_err(|error| error.to_string())?;
            let addresses: BTreeSet<_> = addresses.into_iter().collect();
            (addresses == pods)
                .then_some(())
                .ok_or_else(|| format!("{addresses:?}, not {pods:?}"))
        })?;
    }
    lab.cluster.kubectl(&[
        "delete",
        "service",
        "headless",
        "external",
        "--namespace",
        ECHO,
    ])?;
    Ok(())
}
