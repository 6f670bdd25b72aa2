//! Packets through a node, by objects that an API server has taken.

use serde_json::json;

use crate::world::World;

#[test]
fn a_packet_is_explained_by_services_slices_node_and_settings() {
    let Some(world) = World::up("explain") else {
        return;
    };
    world.apply(&[
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "default"},
            "spec": {"type": "NodePort", "selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "nodePort": 30080}]},
        }),
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": "web-1", "namespace": "default", "labels": {"kubernetes.io/service-name": "web"}},
            "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
            "endpoints": [
                {"addresses": ["10.244.0.7"], "nodeName": "a", "conditions": {"ready": true}},
                {"addresses": ["10.244.1.7"], "nodeName": "b", "conditions": {"ready": true}},
            ],
        }),
    ]);
    world.tell("a", "r-2", ("True", ""));
    let kubectl = world.installation.kubectl();
    let path = "-o=jsonpath={.spec.clusterIP}";
    let cluster_ip = kubectl.run(&["get", "service", "web", path]).unwrap();
    let explain = |from: &str, to: &str| {
        let arguments = ["explain", "--node", "a", "--from", from, "--to", to];
        world.plugin.json(&arguments).unwrap().0
    };

    let from_pod = explain("10.244.0.9", &format!("{cluster_ip}:80"));
    assert_eq!(from_pod["verdict"], "Balance", "{from_pod}");
    assert_eq!(
        from_pod["endpoints"],
        json!([
            {"address": "10.244.0.7:8080", "weight": 1, "local": true, "masqueraded": false},
            {"address": "10.244.1.7:8080", "weight": 1, "local": false, "masqueraded": false},
        ])
    );
    let outside = explain("198.51.100.9", "192.0.2.1:30080");
    assert_eq!(outside["endpoints"][1]["masqueraded"], true, "{outside}");
    assert_eq!(
        explain("198.51.100.9", "192.0.2.2:30080")["verdict"],
        "NotOurs"
    );
    assert_eq!(
        explain("10.244.0.9", &format!("{cluster_ip}:81"))["verdict"],
        "Reject"
    );

    let to = format!("{cluster_ip}:80/tcp");
    let arguments = ["explain", "--node=a", "--from=10.244.0.9", "--to", &to];
    let said = world.plugin.run(&arguments).unwrap();
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    for words in [
        "on a (policy built-in, mode IPTables, revision r-2)",
        "is the cluster IP of service default/web, port http",
        "verdict: goes to one of 2 endpoints of default/web",
        "Taken for granted: the node's addresses",
    ] {
        assert!(said.stdout.contains(words), "{words} in {}", said.stdout);
    }

    for (arguments, words) in [
        (
            ["--node=c", "--from=10.244.0.9", "--to=10.96.0.1:443"],
            "there is no node c",
        ),
        (
            ["--node=a", "--from=fd00::9", "--to=10.96.0.1:443"],
            "are of two families",
        ),
        (
            ["--node=a", "--from=10.244.0.9", "--to=10.96.0.1"],
            "write 10.96.0.1:443",
        ),
    ] {
        let whole: Vec<&str> = ["explain"].into_iter().chain(arguments).collect();
        let said = world.plugin.run(&whole).unwrap();
        assert_eq!(said.code, Some(2), "{}", said.stdout);
        assert!(said.stderr.contains(words), "{}", said.stderr);
    }
}
