//! What is refused, in which words.

use crate::lab::{Lab, changes, refusals};

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
        "spec:\n  nftables: {}",
        &[
            "f.yaml:5: ServiceProxyPolicy p: spec.nftables: unknown field `nftables`, expected one of `nodeSelector`, `priority`, `mode`, `auto`, `iptables`, `ipvs`, `sourceNAT`, `hairpin`, `conntrack`, `modeSwitch`, `nodePorts`, `sync`, `sysctls`, `endpointWeights`, `serviceOverrides`, `rollout`",
        ],
    ),
    (
        "spec:\n  mode: NFTables",
        &[
            "f.yaml:5: ServiceProxyPolicy p: spec.mode: unknown variant `NFTables`, expected one of `Auto`, `IPTables`, `IPVS`",
        ],
    ),
    (
        "spec:\n  mode: IPVS\n  nodePorts:\n    localhost: true\n  serviceOverrides:\n  - ipvsScheduler: least",
        &[
            "f.yaml:5: ServiceProxyPolicy p: spec.mode: IPVS cannot serve node ports on 127.0.0.1: set nodePorts.localhost to false, or mode to IPTables",
            "f.yaml:9: ServiceProxyPolicy p: spec.serviceOverrides[0].ipvsScheduler: \"least\" is not a scheduler of the Linux kernel: use one of rr, wrr, lc, wlc, lblc, lblcr, dh, sh, sed, nq, fo, ovf, mh, twos",
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
    (
        "apiVersion: v1\nkind: ServiceList\nitem: []",
        &["f.yaml:1: items: it is missing: add it"],
    ),
    (
        "apiVersion: v1\nkind: List\nitems: {a: 1}",
        &["f.yaml:3: items: it is no list: write one, or []"],
    ),
    (
        "{\"kind\": \"List\",\n\"item\": []}",
        &["f.yaml:1: items: it is missing: add it"],
    ),
    (
        "{\"kind\": \"List\",\n\"items\": {\"a\": 1}}",
        &["f.yaml:2: items: it is no list: write one, or []"],
    ),
    (
        "{\"kind\": \"List\", \"items\": [],\n\"items\": []}",
        &["f.yaml:1: items: duplicate field `items`"],
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
            "f.yaml:4: duplicate mapping key `a` is not allowed here: correct the file, until then the last good state of its objects is kept",
        ],
    ),
    (
        "kind: Service\n---\n\n\na: *nothing",
        &[
            "f.yaml:5: reference to unknown value: correct the file, until then the last good state of its objects is kept",
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
