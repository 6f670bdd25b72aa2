//! Behind the plugin `bridge`, with bridged packets meeting the rules.

use serde_json::{Value, json};
use sluice_e2e::attach::{Chain, Node, Pod};

use crate::node;
use crate::service::Served;

pub(crate) fn bridge(node: &Node) -> Value {
    node.bridge()
}

/// Whether the port that leads to the pod gives frames back.
pub(crate) fn hairpin_is_on(node: &Node, result: &Value) -> bool {
    let name = host_interface(result);
    let shown = node
        .namespace()
        .command(&format!("bridge -d link show dev {name}"))
        .unwrap();
    shown.contains("hairpin on")
}

pub(crate) fn host_interface(result: &Value) -> String {
    let interfaces = result["interfaces"].as_array().unwrap();
    let veth = interfaces.iter().find(|interface| {
        let name = interface["name"].as_str().unwrap();
        name.starts_with("veth") && interface["sandbox"].as_str().unwrap_or("").is_empty()
    });
    veth.unwrap()["name"].as_str().unwrap().to_owned()
}

pub(crate) fn add(chain: &Chain<'_>, pod: &Pod) -> (Value, String) {
    chain
        .add(pod)
        .unwrap()
        .unwrap_or_else(|refused| panic!("{refused:?}"))
}

#[test]
fn a_pod_reaches_itself_with_the_plugin_and_not_without() {
    let node = node();
    let pod = Pod::new("web").unwrap();
    let alone = node.chain("1.0.0", vec![bridge(&node)]);
    let (result, _) = add(&alone, &pod);
    let served = Served::start(&node, &pod, &result);
    assert!(!hairpin_is_on(&node, &result));
    served.does_not_reach_itself();

    let chained = node.chain("1.0.0", vec![node.sluice(&json!({}))]);
    let (mut command, _) = chained.command(
        sluice_e2e::attach::Verb::Add,
        &node.sluice(&json!({})),
        &pod,
        &result,
    );
    let input = json!({
        "cniVersion": "1.0.0", "name": "pods", "type": "sluice-cni", "socket": node.socket(),
        "stateDirectory": node.state(), "prevResult": result,
    });
    let printed = node
        .namespace()
        .run(move || {
            use std::io::Write;
            let mut child = command.spawn().unwrap();
            let mut stdin = child.stdin.take().unwrap();
            stdin.write_all(input.to_string().as_bytes()).unwrap();
            drop(stdin);
            child.wait_with_output().unwrap()
        })
        .unwrap();
    assert!(printed.status.success(), "{printed:?}");
    let passed_on: Value = serde_json::from_slice(&printed.stdout).unwrap();
    assert_eq!(passed_on, result);
    assert!(hairpin_is_on(&node, &result));
    served.reaches_itself();
}

#[test]
fn whole_chains_attach_and_detach_in_every_version_of_the_reference_plugins() {
    for version in ["0.3.0", "0.3.1", "0.4.0", "1.0.0"] {
        let node = node();
        let pod = Pod::new("web").unwrap();
        let plugins = vec![
            bridge(&node),
            json!({"type": "portmap", "capabilities": {"portMappings": true}, "snat": true}),
            node.sluice(&json!({})),
        ];
        let chain = node.chain(version, plugins);
        let (result, log) = add(&chain, &pod);
        assert!(log.contains("the agent is not there"), "{log}");
        assert_eq!(result["cniVersion"], version);
        assert_eq!(Pod::addresses(&result).len(), 2);
        assert!(hairpin_is_on(&node, &result), "{version}");
        assert_eq!(node.remembered().unwrap(), ["web:eth0.json"]);
        Served::start(&node, &pod, &result).reaches_itself();
        if version >= "0.4.0" {
            chain.check(&pod, &result).unwrap().unwrap();
        }
        for _ in 0..2 {
            chain.del(&pod, &result).unwrap().unwrap();
            assert_eq!(node.remembered().unwrap(), [""; 0]);
        }
    }
}

#[test]
fn mode_none_leaves_the_port_as_it_is() {
    let node = node();
    let pod = Pod::new("web").unwrap();
    let quiet = node.sluice(&json!({"withoutAgent": {"hairpin": "None"}}));
    let chain = node.chain("1.0.0", vec![bridge(&node), quiet]);
    let (result, _) = add(&chain, &pod);
    assert!(!hairpin_is_on(&node, &result));
    chain.check(&pod, &result).unwrap().unwrap();
}

#[test]
fn a_promiscuous_bridge_needs_the_flag_too() {
    for by_the_plugin in [false, true] {
        let node = node();
        let pod = Pod::new("web").unwrap();
        let mut plugins = vec![bridge(&node)];
        plugins[0]["promiscMode"] = true.into();
        if by_the_plugin {
            plugins.push(node.sluice(&json!({})));
        }
        let (result, log) = add(&node.chain("1.0.0", plugins), &pod);
        let served = Served::start(&node, &pod, &result);
        assert_eq!(hairpin_is_on(&node, &result), by_the_plugin);
        if by_the_plugin {
            assert!(log.contains("promiscuous besides"), "{log}");
            served.reaches_itself();
        } else {
            served.does_not_reach_itself();
        }
    }
}
