//! Classes of pods: address sets and sysctls, by the agent or without it.

use serde_json::json;
use sluice_attachment::protocol::{Attach, Nothing, Request, Response};
use sluice_attachment::{Family, HairpinMode, SetName, Sysctl, Treatment};
use sluice_e2e::attach::{Pod, ScriptedAgent};

use crate::bridged::{add, bridge, hairpin_is_on};
use crate::node;

fn treatment(sets: &[(Family, &str)], sysctls: &[(&str, &str)]) -> Treatment {
    Treatment {
        class: Some("chosen".to_owned()),
        hairpin: HairpinMode::HairpinVeth,
        sets: sets
            .iter()
            .map(|(family, name)| SetName {
                family: *family,
                name: (*name).to_owned(),
            })
            .collect(),
        sysctls: sysctls
            .iter()
            .map(|(name, value)| Sysctl {
                name: (*name).to_owned(),
                value: (*value).to_owned(),
            })
            .collect(),
    }
}

/// Patient: on a busy machine the answer may come later than pods would be kept waiting for it.
fn asking(node: &sluice_e2e::attach::Node) -> serde_json::Value {
    node.sluice(&json!({"agentTimeoutMilliseconds": 10_000}))
}

fn answering(node: &sluice_e2e::attach::Node, treatment: Treatment) -> ScriptedAgent {
    ScriptedAgent::start(&node.socket(), move |request| match request {
        Request::Attach(_) => Response::Treatment(treatment.clone()),
        _ => Response::Done(Nothing {}),
    })
    .unwrap()
}

#[test]
fn the_agents_class_is_in_force_when_add_returns_and_gone_after_del() {
    let node = node();
    node.make_class_sets().unwrap();
    node.namespace()
        .command("ipset create SLUICE-4-POD-X hash:ip")
        .unwrap();
    let agent = answering(
        &node,
        treatment(
            &[
                (Family::V4, "SLUICE-4-POD-X"),
                (Family::V6, "SLUICE-6-POD-MASQ"),
            ],
            &[
                ("net.core.somaxconn", "321"),
                ("net.ipv4.ip_local_port_range", "20000 30000"),
            ],
        ),
    );
    let pod = Pod::new("web").unwrap();
    let chain = node.chain("1.0.0", vec![bridge(&node), asking(&node)]);
    let (result, _) = add(&chain, &pod);
    let [v4, v6] = Pod::addresses(&result)[..] else {
        panic!("{result}")
    };
    let expected = [
        format!("SLUICE-4-POD-X {v4}"),
        format!("SLUICE-6-POD-MASQ {v6}"),
    ];
    assert_eq!(node.members().unwrap(), expected);
    let somaxconn = pod
        .namespace
        .command("sysctl -n net.core.somaxconn")
        .unwrap();
    assert_eq!(somaxconn.trim(), "321");
    let on_the_node = node
        .namespace()
        .command("sysctl -n net.core.somaxconn")
        .unwrap();
    assert_ne!(on_the_node.trim(), "321");
    chain.check(&pod, &result).unwrap().unwrap();
    chain.del(&pod, &result).unwrap().unwrap();
    assert_eq!(node.members().unwrap(), [""; 0]);
    let heard = agent.heard();
    let [
        Request::Attach(Attach {
            id,
            pod: named,
            addresses,
            ..
        }),
        Request::Detached(gone),
    ] = &heard[..]
    else {
        panic!("{heard:?}")
    };
    assert_eq!((id.container(), id), ("web", &gone.id));
    assert_eq!(named.as_ref().unwrap().namespace, "shop");
    assert_eq!(addresses[..], [v4, v6]);
}

#[test]
fn without_an_answer_the_configurations_default_is_in_force() {
    for (class, sets) in [
        ("Preserve", Some("PRESERVE")),
        ("Masquerade", Some("MASQ")),
        ("Default", None),
    ] {
        let node = node();
        node.make_class_sets().unwrap();
        let pod = Pod::new("web").unwrap();
        let own = node.sluice(&json!({"withoutAgent": {"sourceNAT": class}}));
        let chain = node.chain("1.0.0", vec![bridge(&node), own]);
        let (result, _) = add(&chain, &pod);
        let mut expected = Vec::new();
        if let Some(set) = sets {
            for (address, digit) in Pod::addresses(&result).iter().zip([4, 6]) {
                expected.push(format!("SLUICE-{digit}-POD-{set} {address}"));
            }
        }
        assert_eq!(node.members().unwrap(), expected);
        chain.del(&pod, &result).unwrap().unwrap();
        assert_eq!(node.members().unwrap(), [""; 0]);
    }
    // Before the agent made any set.
    let node = node();
    let pod = Pod::new("web").unwrap();
    let own = node.sluice(&json!({"withoutAgent": {"sourceNAT": "Masquerade"}}));
    let chain = node.chain("1.0.0", vec![bridge(&node), own]);
    let (result, _) = add(&chain, &pod);
    chain.del(&pod, &result).unwrap().unwrap();
}

#[test]
fn what_the_agent_may_not_say_fails_the_attachment_and_leaves_nothing() {
    for (treatment, code) in [
        (treatment(&[(Family::V4, "SLUICE-4-POD-NONE")], &[]), 11),
        (
            treatment(&[(Family::V4, "name-longer-than-an-ipset-may-have")], &[]),
            102,
        ),
        (treatment(&[], &[("kernel.panic", "1")]), 103),
        (
            treatment(
                &[(Family::V4, "SLUICE-4-POD-MASQ")],
                &[("net.ipv4.tcp_none", "1")],
            ),
            103,
        ),
        (
            treatment(
                &[(Family::V4, "SLUICE-4-POD-MASQ")],
                &[("net.core.somaxconn", "x")],
            ),
            103,
        ),
    ] {
        let node = node();
        node.make_class_sets().unwrap();
        let _agent = answering(&node, treatment.clone());
        let pod = Pod::new("web").unwrap();
        let chain = node.chain("1.0.0", vec![bridge(&node), asking(&node)]);
        let refused = chain.add(&pod).unwrap().unwrap_err();
        assert_eq!(refused.error["code"], code, "{treatment:?}: {refused:?}");
        assert_eq!(node.members().unwrap(), [""; 0], "{treatment:?}");
        assert_eq!(node.remembered().unwrap(), [""; 0], "{treatment:?}");
    }
}

#[test]
fn a_required_agent_that_is_away_is_asked_again_later() {
    let node = node();
    let pod = Pod::new("web").unwrap();
    let mut own = asking(&node);
    own["requireAgent"] = true.into();
    let chain = node.chain("1.0.0", vec![bridge(&node), own]);
    let refused = chain.add(&pod).unwrap().unwrap_err();
    assert_eq!(refused.error["code"], 11, "{refused:?}");
    chain.del(&pod, &serde_json::Value::Null).unwrap().unwrap();
    let agent = answering(&node, treatment(&[], &[]));
    let (result, _) = add(&chain, &pod);
    assert!(hairpin_is_on(&node, &result));
    drop(agent);
    chain.del(&pod, &result).unwrap().unwrap();
    assert_eq!(node.remembered().unwrap(), [""; 0]);
}
