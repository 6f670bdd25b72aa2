//! Manifest files: what is read of them, what is refused in which words, and what a change of a file changes.

use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use sluice_agent::source::{ManifestError, ManifestSource, Source, SourceError, Update};
use sluice_crds::v1alpha1::{Mode, ServiceProxyPolicySpec};
use sluice_service_plan::model::{AddressType, Protocol, Service, ServiceType, TrafficPolicy};
use tempfile::TempDir;

/// A manifest directory and the source that reads it.
struct Lab {
    directory: TempDir,
    source: ManifestSource,
}

impl Lab {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let source = ManifestSource::new(directory.path(), "n1", ServiceProxyPolicySpec::default());
        Self { directory, source }
    }

    fn write(&self, file: &str, text: &str) {
        // As careful writers do: a reader never sees half a file.
        let temporary = self.directory.path().join(".new");
        fs::write(&temporary, text).unwrap();
        fs::rename(temporary, self.directory.path().join(file)).unwrap();
    }

    fn remove(&self, file: &str) {
        fs::remove_file(self.directory.path().join(file)).unwrap();
    }

    fn load(&mut self) -> Update {
        self.source.load().unwrap()
    }
}

/// What an update says, in one line for each thing, without refusals: `+service ns/a 10.0.0.1`, `-slice ns/b`.
fn changes(update: &Update) -> Vec<String> {
    let services = update.services.iter().map(|(name, service)| match service {
        Some(service) => format!(
            "+service {name}{}",
            service
                .cluster_ips
                .iter()
                .map(|ip| format!(" {ip}"))
                .collect::<String>()
        ),
        None => format!("-service {name}"),
    });
    let slices = update.slices.iter().map(|(name, slice)| match slice {
        Some(slice) => format!("+slice {name} of {}", slice.service),
        None => format!("-slice {name}"),
    });
    services.chain(slices).collect()
}

fn refusals(update: &Update) -> Vec<String> {
    update.refusals.iter().map(ToString::to_string).collect()
}

fn service(name: &str, ip: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: ns}}\nspec:\n  clusterIP: {ip}\n  ports:\n  - port: 80\n"
    )
}

fn slice(name: &str, service: &str) -> String {
    format!(
        "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: {name}, namespace: ns, labels: {{kubernetes.io/service-name: {service}}}}}\naddressType: IPv4\nendpoints: []\n"
    )
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

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
fn labels_and_age_of_a_service_are_kept() {
    let mut lab = Lab::new();
    lab.write(
        "s.json",
        r#"{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "creationTimestamp": "1970-01-02T00:00:00Z",
        "labels": {"service.kubernetes.io/service-proxy-name": ""}}, "spec": {"clusterIP": "10.0.0.1", "ports": [{"port": 1}]}}"#,
    );
    let update = lab.load();
    assert_eq!(refusals(&update), [""; 0]);
    let service = update.services.values().next().unwrap().as_ref().unwrap();
    assert_eq!(service.created, 86_400);
    assert_eq!(
        service.labels["service.kubernetes.io/service-proxy-name"],
        ""
    );
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

/// A row: the text of a file, and everything that is refused of it.
type Row = (&'static str, &'static [&'static str]);

const SERVICES: &[Row] = &[
    (
        "spec: {type: Pod}",
        &[
            "f.yaml:4: Service default/s: spec.type: \"Pod\" is not known: use ClusterIP, NodePort, LoadBalancer or ExternalName",
        ],
    ),
    (
        "",
        &["f.yaml:1: Service default/s: spec: it is missing: add it"],
    ),
    (
        "spec: {clusterIP: 10.0.0}",
        &[
            "f.yaml:4: Service default/s: spec.clusterIP: \"10.0.0\" is not an IP address: write one such as 10.0.0.1 or fd00::1",
        ],
    ),
    (
        "spec:\n  clusterIPs:\n  - 10.0.0.1\n  - x",
        &[
            "f.yaml:7: Service default/s: spec.clusterIPs[1]: \"x\" is not an IP address: write one such as 10.0.0.1 or fd00::1",
        ],
    ),
    (
        "spec: {clusterIPs: [10.0.0.1, 10.0.0.2]}",
        &[
            "f.yaml:4: Service default/s: spec.clusterIPs[1]: 10.0.0.2 is the second address of its family: list one for each family",
        ],
    ),
    (
        "spec: {clusterIP: 0.0.0.0}",
        &[
            "f.yaml:4: Service default/s: spec.clusterIP: 0.0.0.0 is the unspecified address: use an address that other hosts can reach",
        ],
    ),
    (
        "spec: {externalIPs: [127.0.0.1]}",
        &[
            "f.yaml:4: Service default/s: spec.externalIPs[0]: 127.0.0.1 is a loopback address: use an address that other hosts can reach",
        ],
    ),
    (
        "spec: {externalIPs: ['ff02::1']}",
        &[
            "f.yaml:4: Service default/s: spec.externalIPs[0]: ff02::1 is a multicast address: use an address that other hosts can reach",
        ],
    ),
    (
        "spec: {clusterIP: 10.0.0.1}",
        &[
            "f.yaml:4: Service default/s: spec.ports: the list is empty: add the ports of the service",
        ],
    ),
    (
        "spec: {ports: [{port: 0}]}",
        &["f.yaml:4: Service default/s: spec.ports[0].port: 0 is not between 1 and 65535"],
    ),
    (
        "spec:\n  ports:\n  - name: a\n    port: 1\n  - name: b\n    port: 65536",
        &["f.yaml:9: Service default/s: spec.ports[1].port: 65536 is not between 1 and 65535"],
    ),
    (
        "spec: {ports: [{port: http}]}",
        &[
            "f.yaml:4: Service default/s: spec.ports[0].port: invalid type: string \"http\", expected i32",
        ],
    ),
    (
        "spec: {ports: [{port: '80'}]}",
        &[
            "f.yaml:4: Service default/s: spec.ports[0].port: invalid type: string \"80\", expected i32",
        ],
    ),
    (
        "spec: {ports: [{name: a}]}",
        &["f.yaml:4: Service default/s: spec.ports[0].port: 0 is not between 1 and 65535"],
    ),
    (
        "spec: {ports: {port: 80}}",
        &["f.yaml:4: Service default/s: spec.ports: invalid type: map, expected a sequence"],
    ),
    (
        "spec: {ports: [{port: 1, protocol: tcp}]}",
        &[
            "f.yaml:4: Service default/s: spec.ports[0].protocol: \"tcp\" is not known: use TCP, UDP or SCTP",
        ],
    ),
    (
        "spec: {ports: [{port: 1, nodePort: 3}]}",
        &[
            "f.yaml:4: Service default/s: spec.ports[0].nodePort: a service of type ClusterIP has no node ports: remove it, or set spec.type to NodePort",
        ],
    ),
    (
        "spec: {type: NodePort, ports: [{port: 1, nodePort: -1}]}",
        &["f.yaml:4: Service default/s: spec.ports[0].nodePort: -1 is not between 1 and 65535"],
    ),
    (
        "spec: {type: NodePort, ports: [{name: a, port: 1, nodePort: 9}, {name: b, port: 2, nodePort: 9}]}",
        &[
            "f.yaml:4: Service default/s: spec.ports[1].nodePort: 9/tcp is there already: remove one, or change it",
        ],
    ),
    (
        "spec: {ports: [{name: a, port: 1}, {port: 2}]}",
        &[
            "f.yaml:4: Service default/s: spec.ports[1].name: of several ports each needs a name: add it",
        ],
    ),
    (
        "spec: {ports: [{name: a, port: 1}, {name: a, port: 2}]}",
        &[
            "f.yaml:4: Service default/s: spec.ports[1].name: \"a\" is there already: remove one, or change it",
        ],
    ),
    (
        "spec: {ports: [{name: a, port: 1}, {name: b, port: 1}]}",
        &[
            "f.yaml:4: Service default/s: spec.ports[1].port: 1/tcp is there already: remove one, or change it",
        ],
    ),
    (
        "spec: {ports: [{name: A_b, port: 1}]}",
        &[
            "f.yaml:4: Service default/s: spec.ports[0].name: \"A_b\" is not a name: use at most 63 lower-case letters, digits and dashes, with a letter or digit at both ends",
        ],
    ),
    (
        "spec: {loadBalancerSourceRanges: [10.0.0.0]}",
        &[
            "f.yaml:4: Service default/s: spec.loadBalancerSourceRanges[0]: \"10.0.0.0\" is not a network: write address/prefix length, such as 10.0.0.0/8 or fd00::/8",
        ],
    ),
    (
        "spec: {internalTrafficPolicy: local}",
        &[
            "f.yaml:4: Service default/s: spec.internalTrafficPolicy: \"local\" is not known: use Cluster or Local",
        ],
    ),
    (
        "spec: {externalTrafficPolicy: Global}",
        &[
            "f.yaml:4: Service default/s: spec.externalTrafficPolicy: \"Global\" is not known: use Cluster or Local",
        ],
    ),
    (
        "spec: {sessionAffinity: Cookie}",
        &[
            "f.yaml:4: Service default/s: spec.sessionAffinity: \"Cookie\" is not known: use None or ClientIP",
        ],
    ),
    (
        "spec: {sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: 0}}}",
        &[
            "f.yaml:4: Service default/s: spec.sessionAffinityConfig.clientIP.timeoutSeconds: 0 is not between 1 and 86400",
        ],
    ),
    (
        "spec: {healthCheckNodePort: 70000}",
        &[
            "f.yaml:4: Service default/s: spec.healthCheckNodePort: 70000 is not between 1 and 65535",
        ],
    ),
    (
        "spec: {}\nstatus: {loadBalancer: {ingress: [{ip: 1.1.1.1, ipMode: Tunnel}]}}",
        &[
            "f.yaml:5: Service default/s: status.loadBalancer.ingress[0].ipMode: \"Tunnel\" is not known: use VIP or Proxy",
        ],
    ),
    (
        "spec: {}\nstatus: {loadBalancer: {ingress: [{ip: lb.example}]}}",
        &[
            "f.yaml:5: Service default/s: status.loadBalancer.ingress[0].ip: \"lb.example\" is not an IP address: write one such as 10.0.0.1 or fd00::1",
        ],
    ),
    (
        "spec: true",
        &["f.yaml:4: Service default/s: spec: invalid type: boolean `true`, expected ServiceSpec"],
    ),
];

const SLICES: &[Row] = &[
    (
        "addressType: IPv5",
        &[
            "f.yaml:4: EndpointSlice ns/e: addressType: \"IPv5\" is not known: use IPv4, IPv6 or FQDN",
        ],
    ),
    (
        "",
        &["f.yaml:1: EndpointSlice ns/e: addressType: \"\" is not known: use IPv4, IPv6 or FQDN"],
    ),
    (
        "addressType: IPv4\nendpoints:\n- addresses: [10.0.0.1]\n- addresses: []",
        &[
            "f.yaml:7: EndpointSlice ns/e: endpoints[1].addresses: the list is empty: add the endpoint's address",
        ],
    ),
    (
        "addressType: IPv4\nendpoints:\n- addresses: [pod-1]",
        &[
            "f.yaml:6: EndpointSlice ns/e: endpoints[0].addresses[0]: \"pod-1\" is not an IP address: write one such as 10.0.0.1 or fd00::1",
        ],
    ),
    (
        "addressType: IPv4\nendpoints:\n- addresses: [127.0.0.1]",
        &[
            "f.yaml:6: EndpointSlice ns/e: endpoints[0].addresses[0]: 127.0.0.1 is a loopback address: use an address that other hosts can reach",
        ],
    ),
    (
        "addressType: IPv4\nports: [{name: a, port: 0}]",
        &["f.yaml:5: EndpointSlice ns/e: ports[0].port: 0 is not between 1 and 65535"],
    ),
    (
        "addressType: IPv4\nports: [{name: a, port: 1, protocol: ICMP}]",
        &[
            "f.yaml:5: EndpointSlice ns/e: ports[0].protocol: \"ICMP\" is not known: use TCP, UDP or SCTP",
        ],
    ),
    (
        "addressType: IPv4\nports: [{name: 'a b', port: 1}]",
        &[
            "f.yaml:5: EndpointSlice ns/e: ports[0].name: \"a b\" is not a name: use at most 63 lower-case letters, digits and dashes, with a letter or digit at both ends",
        ],
    ),
];

const POLICIES: &[Row] = &[
    (
        "spec:\n  ipvs: {}",
        &[
            "f.yaml:5: ServiceProxyPolicy p: spec.ipvs: unknown field `ipvs`, expected one of `nodeSelector`, `priority`, `mode`, `iptables`, `sourceNAT`, `conntrack`, `nodePorts`, `sync`, `sysctls`, `endpointWeights`",
        ],
    ),
    (
        "spec:\n  mode: IPVS",
        &[
            "f.yaml:5: ServiceProxyPolicy p: spec.mode: unknown variant `IPVS`, expected `Auto` or `IPTables`",
        ],
    ),
    (
        "spec:\n  sourceNAT:\n    markBit: 32\n  endpointWeights:\n  - weight: 0",
        &[
            "f.yaml:6: ServiceProxyPolicy p: spec.sourceNAT.markBit: 32 is not between 0 and 31",
            "f.yaml:8: ServiceProxyPolicy p: spec.endpointWeights[0].weight: 0 is not between 1 and 65535",
        ],
    ),
    (
        "spec:\n  nodePorts:\n    addresses:\n    - 10.0.0.1/8",
        &[
            "f.yaml:7: ServiceProxyPolicy p: spec.nodePorts.addresses[0]: 10.0.0.1/8 has address bits after its prefix: write 10.0.0.0/8",
        ],
    ),
    (
        "specs: {}",
        &[
            "f.yaml:4: ServiceProxyPolicy p: specs: unknown field `specs`, expected one of `apiVersion`, `kind`, `metadata`, `spec`, `status`",
        ],
    ),
    (
        "",
        &["f.yaml:1: ServiceProxyPolicy p: spec: it is missing: add it"],
    ),
];

const DOCUMENTS: &[Row] = &[
    (
        "apiVersion: v1\nmetadata: {name: s}",
        &["f.yaml:1: kind: it is missing: add it"],
    ),
    (
        "# first\n---\n# second\napiVersion: v1\nkind: Pod\nmetadata: {name: s}",
        &[
            "f.yaml:5: kind: \"Pod\" is not read by the agent, which reads Service, EndpointSlice, Node, ServiceProxyPolicy and lists of them: correct it, or move it elsewhere",
        ],
    ),
    (
        "apiVersion: v2\nkind: Service\nmetadata: {name: s}",
        &["f.yaml:1: apiVersion: \"v2\" is not the version that is read: write v1"],
    ),
    (
        "kind: EndpointSlice\nmetadata: {name: s}",
        &["f.yaml:1: apiVersion: \"\" is not the version that is read: write discovery.k8s.io/v1"],
    ),
    (
        "apiVersion: v1\nkind: Service\nspec: {}",
        &["f.yaml:1: Service: metadata.name: it is missing: add it"],
    ),
    (
        "apiVersion: v1\nkind: Service\nmetadata: {name: 5}",
        &["f.yaml:3: Service: metadata.name: invalid type: integer `5`, expected a string"],
    ),
    (
        "apiVersion: v1\nkind: Service\nmetadata: {name: \"a\\n-A INPUT\"}\nspec: {}",
        &[
            "f.yaml:3: Service default/a\n-A INPUT: metadata.name: \"a\\n-A INPUT\" is not a name: use at most 253 lower-case letters, digits, dashes and dots, with a letter or digit at both ends of each part",
        ],
    ),
    (
        "apiVersion: v1\nkind: Service\nmetadata: {name: a, namespace: B}\nspec: {}",
        &[
            "f.yaml:3: Service B/a: metadata.namespace: \"B\" is not a name: use at most 63 lower-case letters, digits and dashes, with a letter or digit at both ends",
        ],
    ),
    (
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: e\n  labels: {}\naddressType: IPv4",
        &[
            "f.yaml:5: EndpointSlice default/e: metadata.labels: label kubernetes.io/service-name is missing: add it with the name of the slice's service",
        ],
    ),
    (
        "apiVersion: v1\nkind: Node\nmetadata: {name: n1}\nspec:\n  podCIDRs: [10.0.0.0]",
        &[
            "f.yaml:5: Node n1: spec.podCIDRs[0]: \"10.0.0.0\" is not a network: write address/prefix length, such as 10.0.0.0/8 or fd00::/8",
        ],
    ),
    ("just words", &["f.yaml:1: kind: it is missing: add it"]),
    (
        "a: [1\nb: 2",
        &[
            "f.yaml:2: illegal placement of ':' indicator: correct the file, until then the last good state of its objects is kept",
        ],
    ),
    (
        "kind: Service\n---\na: 1\na: 2",
        &[
            "f.yaml:4: duplicate mapping key: a, set DuplicateKeyPolicy in Options if acceptable: correct the file, until then the last good state of its objects is kept",
        ],
    ),
    (
        "kind: Service\n---\n\n\na: *nothing",
        &[
            "f.yaml:5: alias references unknown anchor: correct the file, until then the last good state of its objects is kept",
        ],
    ),
];

#[test]
fn what_cannot_be_used_is_refused_with_place_reason_and_remedy() {
    let heads = [
        (
            "apiVersion: v1\nkind: Service\nmetadata: {name: s}\n",
            SERVICES,
        ),
        (
            "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: e, namespace: ns, labels: {kubernetes.io/service-name: s}}\n",
            SLICES,
        ),
        (
            "apiVersion: sluice.dev/v1alpha1\nkind: ServiceProxyPolicy\nmetadata: {name: p}\n",
            POLICIES,
        ),
        ("", DOCUMENTS),
    ];
    for (head, rows) in heads {
        for (text, expected) in rows {
            let mut lab = Lab::new();
            lab.write("f.yaml", &format!("{head}{text}\n"));
            let update = lab.load();
            assert_eq!(refusals(&update), *expected, "{head}{text}");
            assert_eq!(changes(&update), [""; 0], "{head}{text}");
        }
    }
}

#[test]
fn a_text_that_is_no_json_is_refused_with_its_line() {
    let mut lab = Lab::new();
    lab.write("f.json", "{\"kind\": \"Service\"}\n{\n  \"kind\": ]");
    assert_eq!(
        refusals(&lab.load()),
        [
            "f.json:3: expected value: correct the file, until then the last good state of its objects is kept"
        ]
    );
}

#[test]
fn an_invalid_object_keeps_its_last_good_version_and_hurts_no_other() {
    let mut lab = Lab::new();
    lab.write(
        "f.yaml",
        &(service("a", "10.0.0.1") + &service("b", "10.0.0.2")),
    );
    assert_eq!(
        changes(&lab.load()),
        ["+service ns/a 10.0.0.1", "+service ns/b 10.0.0.2"]
    );

    lab.write(
        "f.yaml",
        &(service("a", "10.0.0") + &service("b", "10.0.0.3") + &service("c", "x")),
    );
    let update = lab.load();
    assert_eq!(changes(&update), ["+service ns/b 10.0.0.3"]);
    assert_eq!(update.refusals.len(), 2);

    lab.write(
        "f.yaml",
        &(service("a", "10.0.0.1") + &service("b", "10.0.0.3")),
    );
    let update = lab.load();
    assert_eq!(
        changes(&update),
        [""; 0],
        "what is written is in force already"
    );
    assert_eq!((update.refusals.len(), update.settled.len()), (0, 2));
    assert_eq!(lab.source.refusals().count(), 0);
}

#[test]
fn an_object_is_not_removed_because_its_kind_or_name_became_unreadable() {
    for broken in [
        "kind: Servise",
        "kind: 5",
        "kind: Service\nspec: {type: X}",
        "metadata: {namespace: ns}",
    ] {
        let mut lab = Lab::new();
        lab.write(
            "f.yaml",
            &(service("a", "10.0.0.1") + &service("b", "10.0.0.2")),
        );
        lab.load();
        let name = if broken.contains("metadata") {
            ""
        } else {
            "metadata: {name: a, namespace: ns}\n"
        };
        let api = "apiVersion: v1\n";
        lab.write(
            "f.yaml",
            &format!("{api}{name}{broken}\n{}", service("b", "10.0.0.3")),
        );
        let update = lab.load();
        assert_eq!(changes(&update), ["+service ns/b 10.0.0.3"], "{broken}");
        assert_eq!(update.refusals.len(), 1, "{broken}");
        lab.write("f.yaml", &service("b", "10.0.0.3"));
        assert_eq!(changes(&lab.load()), ["-service ns/a"], "{broken}");
    }
}

#[test]
fn a_file_that_does_not_parse_keeps_all_its_objects() {
    let mut lab = Lab::new();
    lab.write(
        "f.yaml",
        &(service("a", "10.0.0.1") + &service("b", "10.0.0.2")),
    );
    lab.write("g.yaml", &service("c", "10.0.0.3"));
    lab.load();
    lab.write("f.yaml", &(service("a", "10.0.0.9") + "---\n}\n"));
    lab.write("g.yaml", &service("c", "10.0.0.4"));
    let update = lab.load();
    assert_eq!(changes(&update), ["+service ns/c 10.0.0.4"]);
    assert_eq!(update.refusals.len(), 1);
    lab.write("f.yaml", &service("a", "10.0.0.9"));
    assert_eq!(
        changes(&lab.load()),
        ["+service ns/a 10.0.0.9", "-service ns/b"]
    );
    lab.write("f.yaml", "}");
    assert_eq!(changes(&lab.load()), [""; 0]);
    lab.remove("f.yaml");
    assert_eq!(changes(&lab.load()), ["-service ns/a"]);
}

#[test]
fn a_file_that_is_no_text_keeps_its_objects() {
    let mut lab = Lab::new();
    lab.write("f.yaml", &service("a", "10.0.0.1"));
    lab.load();
    fs::write(lab.directory.path().join("f.yaml"), b"\xff\xfe").unwrap();
    let update = lab.load();
    assert_eq!(changes(&update), [""; 0]);
    assert!(
        refusals(&update)[0].starts_with("f.yaml: the file cannot be read ("),
        "{:?}",
        update.refusals
    );
}

#[test]
fn of_an_object_in_two_files_the_first_file_counts_and_the_second_inherits() {
    let mut lab = Lab::new();
    lab.write("b.yaml", &(slice("e", "a") + &service("a", "10.0.0.2")));
    assert_eq!(
        changes(&lab.load()),
        ["+service ns/a 10.0.0.2", "+slice ns/e of a"]
    );
    lab.write("a.yaml", &service("a", "10.0.0.1"));
    let update = lab.load();
    assert_eq!(changes(&update), ["+service ns/a 10.0.0.1"]);
    assert_eq!(
        refusals(&update),
        [
            "b.yaml:8: Service ns/a: a.yaml has it too and counts: remove it from one of the two files"
        ]
    );
    lab.write("b.yaml", &(slice("e", "a") + &service("a", "10.0.0.3")));
    assert!(
        lab.load().is_empty(),
        "what is refused is refused still, in the same words"
    );
    lab.remove("a.yaml");
    let update = lab.load();
    assert_eq!(changes(&update), ["+service ns/a 10.0.0.3"]);
    assert_eq!(update.settled.len(), 1);
}

#[test]
fn an_object_that_moves_to_another_file_does_not_change() {
    for (from, to) in [("a.yaml", "b.yaml"), ("b.yaml", "a.yaml")] {
        let mut lab = Lab::new();
        lab.write(
            from,
            &(service("x", "10.0.0.1") + &service("y", "10.0.0.2")),
        );
        lab.load();
        lab.write(from, &service("x", "10.0.0.1"));
        lab.write(to, &service("y", "10.0.0.2"));
        assert!(lab.load().is_empty(), "{from} -> {to}");
        lab.remove(to);
        assert_eq!(changes(&lab.load()), ["-service ns/y"]);
    }
}

#[test]
fn an_object_twice_in_a_file_is_taken_once() {
    let mut lab = Lab::new();
    lab.write(
        "f.yaml",
        &(service("a", "10.0.0.1") + &service("a", "10.0.0.2")),
    );
    let update = lab.load();
    assert_eq!(changes(&update), ["+service ns/a 10.0.0.1"]);
    assert_eq!(
        refusals(&update),
        [
            "f.yaml:9: Service ns/a: it is in this file already, on line 2, which counts: remove one of the two"
        ]
    );
}

#[test]
fn lists_are_their_items() {
    let json = r#"{"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, "spec": {"clusterIP": "10.0.0.1", "ports": [{"port": 1}]}},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "b"},
         "spec": {"clusterIP": "10.0.0.2", "ports": [{"port": 0}]}}]}"#;
    let yaml = "apiVersion: v1\nkind: ServiceList\nitems:\n- metadata: {name: a}\n  spec: {clusterIP: 10.0.0.1, ports: [{port: 1}]}\n- metadata: {name: b}\n  spec: {clusterIP: 10.0.0.2, ports: [{port: 0}]}\n";
    let rows = [("f.json", json, 4), ("f.yaml", json, 4), ("f.yml", yaml, 7)];
    for (file, text, line) in rows {
        let mut lab = Lab::new();
        lab.write(file, text);
        let update = lab.load();
        assert_eq!(changes(&update), ["+service default/a 10.0.0.1"], "{file}");
        assert_eq!(
            refusals(&update),
            [format!(
                "{file}:{line}: Service default/b: spec.ports[0].port: 0 is not between 1 and 65535"
            )]
        );
        lab.write(
            file,
            &text
                .replace("10.0.0.1", "10.0.0.9")
                .replace("port\": 0", "port\": 2")
                .replace("port: 0", "port: 2"),
        );
        assert_eq!(
            changes(&lab.load()),
            ["+service default/a 10.0.0.9", "+service default/b 10.0.0.2"],
            "{file}"
        );
        lab.write(file, &text.replace("10.0.0.1", "10.0.0.9"));
        assert_eq!(changes(&lab.load()), [""; 0], "{file}");
    }
}

#[test]
fn only_what_changed_is_told() {
    let mut lab = Lab::new();
    lab.write(
        "f.yaml",
        &(service("a", "10.0.0.1") + &service("b", "10.0.0.2") + &slice("e", "a")),
    );
    let first = lab.load();
    assert!(
        first.node.is_some() && first.policy.is_some(),
        "the first update is complete"
    );
    assert!(lab.load().is_empty());
    lab.write(
        "f.yaml",
        &(service("b", "10.0.0.2") + "# moved\n" + &slice("e", "b") + &service("a", "10.0.0.1")),
    );
    assert_eq!(changes(&lab.load()), ["+slice ns/e of b"]);
    lab.write("ignored.txt", "}");
    lab.write(".hidden.yaml", "}");
    lab.write("empty.yaml", "# nothing\n---\n\n---\n");
    lab.write("empty.json", " ");
    assert!(lab.load().is_empty());
    lab.write("bad.yaml", "kind: Pod");
    assert_eq!(lab.load().refusals.len(), 1);
    lab.write("other.yaml", &service("c", "10.0.0.3"));
    let update = lab.load();
    assert_eq!(
        (changes(&update).len(), update.refusals.len()),
        (1, 0),
        "a refusal is told once"
    );
}

#[test]
fn json_documents_may_follow_each_other_and_stand_in_yaml_files() {
    let one = |name: &str| {
        format!(
            r#"{{"apiVersion": "v1", "kind": "Service", "metadata": {{"name": "{name}"}}, "spec": {{"clusterIP": "10.0.0.1", "ports": [{{"port": 1}}]}}}}"#
        )
    };
    let mut lab = Lab::new();
    lab.write(
        "a.json",
        &format!("\u{feff}{}\n{}{}", one("a"), one("b"), one("c")),
    );
    lab.write(
        "b.yaml",
        &format!("{}\n---\r\n{}\n--- {}\n", one("d"), one("e"), one("f")),
    );
    let update = lab.load();
    assert_eq!((refusals(&update), update.services.len()), (vec![], 6));
}

#[test]
fn the_policy_with_the_highest_priority_that_selects_the_node_counts() {
    let policy = |name: &str, spec: &str| {
        format!(
            "---\napiVersion: sluice.dev/v1alpha1\nkind: ServiceProxyPolicy\nmetadata: {{name: {name}}}\nspec: {spec}\n"
        )
    };
    let node = "---\napiVersion: v1\nkind: Node\nmetadata: {name: n1, labels: {pool: edge}}\n";
    let mut lab = Lab::new();
    let mark_bit = |update: &Update| {
        update
            .policy
            .as_ref()
            .map(|policy| policy.source_nat.mark_bit)
    };
    lab.write(
        "p.yaml",
        &policy("low", "{priority: 1, sourceNAT: {markBit: 1}}"),
    );
    assert_eq!(mark_bit(&lab.load()), Some(1));
    lab.write(
        "q.yaml",
        &policy(
            "edge",
            "{priority: 9, nodeSelector: {matchLabels: {pool: edge}}, sourceNAT: {markBit: 9}}",
        ),
    );
    assert_eq!(mark_bit(&lab.load()), None, "the node has no such label");
    lab.write("node.yaml", node);
    assert_eq!(mark_bit(&lab.load()), Some(9));
    lab.write(
        "q.yaml",
        &policy("edge", "{priority: 9, sourceNAT: {markBit: 99}}"),
    );
    assert_eq!(mark_bit(&lab.load()), None, "the last good one stays");
    lab.write(
        "q.yaml",
        &policy("also-low", "{priority: 1, sourceNAT: {markBit: 2}}"),
    );
    assert_eq!(
        mark_bit(&lab.load()),
        Some(2),
        "of equals the first by name"
    );
    lab.remove("p.yaml");
    lab.remove("q.yaml");
    assert_eq!(
        mark_bit(&lab.load()),
        Some(14),
        "what the agent was started with"
    );
}

#[test]
fn a_missing_directory_is_an_error_and_changes_nothing() {
    let mut lab = Lab::new();
    lab.write("f.yaml", &service("a", "10.0.0.1"));
    lab.load();
    let (here, there) = (
        lab.directory.path().to_owned(),
        lab.directory.path().with_extension("moved"),
    );
    fs::rename(&here, &there).unwrap();
    let error = lab.source.load().unwrap_err();
    assert!(matches!(error, ManifestError::Missing { .. }));
    assert_eq!(
        error.to_string(),
        format!(
            "manifest directory {} does not exist: create it, or name another one",
            here.display()
        )
    );
    fs::rename(&there, &here).unwrap();
    assert!(lab.load().is_empty());
}

/// Longer than any change takes to be noticed, shorter than the time between looks without notification.
const SOON: Duration = Duration::from_secs(20);

#[test]
fn changes_are_noticed_as_they_happen_also_when_a_link_is_swapped() {
    let lab = Lab::new();
    let root = lab.directory.path().to_owned();
    // As kubelet lays a ConfigMap out.
    for (version, ip) in [("..1", "10.0.0.1"), ("..2", "10.0.0.2")] {
        fs::create_dir(root.join(version)).unwrap();
        fs::write(root.join(version).join("f.yaml"), service("a", ip)).unwrap();
    }
    std::os::unix::fs::symlink("..1", root.join("..data")).unwrap();
    std::os::unix::fs::symlink("..data/f.yaml", root.join("f.yaml")).unwrap();
    let mut watch = ManifestSource::new(&root, "n1", ServiceProxyPolicySpec::default()).watch();
    assert_eq!(
        changes(&watch.next_update(Duration::ZERO).unwrap().unwrap()),
        ["+service ns/a 10.0.0.1"]
    );
    // Reading the files is no change of them.
    assert_eq!(watch.next_update(Duration::from_millis(500)).unwrap(), None);

    let swap = root.clone();
    let writer = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(50));
        std::os::unix::fs::symlink("..2", swap.join("..new")).unwrap();
        fs::rename(swap.join("..new"), swap.join("..data")).unwrap();
    });
    let start = Instant::now();
    let update = watch
        .next_update(SOON)
        .unwrap()
        .expect("the swap was not noticed");
    assert_eq!(changes(&update), ["+service ns/a 10.0.0.2"]);
    assert!(start.elapsed() < SOON);
    writer.join().unwrap();

    lab.write("g.yaml", &service("b", "10.0.0.3"));
    assert_eq!(
        changes(&watch.next_update(SOON).unwrap().unwrap()),
        ["+service ns/b 10.0.0.3"]
    );
    lab.remove("g.yaml");
    assert_eq!(
        changes(&watch.next_update(SOON).unwrap().unwrap()),
        ["-service ns/b"]
    );
}

#[test]
fn a_directory_that_comes_back_is_followed_again_and_its_absence_is_told_once() {
    let lab = Lab::new();
    let root = lab.directory.path().join("manifests");
    let mut early = ManifestSource::new(&root, "n1", ServiceProxyPolicySpec::default()).watch();
    assert!(matches!(
        early.next_update(SOON),
        Err(SourceError::Manifests(ManifestError::Missing { .. }))
    ));
    fs::create_dir(&root).unwrap();
    fs::write(root.join("f.yaml"), service("a", "10.0.0.1")).unwrap();
    assert_eq!(changes(&early.next_update(SOON).unwrap().unwrap()).len(), 1);

    fs::rename(&root, root.with_extension("old")).unwrap();
    assert!(early.next_update(SOON).is_err());
    assert_eq!(early.next_update(Duration::from_secs(3)).unwrap(), None);
    fs::create_dir(&root).unwrap();
    fs::write(
        root.join("f.yaml"),
        service("a", "10.0.0.1") + &service("b", "10.0.0.2"),
    )
    .unwrap();
    assert_eq!(
        changes(&early.next_update(SOON).unwrap().unwrap()),
        ["+service ns/b 10.0.0.2"]
    );
    fs::write(root.join("f.yaml"), service("b", "10.0.0.2")).unwrap();
    assert_eq!(
        changes(&early.next_update(SOON).unwrap().unwrap()),
        ["-service ns/a"]
    );
}
