//! What somebody else undoes is put right by the agent's upkeep, which looks whenever a pod comes or goes.

use sluice_e2e::attach::Pod;

use crate::pods::{Pods, in_class};

#[test]
fn a_hairpin_flag_and_members_of_sets_that_went_come_back() {
    let pods = Pods::with_agent("[{name: all, action: Masquerade}]");
    let web = Pod::new("web").unwrap();
    let result = pods.add(&web);
    let port = pods.record(&web).host_interface.unwrap();
    let address = Pod::addresses(&result)[0];
    for line in [
        format!("bridge link set dev {port} hairpin off"),
        format!("ipset del SLUICE-4-POD-MASQ {address}"),
        "ipset add SLUICE-4-POD-PRESERVE 10.99.0.250".to_owned(),
    ] {
        pods.node.namespace().command(&line).unwrap();
    }
    let other = Pod::new("other").unwrap();
    let of_other = pods.add(&other);
    pods.eventually("both are as they were made", || {
        let mut expected = in_class("MASQ", &result);
        expected.extend(in_class("MASQ", &of_other));
        expected.sort();
        pods.hairpins() == 2 && pods.node.members().unwrap() == expected
    });
    pods.chain().check(&web, &result).unwrap().unwrap();
    let repairs = "sluice_attachment_repairs_total";
    // The flag, the member that went, and the one of nobody. Each is counted when it has been done.
    pods.eventually("three repairs are counted", || {
        let counted = pods.agent.metric(pods.node.namespace(), repairs).unwrap();
        (counted - 3.0).abs() < f64::EPSILON
    });
    pods.del(&web, &result);
    pods.del(&other, &of_other);
    pods.hold_nothing();
}

#[test]
fn an_address_that_the_index_lost_is_found_again() {
    let pods = Pods::with_agent("[{name: all, action: Masquerade}]");
    let web = Pod::new("web").unwrap();
    let result = pods.add(&web);
    let index = pods.node.state().join("by-address");
    let address = Pod::addresses(&result)[0].to_string();
    std::fs::remove_file(index.join(&address)).unwrap();
    std::os::unix::fs::symlink("../gone:eth0.json", index.join("10.99.0.250")).unwrap();
    let other = Pod::new("other").unwrap();
    let of_other = pods.add(&other);
    pods.eventually("index and records agree", || {
        pods.node.remembered().unwrap() == ["other:eth0.json", "web:eth0.json"]
    });
    pods.del(&web, &result);
    pods.del(&other, &of_other);
    pods.hold_nothing();
}
