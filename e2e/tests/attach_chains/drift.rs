//! CHECK finds what changed since ADD; DEL comes when it wants.

use serde_json::{Value, json};
use sluice_e2e::attach::{Chain, Node, Pod};

use crate::bridged::{add, bridge, host_interface};
use crate::node;

fn chain(node: &Node) -> Chain<'_> {
    let own = node.sluice(&json!({"withoutAgent": {"sourceNAT": "Masquerade"}}));
    node.chain("1.0.0", vec![bridge(node), own])
}

fn drifted(chain: &Chain<'_>, pod: &Pod, result: &Value, text: &str) {
    let refused = chain.check(pod, result).unwrap().unwrap_err();
    assert_eq!(refused.error["code"], 104, "{refused:?}");
    assert!(
        refused.error["msg"].as_str().unwrap().contains(text),
        "{text}: {refused:?}"
    );
}

#[test]
fn check_tells_what_is_not_as_it_was_made() {
    let node = node();
    node.make_class_sets().unwrap();
    let pod = Pod::new("web").unwrap();
    let chain = chain(&node);
    let (result, _) = add(&chain, &pod);
    chain.check(&pod, &result).unwrap().unwrap();
    let run = |line: &str| node.namespace().command(line).unwrap();
    let (port, addresses) = (host_interface(&result), Pod::addresses(&result));

    run(&format!("bridge link set dev {port} hairpin off"));
    drifted(&chain, &pod, &result, &format!("hairpin of {port} is off"));
    run(&format!("bridge link set dev {port} hairpin on"));
    chain.check(&pod, &result).unwrap().unwrap();

    let set = "SLUICE-4-POD-MASQ";
    run(&format!("ipset del {set} {}", addresses[0]));
    drifted(
        &chain,
        &pod,
        &result,
        &format!("{} is missing in set {set}", addresses[0]),
    );
    run(&format!("ipset destroy {set}"));
    drifted(&chain, &pod, &result, &format!("set {set} is missing"));
    run(&format!("ipset create {set} hash:ip"));
    run(&format!("ipset add {set} {}", addresses[0]));
    chain.check(&pod, &result).unwrap().unwrap();

    let file = node.state().join("web:eth0.json");
    std::fs::write(&file, "damaged").unwrap();
    drifted(&chain, &pod, &result, "nothing is remembered");
    let mut left = vec!["web:eth0.json.corrupt".to_owned()];
    // Which addresses it held cannot be told any more, so its entries stay until it ends, and mean nothing.
    left.extend(
        addresses
            .iter()
            .map(|address| format!("by-address/{address}")),
    );
    left.sort();
    assert_eq!(node.remembered().unwrap(), left);
    // A pod starts, and this one ends, all the same.
    let other = Pod::new("other").unwrap();
    let (theirs, _) = add(&chain, &other);
    chain.del(&other, &theirs).unwrap().unwrap();
    chain.del(&pod, &result).unwrap().unwrap();
    assert_eq!(node.remembered().unwrap(), [""; 0]);
}

#[test]
fn a_late_del_leaves_the_address_to_its_new_holder() {
    let node = node();
    node.make_class_sets().unwrap();
    let (dead, alive) = (Pod::new("dead").unwrap(), Pod::new("alive").unwrap());
    let sluice_alone = node.chain("1.0.0", vec![]);
    assert!(sluice_alone.del(&dead, &Value::Null).unwrap().is_ok());
    let all = chain(&node);
    let (old, _) = add(&all, &dead);
    // The main plugin's DEL came, this one's did not; then the address was given away.
    let main = node.chain("1.0.0", vec![bridge(&node)]);
    main.del(&dead, &old).unwrap().unwrap();
    std::fs::remove_dir_all(node.directory().join("ipam")).unwrap();
    let (new, _) = add(&all, &alive);
    assert_eq!(Pod::addresses(&old), Pod::addresses(&new));
    let held = node.members().unwrap();
    assert_eq!(held.len(), 2);
    drop(dead.namespace);
    let dead = Pod::new("dead").unwrap();
    for _ in 0..2 {
        all.del(&dead, &old).unwrap().unwrap();
        assert_eq!(node.members().unwrap(), held);
        assert_eq!(node.remembered().unwrap(), ["alive:eth0.json"]);
    }
    all.del(&alive, &new).unwrap().unwrap();
    assert_eq!(node.members().unwrap(), [""; 0]);
}
