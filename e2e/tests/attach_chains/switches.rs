//! Switches that are no plain bridge, and bridges that went. What this machine's kernel lacks of them the virtual machine's has.

use serde_json::{Value, json};
use sluice_e2e::attach::{Node, Pod, Refused, add_switch};

use crate::bridged::{add, bridge, hairpin_is_on, host_interface};
use crate::node;
use crate::service::Served;

/// `CNI` code of errors about hairpin.
const HAIRPIN: u32 = 101;

fn skip(what: &str) {
    let promised = std::env::var_os("SLUICE_REQUIRE_IPVS").is_some();
    assert!(!promised, "this kernel has no {what}");
    eprintln!("SKIP: this kernel has no {what}; `make test-vm` runs this");
}

/// What the plugin alone says to a result of plugins before it.
fn refusal(node: &Node, pod: &Pod, result: &Value) -> Refused {
    let mut entry = node.sluice(&json!({}));
    entry["prevResult"] = result.clone();
    let refused = node.chain("1.0.0", vec![entry]).add(pod).unwrap();
    refused.unwrap_err()
}

#[test]
fn a_port_of_a_bridge_that_tells_vlans_apart_gives_frames_back() {
    let node = node();
    let tried = node
        .namespace()
        .ip("link add tried type bridge vlan_filtering 1");
    if tried.is_err() {
        return skip("vlan_filtering of bridges");
    }
    let pod = Pod::new("web").unwrap();
    let mut plugins = vec![bridge(&node), node.sluice(&json!({}))];
    plugins[0]["vlan"] = 5.into();
    let chain = node.chain("1.0.0", plugins);
    let (result, _) = add(&chain, &pod);
    let filters = node
        .namespace()
        .command("ip -d link show dev cni0")
        .unwrap();
    assert!(filters.contains("vlan_filtering 1"), "{filters}");
    assert!(hairpin_is_on(&node, &result));
    chain.check(&pod, &result).unwrap().unwrap();
    // The gateway of a VLAN is a port of its own, so that packets to a service are routed, not bridged.
    node.namespace()
        .sysctl("net/bridge/bridge-nf-call-iptables", "0")
        .unwrap();
    node.namespace()
        .sysctl("net/bridge/bridge-nf-call-ip6tables", "0")
        .unwrap();
    Served::start(&node, &pod, &result).reaches_itself();
    chain.del(&pod, &result).unwrap().unwrap();
    assert_eq!(node.remembered().unwrap(), [""; 0]);
}

#[test]
fn a_port_of_open_vswitch_is_told_from_one_of_a_bridge() {
    let node = node();
    let pod = Pod::new("web").unwrap();
    let wire = format!(
        "link add v0 type veth peer name eth0 netns {}",
        pod.namespace.id()
    );
    node.namespace().ip(&wire).unwrap();
    if !add_switch(node.namespace(), "ovs0", "v0").unwrap() {
        return skip("Open vSwitch");
    }
    let result = json!({
        "cniVersion": "1.0.0",
        "interfaces": [{"name": "v0"}, {"name": "eth0", "sandbox": pod.netns()}],
        "ips": [{"address": "10.99.0.2/24", "interface": 1}],
    });
    let refused = refusal(&node, &pod, &result);
    assert_eq!(refused.error["code"], HAIRPIN, "{refused:?}");
    let message = refused.error["msg"].as_str().unwrap();
    assert!(
        message.contains("v0 belongs to an Open vSwitch bridge"),
        "{message}"
    );
    assert_eq!(node.remembered().unwrap(), [""; 0]);
    let mut quiet = node.sluice(&json!({"withoutAgent": {"hairpin": "None"}}));
    quiet["prevResult"] = result.clone();
    let chain = node.chain("1.0.0", vec![quiet]);
    add(&chain, &pod);
    chain.check(&pod, &result).unwrap().unwrap();
    chain.del(&pod, &result).unwrap().unwrap();
}

#[test]
fn a_bridge_that_went_is_missed_by_name() {
    let node = node();
    let pod = Pod::new("web").unwrap();
    let (result, _) = add(&node.chain("1.0.0", vec![bridge(&node)]), &pod);
    let port = host_interface(&result);
    node.namespace()
        .ip(&format!("link set {port} nomaster"))
        .unwrap();
    let refused = refusal(&node, &pod, &result);
    assert_eq!(refused.error["code"], HAIRPIN, "{refused:?}");
    let left = format!("prevResult names bridge cni0, and {port} is not a port of any");
    assert!(
        refused.error["msg"].as_str().unwrap().contains(&left),
        "{refused:?}"
    );
    node.namespace().ip("link del cni0").unwrap();
    let refused = refusal(&node, &pod, &result);
    let gone =
        format!("prevResult names cni0, which the node does not have, and {port} is not a port");
    assert!(
        refused.error["msg"].as_str().unwrap().contains(&gone),
        "{refused:?}"
    );
}

#[test]
fn several_links_of_the_node_are_told_apart_by_the_kernel() {
    let node = node();
    let pods = ["web", "db"].map(|name| Pod::new(name).unwrap());
    let alone = node.chain("1.0.0", vec![bridge(&node)]);
    let [of_web, of_db] = pods.each_ref().map(|pod| add(&alone, pod).0);
    // A result that names the links of both.
    let mut both = of_web.clone();
    let other = json!({"name": host_interface(&of_db), "mac": "02:00:00:00:00:01"});
    both["interfaces"].as_array_mut().unwrap().push(other);
    let mut entry = node.sluice(&json!({}));
    entry["prevResult"] = both;
    add(&node.chain("1.0.0", vec![entry]), &pods[0]);
    assert!(hairpin_is_on(&node, &of_web));
    assert!(!hairpin_is_on(&node, &of_db));
}
