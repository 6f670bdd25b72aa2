//! The agent is away at some moment of a pod's life.

use sluice_e2e::attach::Pod;

use crate::pods::{Pods, in_class};

const PRESERVE: &str = "[{name: all, action: Preserve}]";

#[test]
fn an_agent_that_dies_between_add_and_del_changes_nothing() {
    let mut pods = Pods::with_agent(PRESERVE);
    let [web, db] = ["web", "db"].map(|name| Pod::new(name).unwrap());
    let [of_web, of_db] = [&web, &db].map(|pod| pods.add(pod));
    let both = pods.node.members().unwrap();
    assert_eq!(both.len(), 4);
    pods.agent.kill().unwrap();
    assert_eq!(pods.node.members().unwrap(), both);
    // One goes while it is away, the other after it is back.
    pods.del(&web, &of_web);
    assert_eq!(pods.node.members().unwrap(), in_class("PRESERVE", &of_db));
    pods.start_agent();
    assert_eq!(pods.node.members().unwrap(), in_class("PRESERVE", &of_db));
    pods.chain().check(&db, &of_db).unwrap().unwrap();
    pods.del(&db, &of_db);
    pods.hold_nothing();
}

#[test]
fn a_pod_that_came_while_the_agent_was_away_gets_its_class_when_it_is_back() {
    let mut pods = Pods::with_agent(PRESERVE);
    pods.agent.kill().unwrap();
    let pod = Pod::new("web").unwrap();
    let result = pods.add(&pod);
    assert_eq!(pods.node.members().unwrap(), [""; 0]);
    assert_eq!(pods.hairpins(), 1);
    pods.start_agent();
    pods.eventually("the pod is of its class", || {
        pods.node.members().unwrap() == in_class("PRESERVE", &result)
    });
    assert_eq!(pods.record(&pod).treatment.class.as_deref(), Some("all"));
    pods.del(&pod, &result);
    pods.hold_nothing();
}

#[test]
fn a_pod_that_ended_while_the_node_had_no_sets_leaves_nothing() {
    let mut pods = Pods::new(PRESERVE);
    let [web, db] = ["web", "db"].map(|name| Pod::new(name).unwrap());
    let [of_web, of_db] = [&web, &db].map(|pod| pods.add(pod));
    pods.del(&web, &of_web);
    assert_eq!(pods.node.remembered().unwrap(), ["db:eth0.json"]);
    pods.start_agent();
    pods.eventually("the other is of its class", || {
        pods.node.members().unwrap() == in_class("PRESERVE", &of_db)
    });
    pods.del(&db, &of_db);
    pods.hold_nothing();
}
