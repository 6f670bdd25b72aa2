//! Packets through a node, by objects as an API server has them.

use serde_json::{Value, json};
use sluice_service_plan::packet::{Origin, Packet};

use super::planned::{Objects, Planned};
use super::report::ExplainReport;
use crate::style::Style;

fn objects(proxy: Option<Value>) -> Objects {
    let read = |value: Value| value;
    Objects {
        node: serde_json::from_value(json!({
            "metadata": {"name": "a"}, "spec": {"podCIDRs": ["10.244.0.0/24"]},
            "status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.1"}, {"type": "Hostname", "address": "a"}]},
        }))
        .unwrap(),
        proxy: proxy.map(|proxy| serde_json::from_value(proxy).unwrap()),
        services: serde_json::from_value(read(json!([
            {
                "metadata": {"name": "web", "namespace": "default"},
                "spec": {"type": "NodePort", "clusterIP": "10.96.0.80", "clusterIPs": ["10.96.0.80"], "ports": [{"port": 80, "nodePort": 30080, "protocol": "TCP"}]},
            },
            {
                "metadata": {"name": "edge", "namespace": "default"},
                "spec": {"type": "LoadBalancer", "clusterIP": "10.96.0.81", "clusterIPs": ["10.96.0.81"], "ports": [{"port": 80, "nodePort": 30082, "protocol": "TCP"}]},
                "status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.9"}]}},
            },
            {"metadata": {"name": "bad", "namespace": "default"}, "spec": {"clusterIPs": ["10.96.0.999"], "ports": [{"port": 80}]}},
        ])))
        .unwrap(),
        slices: serde_json::from_value(json!([
            {
                "metadata": {"name": "web-1", "namespace": "default", "labels": {"kubernetes.io/service-name": "web"}},
                "addressType": "IPv4", "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
                "endpoints": [{"addresses": ["10.244.0.7"], "nodeName": "a"}, {"addresses": ["10.244.1.7"], "nodeName": "b"}],
            },
            {"metadata": {"name": "of-nobody", "namespace": "default"}, "addressType": "IPv4", "endpoints": []},
        ]))
        .unwrap(),
    }
}

fn proxy(observed: &str) -> Value {
    json!({
        "apiVersion": "sluice.dev/v1alpha1", "kind": "NodeServiceProxy", "metadata": {"name": "a"},
        "spec": {"policy": "p", "policyGeneration": 1, "revision": "r-2", "mode": "IPTables", "settings": {"sourceNAT": {"masqueradeAll": true}}},
        "status": {"observedRevision": observed},
    })
}

fn report(proxy: Option<Value>, from: &str, to: &str) -> ExplainReport {
    let planned = Planned::of(objects(proxy)).unwrap();
    let to: sluice_service_plan::destination::Destination = to.parse().unwrap();
    let from = from.parse().unwrap();
    let packet = Packet {
        protocol: to.protocol,
        source: from,
        destination: to.address,
        origin: Origin::of_source(from, &planned.plan().node),
        class: None,
    };
    ExplainReport::of("a", &packet, &planned)
}

#[test]
fn a_pods_packet_to_a_service_keeps_its_source_and_what_was_taken_for_granted_is_said() {
    let report = report(None, "10.244.0.9", "10.96.0.80:80");
    let text = report.text(Style::PLAIN);
    for line in [
        "10.244.0.9 -> 10.96.0.80:80/tcp\non a (defaults)\n  1. 10.96.0.80:80/tcp is the cluster IP of service default/web\n",
        "verdict: goes to one of 2 endpoints of default/web",
        "10.244.0.7:8080 (1 of 2), on this node, source kept",
        "10.244.1.7:8080 (1 of 2), on another node, source kept",
        "Taken for granted: the node's addresses are those of its object's status (192.0.2.1)",
        "Taken for granted: pods of the node: traffic of pods comes from 10.244.0.0/24",
        "Taken for granted: no operator has told the node",
        "Not served: Service default/bad: spec.clusterIPs[0]: \"10.96.0.999\" is not an IP address",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["verdict"], "Balance");
    let first =
        json!({"address": "10.244.0.7:8080", "weight": 1, "local": true, "masqueraded": false});
    assert_eq!(json["endpoints"][0], first);
}

#[test]
fn the_settings_of_the_node_count_and_that_it_lags_is_said() {
    let text = report(Some(proxy("r-1")), "10.244.0.9", "10.96.0.80:80").text(Style::PLAIN);
    assert!(
        text.contains("policy p, mode IPTables, revision r-2; the node still has r-1"),
        "{text}"
    );
    assert!(
        text.contains("source of this node"),
        "masqueradeAll: {text}"
    );
    assert!(!text.contains("no operator has told"));
}

#[test]
fn what_ipvs_leaves_to_others_is_so_only_where_the_node_is_told_to_run_it() {
    let verdict = |mode: &str| {
        let mut proxy = proxy("r-2");
        proxy["spec"]["mode"] = json!(mode);
        proxy["spec"]["settings"] = json!({"ipvs": {"excludeCIDRs": ["10.96.0.80/32"]}});
        serde_json::to_value(report(Some(proxy), "10.244.0.9", "10.96.0.80:80")).unwrap()["verdict"]
            .clone()
    };
    assert_eq!(verdict("IPVS"), "NotOurs");
    assert_eq!(verdict("IPTables"), "Balance");
}

#[test]
fn node_ports_refusals_and_other_traffic_are_told_apart() {
    let verdict = |from: &str, to: &str| {
        serde_json::to_value(report(None, from, to)).unwrap()["verdict"].clone()
    };
    assert_eq!(verdict("198.51.100.9", "192.0.2.1:30080"), "Balance");
    assert_eq!(verdict("198.51.100.9", "192.0.2.1:30081"), "NotOurs");
    assert_eq!(verdict("10.244.0.9", "10.96.0.80:81"), "Reject");
    let text = |to: &str| report(None, "198.51.100.9", to).text(Style::PLAIN);
    let (health, other) = (text("203.0.113.9:10256"), text("203.0.113.9:10257"));
    let words = "Taken for granted: the node's agent tells of its health on port 10256";
    assert!(health.contains(words) && !other.contains(words), "{health}");
    let step = |text: &str| text.lines().nth(2).unwrap().replace("10256", "10257");
    assert_ne!(step(&health), step(&other), "{health}");
    assert_eq!(verdict("10.244.0.9", "10.96.0.80:80/udp"), "Reject");
}
