//! Where the main plugin routes to a pod.

use serde_json::json;
use sluice_e2e::attach::Pod;

use crate::bridged::add;
use crate::node;
use crate::service::Served;

#[test]
fn a_pod_behind_ptp_reaches_itself_without_a_flag_and_the_log_says_so() {
    let node = node();
    let pod = Pod::new("web").unwrap();
    let ptp = json!({"type": "ptp", "ipMasq": false, "ipam": node.addresses()});
    let chain = node.chain("1.0.0", vec![ptp, node.sluice(&json!({}))]);
    let (result, log) = add(&chain, &pod);
    assert!(log.contains("the node routes to veth"), "{log}");
    Served::start(&node, &pod, &result).reaches_itself();
    chain.check(&pod, &result).unwrap().unwrap();
    chain.del(&pod, &result).unwrap().unwrap();
    assert_eq!(node.remembered().unwrap(), [""; 0]);
}
