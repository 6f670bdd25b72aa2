//! Which fields of objects matter, and what they mean.

use std::net::IpAddr;
use std::path::Path;

use sluice_agent::source::ManifestSource;
use sluice_crds::v1alpha1::{Mode, OnFailure, ServiceProxyPolicySpec};
use sluice_service_plan::model::{AddressType, Protocol, Service, ServiceType, TrafficPolicy};

use crate::lab::{Lab, ip, refusals, slice};

/// Reads one service from its `spec` and `status`, written in flow style.
fn read_service(rest: &str) -> Service {
    let mut lab = Lab::new();
    lab.write(
        "s.yaml",
        &format!("apiVersion: v1\nkind: Service\nmetadata: {{name: s}}\n{rest}\n"),
    );
    let update = lab.load();
    assert_eq!(refusals(&update), [""; 0], "{rest}");
    update.services.into_values().next().unwrap().unwrap()
}

#[test]
fn every_example_is_read_without_refusal() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let mut source = ManifestSource::new(examples, "demo-node", ServiceProxyPolicySpec::default());
    let update = source.load().unwrap();
    assert_eq!(refusals(&update), [""; 0]);
    let names: Vec<String> = update.services.keys().map(ToString::to_string).collect();
    assert_eq!(names, ["demo/admin", "demo/cart", "demo/dns", "demo/web"]);
    assert_eq!(update.slices.len(), 5);
    let node = update.node.unwrap();
    assert_eq!(node.internal_ips, [ip("192.0.2.10"), ip("2001:db8::10")]);
    assert_eq!(node.zone.as_deref(), Some("zone-a"));
    assert_eq!(node.pod_cidrs.len(), 2);
    assert_eq!(update.policy.unwrap().mode, Mode::IPTables);
}

#[test]
fn every_example_of_a_policy_is_read_without_refusal() {
    let policies = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/policies");
    for file in std::fs::read_dir(policies).unwrap() {
        let file = file.unwrap().path();
        let mut lab = Lab::new();
        lab.write(
            "node.yaml",
            "apiVersion: v1\nkind: Node\nmetadata: {name: n1, labels: {pool: edge}}\n",
        );
        lab.write("policy.yaml", &std::fs::read_to_string(&file).unwrap());
        let update = lab.load();
        assert_eq!(refusals(&update), [""; 0], "{}", file.display());
        assert!(update.policy.is_some(), "{}", file.display());
    }
}

#[test]
fn a_policy_as_an_api_server_gives_it_out_is_read() {
    let mut lab = Lab::new();
    lab.write(
        "policy.yaml",
        r#"apiVersion: sluice.dev/v1alpha1
kind: ServiceProxyPolicy
metadata:
  name: edge
  uid: 6f0c1f0e-0000-4000-8000-000000000000
  generation: 3
  creationTimestamp: "2026-11-01T00:00:00Z"
  managedFields: [{manager: kubectl, operation: Update, apiVersion: sluice.dev/v1alpha1, fieldsType: FieldsV1, fieldsV1: {"f:spec": {}}}]
spec:
  nodeSelector: {}
  priority: 0
  mode: IPVS
  auto: {ipvsAboveServices: 1000, iptablesBelowServices: 800}
  rollout: {paused: false, maxUnavailable: 1, minReadySeconds: 10, progressDeadlineSeconds: 300, onFailure: Pause}
status:
  observedGeneration: 3
  conditions: [{type: Ready, status: "True", reason: Done, message: "", lastTransitionTime: "2026-11-01T00:00:00Z"}]
"#,
    );
    let update = lab.load();
    assert_eq!(refusals(&update), [""; 0]);
    let policy = update.policy.unwrap();
    assert_eq!(policy.mode, Mode::IPVS);
    assert_eq!(policy.rollout.on_failure, OnFailure::Pause);
}

#[test]
fn a_service_is_reduced_to_the_fields_that_matter() {
    let service = read_service(
        r#"spec:
  type: LoadBalancer
  clusterIP: 10.96.0.1
  clusterIPs: [10.96.0.1, "fd00::1"]
  externalIPs: [198.51.100.7, 010.000.0.08]
  loadBalancerSourceRanges: [" 10.1.2.3/8", "010.0.0.0/08 ", "fd00::1/64"]
  internalTrafficPolicy: Local
  externalTrafficPolicy: Local
  sessionAffinity: ClientIP
  healthCheckNodePort: 31000
  ports:
  - {name: a, port: 80, nodePort: 30080}
  - {name: b, port: 53, protocol: UDP, nodePort: 0}
  - {name: c, port: 53, protocol: SCTP}
status:
  loadBalancer:
    ingress:
    - {ip: 203.0.113.1}
    - {ip: 203.0.113.2, ipMode: Proxy}
    - {hostname: lb.example}
    - {ip: "fd00::2", ipMode: VIP}"#,
    );
    assert_eq!(service.name.to_string(), "default/s");
    assert_eq!(
        (service.created, service.kind),
        (0, ServiceType::LoadBalancer)
    );
    assert_eq!(service.cluster_ips, [ip("10.96.0.1"), ip("fd00::1")]);
    assert_eq!(service.external_ips, [ip("198.51.100.7"), ip("10.0.0.8")]);
    assert_eq!(
        service.load_balancer_ips,
        [ip("203.0.113.1"), ip("fd00::2")]
    );
    let ranges: Vec<String> = service
        .source_ranges
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(ranges, ["10.0.0.0/8", "10.0.0.0/8", "fd00::/64"]);
    assert_eq!(
        (service.internal_policy, service.external_policy),
        (TrafficPolicy::Local, TrafficPolicy::Local)
    );
    assert_eq!(
        (service.affinity_seconds, service.health_check_port),
        (Some(10_800), Some(31_000))
    );
    let ports: Vec<_> = service
        .ports
        .iter()
        .map(|p| (&*p.name, p.protocol, p.port, p.node_port))
        .collect();
    assert_eq!(
        ports,
        [
            ("a", Protocol::Tcp, 80, Some(30_080)),
            ("b", Protocol::Udp, 53, None),
            ("c", Protocol::Sctp, 53, None)
        ]
    );
}

#[test]
fn absent_fields_of_a_service_mean_what_the_api_says() {
    let service = read_service("spec: {clusterIP: 10.96.0.1, ports: [{port: 80}]}");
    assert_eq!(service.kind, ServiceType::ClusterIp);
    assert_eq!(
        (service.internal_policy, service.external_policy),
        (TrafficPolicy::Cluster, TrafficPolicy::Cluster)
    );
    assert_eq!(
        (service.affinity_seconds, service.health_check_port),
        (None, None)
    );
    assert_eq!(
        (&*service.ports[0].name, service.ports[0].protocol),
        ("", Protocol::Tcp)
    );
    for headless in [
        "clusterIP: None",
        "clusterIPs: [None]",
        "clusterIP: ''",
        "type: ExternalName",
    ] {
        assert_eq!(
            read_service(&format!("spec: {{{headless}}}")).cluster_ips,
            [] as [IpAddr; 0],
            "{headless}"
        );
    }
    let timeout = read_service(
        "spec: {clusterIP: 10.96.0.1, ports: [{port: 80}], sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: 5}}}",
    );
    assert_eq!(timeout.affinity_seconds, Some(5));
}

#[test]
fn age_and_labels_of_a_service_are_kept() {
    let mut lab = Lab::new();
    lab.write(
        "s.json",
        r#"{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "creationTimestamp": "1970-01-02T00:00:00Z",
        "labels": {"app": "s", "service.kubernetes.io/service-proxy-name": ""}}, "spec": {"clusterIP": "10.0.0.1", "ports": [{"port": 1}]}}"#,
    );
    let update = lab.load();
    assert_eq!(refusals(&update), [""; 0]);
    let service = update.services.values().next().unwrap().as_ref().unwrap();
    assert_eq!(service.created, 86_400);
    let labels: Vec<_> = service
        .labels
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    assert_eq!(
        labels,
        [
            ("app", "s"),
            ("service.kubernetes.io/service-proxy-name", "")
        ]
    );
}

#[test]
fn an_odd_address_in_the_status_is_passed_over_and_the_service_is_served() {
    let service = read_service(
        r#"spec:
  type: LoadBalancer
  clusterIP: 10.96.0.1
  ports: [{port: 80}]
status:
  loadBalancer:
    ingress:
    - {ip: 127.0.0.1}
    - {ip: 0.0.0.0}
    - {ip: "ff02::1"}
    - {ip: lb.example}
    - {ip: ""}
    - {ip: 203.0.113.2, ipMode: Tunnel}
    - {ip: 203.0.113.1}"#,
    );
    assert_eq!(service.cluster_ips, [ip("10.96.0.1")]);
    assert_eq!(service.load_balancer_ips, [ip("203.0.113.1")]);
}

#[test]
fn an_odd_internal_address_of_the_node_is_passed_over() {
    let mut lab = Lab::new();
    lab.write(
        "node.yaml",
        "apiVersion: v1\nkind: Node\nmetadata: {name: n1}\nspec: {podCIDR: 10.244.1.0/24}\nstatus:\n  addresses:\n  - {type: InternalIP, address: node-1.internal}\n  - {type: InternalIP, address: 192.0.2.1}\n",
    );
    let update = lab.load();
    assert_eq!(refusals(&update), [""; 0]);
    let facts = update.node.unwrap();
    assert_eq!(facts.internal_ips, [ip("192.0.2.1")]);
    assert_eq!(facts.pod_cidrs.len(), 1);
}

#[test]
fn a_slice_is_reduced_to_the_fields_that_matter() {
    let mut lab = Lab::new();
    lab.write(
        "slice.yaml",
        r#"apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: web-1
  labels: {kubernetes.io/service-name: web, service.kubernetes.io/headless: ""}
addressType: IPv4
ports:
- {name: http, port: 8080}
- {name: "", port: 53, protocol: UDP}
- {name: all-ports}
- {port: 9}
endpoints:
- {addresses: [10.0.0.1, 10.0.0.2]}
- {addresses: [10.0.0.3], conditions: {ready: false}}
- {addresses: [10.0.0.4], conditions: {ready: false, serving: true, terminating: true}, nodeName: n1, zone: a}
- {addresses: ["fd00::1"]}
- {addresses: [10.0.0.5], hints: {forZones: [{name: a}, {name: b}], forNodes: [{name: n1}]}}
- {addresses: [10.0.0.6], hints: {}}
"#,
    );
    let update = lab.load();
    assert_eq!(refusals(&update), [""; 0]);
    let slice = update.slices.values().next().unwrap().as_ref().unwrap();
    assert_eq!(
        (slice.name.to_string().as_str(), &*slice.service),
        ("default/web-1", "web")
    );
    assert!(slice.headless && slice.address_type == AddressType::Ipv4);
    let ports: Vec<_> = slice
        .ports
        .iter()
        .map(|p| (&*p.name, p.protocol, p.port))
        .collect();
    assert_eq!(
        ports,
        [("http", Protocol::Tcp, 8080), ("", Protocol::Udp, 53)]
    );
    let endpoints: Vec<_> = slice
        .endpoints
        .iter()
        .map(|e| (e.address.to_string(), e.ready, e.serving, e.terminating))
        .collect();
    assert_eq!(
        endpoints,
        [
            ("10.0.0.1".to_owned(), true, true, false),
            ("10.0.0.3".to_owned(), false, false, false),
            ("10.0.0.4".to_owned(), false, true, true),
            ("10.0.0.5".to_owned(), true, true, false),
            ("10.0.0.6".to_owned(), true, true, false),
        ]
    );
    assert_eq!(
        (
            slice.endpoints[2].node.as_deref(),
            slice.endpoints[2].zone.as_deref()
        ),
        (Some("n1"), Some("a"))
    );
    let hints = slice.endpoints[3].hints.as_ref().unwrap();
    assert_eq!((hints.zones.len(), &*hints.nodes[0]), (2, "n1"));
    assert!(slice.endpoints[4].hints.is_none());
}

#[test]
fn slices_of_names_have_no_endpoints() {
    let mut lab = Lab::new();
    lab.write(
        "a.yaml",
        &slice("a", "web")
            .replace("IPv4", "FQDN")
            .replace("endpoints: []", "endpoints: [{addresses: [a.example]}]"),
    );
    let update = lab.load();
    assert_eq!(refusals(&update), [""; 0]);
    let slice = update.slices.values().next().unwrap().as_ref().unwrap();
    assert!(slice.address_type == AddressType::Fqdn && slice.endpoints.is_empty());
}

#[test]
fn only_the_own_node_counts_and_its_deletion_is_seen() {
    let mut lab = Lab::new();
    let node = |name: &str, rest: &str| {
        format!(
            "---\napiVersion: v1\nkind: Node\nmetadata: {{name: {name}, labels: {{topology.kubernetes.io/zone: a}}}}\n{rest}\n"
        )
    };
    let other = node("n2", "spec: {podCIDR: nonsense}");
    lab.write("nodes.yaml", &(other.clone() + &node("n1", "spec: {podCIDR: 10.244.1.0/24}\nstatus: {addresses: [{type: ExternalIP, address: 1.1.1.1}, {type: InternalIP, address: 192.0.2.1}]}")));
    let update = lab.load();
    assert_eq!(refusals(&update), [""; 0]);
    let facts = update.node.unwrap();
    assert_eq!(
        (&*facts.name, facts.zone.as_deref(), facts.being_deleted),
        ("n1", Some("a"), false)
    );
    assert_eq!(facts.internal_ips, [ip("192.0.2.1")]);
    assert_eq!(facts.pod_cidrs[0].to_string(), "10.244.1.0/24");
    assert!(facts.addresses.is_empty());

    lab.write(
        "nodes.yaml",
        &node(
            "n1",
            "spec: {taints: [{key: ToBeDeletedByClusterAutoscaler, effect: NoSchedule}]}",
        ),
    );
    assert!(lab.load().node.unwrap().being_deleted);
    lab.write(
        "nodes.yaml",
        &node("n1, deletionTimestamp: '2026-01-01T00:00:00Z'", ""),
    );
    assert!(lab.load().node.is_none(), "it is being deleted, still");
    lab.write("nodes.yaml", &other);
    let facts = lab.load().node.unwrap();
    assert_eq!(
        (&*facts.name, facts.being_deleted, facts.zone),
        ("n1", false, None)
    );
}
