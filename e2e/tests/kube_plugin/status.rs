//! Clusters that are well and clusters that are not.

use serde_json::json;

use crate::world::World;

#[test]
fn a_cluster_is_well_until_a_node_says_otherwise_or_has_no_agent() {
    let Some(world) = World::up("status") else {
        return;
    };
    let untold = world.plugin.run(&["status"]).unwrap();
    assert_eq!(untold.code, Some(1), "{} {}", untold.stdout, untold.stderr);
    assert!(
        untold
            .stdout
            .contains("There is no policy, and no node was told")
            && untold.stdout.contains("wrong  a: NotTold"),
        "{}",
        untold.stdout
    );

    for node in ["a", "b"] {
        world.tell(node, "r-2", ("True", ""));
        world.agent_pod(node, "Running");
    }
    world.lease();
    let (status, said) = world.plugin.json(&["status"]).unwrap();
    assert_eq!(said.code, Some(0), "{status}");
    assert_eq!(status["nodes"]["ready"], 2, "{status}");
    assert_eq!(status["operator"]["holder"], "operator-1", "{status}");
    assert_eq!(status["findings"], json!([]), "{status}");

    let service = |name: &str| {
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"},
            "spec": {"ports": [{"port": 80}], "externalIPs": ["203.0.113.1"]},
        })
    };
    world.apply(&[service("first")]);
    world.apply(&[service("second")]);
    let (status, said) = world.plugin.json(&["status"]).unwrap();
    assert_eq!(said.code, Some(1), "{status}");
    let contested = &status["services"][0];
    assert_eq!(contested["service"], "default/second", "{status}");
    let words = "203.0.113.1:80/tcp (default/first)";
    assert!(
        contested["message"].as_str().unwrap().contains(words),
        "{status}"
    );

    let why = "iptables-restore cannot be run; it is tried again";
    world.tell("b", "r-1", ("False", why));
    world.agent_pod("a", "Failed");
    let said = world.plugin.run(&["status"]).unwrap();
    assert_eq!(said.code, Some(1), "{}", said.stdout);
    for words in [
        "wrong  a (built-in): AgentNotReady for ",
        "kubectl -n sluice-system describe pod agent-a",
        &format!("not Programmed: {why}"),
        "note   b (built-in): Behind, it has r-1 and shall have r-2",
        "Something is wrong.",
    ] {
        assert!(said.stdout.contains(words), "{words} in {}", said.stdout);
    }

    let kubectl = world.installation.kubectl();
    let delete = ["delete", "pod", "agent-b", "-n", "sluice-system", "--force"];
    kubectl.run(&delete).unwrap();
    let said = world.plugin.run(&["status"]).unwrap();
    assert!(
        said.stdout.contains("wrong  b (built-in): NoAgent"),
        "{}",
        said.stdout
    );
}
