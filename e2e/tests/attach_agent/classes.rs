//! The class that the agent tells is in force when ADD returns, and is followed from then on.

use std::net::IpAddr;

use sluice_attachment::{Family, SetName};
use sluice_e2e::attach::Pod;

use crate::pods::{Pods, in_class};

#[test]
fn a_class_is_in_force_before_add_returns() {
    for (action, class) in [("Preserve", "PRESERVE"), ("Masquerade", "MASQ")] {
        let pods = Pods::with_agent(&format!("[{{name: all, action: {action}}}]"));
        let pod = Pod::new("web").unwrap();
        let result = pods.add(&pod);
        assert_eq!(pods.node.members().unwrap(), in_class(class, &result));
        let record = pods.record(&pod);
        assert_eq!(record.treatment.class.as_deref(), Some("all"));
        pods.chain().check(&pod, &result).unwrap().unwrap();
        pods.del(&pod, &result);
        pods.hold_nothing();
    }
}

#[test]
fn an_address_of_the_nodes_own_and_a_tunable_are_in_force_before_add_returns() {
    let mut pods = Pods::new(
        "[{name: partner, action: SNAT, snat: {addressCIDRs: [203.0.113.0/24, '2001:db8::/32']}, \
          sysctls: [{name: net.core.somaxconn, value: '321'}]}]",
    );
    let links = "link add uplink type veth peer name beyond\nlink set uplink up\n\
                 addr add 203.0.113.5/24 dev uplink\naddr add 2001:db8::5/64 dev uplink nodad";
    pods.node.namespace().ip(links).unwrap();
    pods.start_agent();
    let pod = Pod::new("web").unwrap();
    let result = pods.add(&pod);
    let record = pods.record(&pod);
    let sets = &record.treatment.sets;
    let held = |set: &SetName| {
        let addresses = Pod::addresses(&result);
        let of_family = |address: &&IpAddr| address.is_ipv4() == (set.family == Family::V4);
        let address = addresses.iter().find(of_family).unwrap();
        format!("{} {address}", set.name)
    };
    let mut expected: Vec<_> = sets.iter().map(held).collect();
    expected.sort();
    assert_eq!(pods.node.members().unwrap(), expected);
    // What says that the source is another one, and which, of each family.
    assert_eq!(expected.len(), 4, "{record:?}");
    // Rules of the agent's go by exactly these sets, to the address that the class has.
    let rules = pods.node.namespace().command("iptables-nft-save -t nat");
    let rules = rules.unwrap();
    for set in sets.iter().filter(|set| set.family == Family::V4) {
        assert!(rules.contains(&set.name), "{}: {rules}", set.name);
    }
    assert!(rules.contains("--to-source 203.0.113.5"), "{rules}");
    let somaxconn = pod.namespace.command("sysctl -n net.core.somaxconn");
    assert_eq!(somaxconn.unwrap().trim(), "321");
    pods.del(&pod, &result);
    assert_eq!(pods.node.members().unwrap(), [""; 0]);
    assert_eq!(pods.node.remembered().unwrap(), [""; 0]);
}

#[test]
fn a_class_whose_action_changes_takes_its_pods_along() {
    let pods = Pods::with_agent("[{name: all, action: Preserve}]");
    let pod = Pod::new("web").unwrap();
    let result = pods.add(&pod);
    assert_eq!(pods.node.members().unwrap(), in_class("PRESERVE", &result));
    for (classes, class) in [
        ("[{name: all, action: Masquerade}]", "MASQ"),
        ("[{name: others, action: Preserve}]", "PRESERVE"),
    ] {
        pods.set_classes(classes);
        pods.eventually(class, || {
            pods.node.members().unwrap() == in_class(class, &result)
        });
    }
    // DEL goes by what is in force, not by what was at ADD.
    pods.del(&pod, &result);
    pods.hold_nothing();
}
