//! What a policy may say, and the words for what it may not.

#![allow(clippy::panic)] // Helpers of tests fail as tests do.

use sluice_crds::v1alpha1::{
    Conntrack, DetectLocalMode, IptablesVariant, Mode, NodePortAddress, ServiceProxyPolicySpec,
    SyncIntervals,
};

fn spec(json: &str) -> ServiceProxyPolicySpec {
    serde_json::from_str(json).unwrap_or_else(|error| panic!("{json}: {error}"))
}

fn problems(json: &str) -> Vec<String> {
    spec(json)
        .validate()
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn an_empty_spec_means_the_documented_defaults() {
    let spec = spec("{}");
    assert_eq!(spec, ServiceProxyPolicySpec::default());
    assert_eq!(spec.mode, Mode::Auto);
    assert_eq!(spec.iptables.variant, IptablesVariant::Auto);
    assert_eq!(spec.source_nat.detect_local.mode, DetectLocalMode::Auto);
    assert_eq!(spec.source_nat.mark_bit, 14);
    assert!(spec.source_nat.random_fully);
    assert!(!spec.source_nat.masquerade_all);
    assert_eq!(spec.source_nat.port_range, None);
    assert_eq!(spec.conntrack, Conntrack::default());
    assert!(spec.node_ports.addresses.is_empty() && !spec.node_ports.localhost);
    assert_eq!(
        spec.sync,
        SyncIntervals {
            min_interval_milliseconds: 50,
            full_interval_seconds: 3600
        }
    );
    assert_eq!(spec.validate(), []);
}

/// Everything that a policy can say, as a person writes it.
const FULL: &str = r#"{
  "nodeSelector": {"matchLabels": {"pool": "edge"}, "matchExpressions": [{"key": "gpu", "operator": "DoesNotExist"}]},
  "priority": 100,
  "mode": "IPTables",
  "iptables": {"variant": "NFT"},
  "sourceNAT": {
    "detectLocal": {"mode": "ClusterCIDR", "clusterCIDR": {"cidrs": ["10.244.0.0/16", "fd00:10:244::/56"]}},
    "masqueradeAll": true, "excludeDestinationCIDRs": ["192.168.0.0/16"], "snat": {"addressCIDRs": ["203.0.113.0/24"]},
    "markBit": 31, "portRange": {"from": 1024, "to": 65535}, "randomFully": false},
  "conntrack": {"maxPerCore": 32768, "min": 131072, "tcpEstablishedTimeoutSeconds": 86400, "tcpCloseWaitTimeoutSeconds": 3600, "tcpBeLiberal": true},
  "nodePorts": {"addresses": ["192.0.2.0/24", "127.0.0.0/8"], "localhost": true},
  "sync": {"minIntervalMilliseconds": 0, "fullIntervalSeconds": 60},
  "sysctls": [{"name": "net.ipv4.ip_local_port_range", "value": "1024 65535"}, {"name": "net.netfilter.nf_conntrack_udp_timeout", "value": "30"}],
  "endpointWeights": [{"zones": ["a"], "weight": 3}, {"nodes": ["n1", "n2"], "weight": 65535}, {"weight": 2}]
}"#;

#[test]
fn a_policy_that_says_everything_is_valid_and_survives_a_round_trip() {
    let full = spec(FULL);
    assert_eq!(full.validate(), []);
    assert_eq!(
        full.node_ports.addresses[0],
        "192.0.2.0/24".parse::<NodePortAddress>().unwrap()
    );
    let written = serde_json::to_string(&full).unwrap();
    assert_eq!(spec(&written), full);
}

/// A spec, and everything that is wrong with it.
type Row = (&'static str, &'static [&'static str]);

const INVALID: &[Row] = &[
    (
        r#"{"sourceNAT": {"markBit": 32}}"#,
        &["spec.sourceNAT.markBit: 32 is not between 0 and 31"],
    ),
    (
        r#"{"sourceNAT": {"portRange": {"from": 0, "to": 10}}}"#,
        &["spec.sourceNAT.portRange.from: 0 is not between 1 and 65535"],
    ),
    (
        r#"{"sourceNAT": {"portRange": {"from": 1, "to": 65536}}}"#,
        &["spec.sourceNAT.portRange.to: 65536 is not between 1 and 65535"],
    ),
    (
        r#"{"sourceNAT": {"portRange": {"from": 9, "to": 8}}}"#,
        &["spec.sourceNAT.portRange: from (9) is greater than to (8): swap them"],
    ),
    (
        r#"{"sourceNAT": {"excludeDestinationCIDRs": ["10.0.0.0/8", "0.0.0.0/0"]}}"#,
        &[
            "spec.sourceNAT.excludeDestinationCIDRs[1]: 0.0.0.0/0 holds every address: list narrower networks",
        ],
    ),
    (
        r#"{"sourceNAT": {"excludeDestinationCIDRs": ["10.0.0.0/8", "10.0.0.0/8"]}}"#,
        &[
            "spec.sourceNAT.excludeDestinationCIDRs[1]: 10.0.0.0/8 is in the list already: remove one",
        ],
    ),
    (
        r#"{"sourceNAT": {"snat": {"addressCIDRs": ["::/0"]}}}"#,
        &["spec.sourceNAT.snat.addressCIDRs[0]: ::/0 holds every address: list narrower networks"],
    ),
    (
        r#"{"sourceNAT": {"detectLocal": {"mode": "ClusterCIDR"}}}"#,
        &["spec.sourceNAT.detectLocal.clusterCIDR: mode ClusterCIDR needs it: add it"],
    ),
    (
        r#"{"sourceNAT": {"detectLocal": {"mode": "ClusterCIDR", "clusterCIDR": {"cidrs": []}}}}"#,
        &[
            "spec.sourceNAT.detectLocal.clusterCIDR.cidrs: the list is empty: add the cluster's pod networks",
        ],
    ),
    (
        r#"{"sourceNAT": {"detectLocal": {"mode": "NodeCIDR", "bridgeInterface": {"name": "cni0"}}}}"#,
        &[
            "spec.sourceNAT.detectLocal.bridgeInterface: it belongs to mode BridgeInterface, and mode is NodeCIDR: remove it, or change mode",
        ],
    ),
    (
        r#"{"sourceNAT": {"detectLocal": {"mode": "BridgeInterface", "interfaceNamePrefix": {"prefix": "veth"}}}}"#,
        &[
            "spec.sourceNAT.detectLocal.bridgeInterface: mode BridgeInterface needs it: add it",
            "spec.sourceNAT.detectLocal.interfaceNamePrefix: it belongs to mode InterfaceNamePrefix, and mode is BridgeInterface: remove it, or change mode",
        ],
    ),
    (
        r#"{"sourceNAT": {"detectLocal": {"mode": "BridgeInterface", "bridgeInterface": {"name": "a b"}}}}"#,
        &[
            "spec.sourceNAT.detectLocal.bridgeInterface.name: \"a b\" is not an interface name: use 1 to 15 letters, digits, dots, dashes or underscores",
        ],
    ),
    (
        r#"{"sourceNAT": {"detectLocal": {"mode": "InterfaceNamePrefix", "interfaceNamePrefix": {"prefix": ""}}}}"#,
        &[
            "spec.sourceNAT.detectLocal.interfaceNamePrefix.prefix: \"\" is not an interface name: use 1 to 15 letters, digits, dots, dashes or underscores",
        ],
    ),
    (
        r#"{"conntrack": {"maxPerCore": 0}}"#,
        &[
            "spec.conntrack.maxPerCore: 0 is no limit here: leave the field out to leave the kernel's value alone",
        ],
    ),
    (
        r#"{"conntrack": {"min": 4294967295}}"#,
        &["spec.conntrack.min: 4294967295 is not between 1 and 2147483647"],
    ),
    (
        r#"{"nodePorts": {"addresses": ["primary", "10.0.0.0/8"]}}"#,
        &["spec.nodePorts.addresses[0]: primary stands alone: remove it or the networks"],
    ),
    (
        r#"{"nodePorts": {"addresses": ["127.0.0.0/8"]}}"#,
        &[
            "spec.nodePorts.addresses[0]: loopback addresses serve node ports with localhost: true only: set it, or remove the network",
        ],
    ),
    (
        r#"{"nodePorts": {"addresses": ["::1/128"]}}"#,
        &["spec.nodePorts.addresses[0]: node ports are not served on ::1: remove it"],
    ),
    (
        r#"{"nodePorts": {"addresses": ["2001:db8::/64"], "localhost": true}}"#,
        &[
            "spec.nodePorts.localhost: node ports on 127.0.0.1 need IPv4, and addresses has IPv6 networks only: add an IPv4 network, or set it to false",
        ],
    ),
    (
        r#"{"sync": {"fullIntervalSeconds": 0}}"#,
        &[
            "spec.sync.fullIntervalSeconds: 0 is not between 1 and 86400",
            "spec.sync.minIntervalMilliseconds: 50 ms is longer than fullIntervalSeconds (0 s): make it shorter",
        ],
    ),
    (
        r#"{"sync": {"minIntervalMilliseconds": 5000, "fullIntervalSeconds": 4}}"#,
        &[
            "spec.sync.minIntervalMilliseconds: 5000 ms is longer than fullIntervalSeconds (4 s): make it shorter",
        ],
    ),
    (
        r#"{"sysctls": [{"name": "net.netfilter.nf_conntrack_max", "value": "1"}]}"#,
        &[
            "spec.sysctls[0].name: net.netfilter.nf_conntrack_max is set by the agent: remove it and use spec.conntrack.maxPerCore and spec.conntrack.min",
        ],
    ),
    (
        r#"{"sysctls": [{"name": "net.core.somaxconn", "value": "1\n2"}]}"#,
        &[
            "spec.sysctls[0].value: \"1\\n2\" is not a value: write numbers or words, separated by blanks",
        ],
    ),
    (
        r#"{"sysctls": [{"name": "net.core.somaxconn", "value": "1"}, {"name": "net.core.somaxconn", "value": "2"}]}"#,
        &["spec.sysctls[1].name: net.core.somaxconn is in the list already: remove one"],
    ),
    (
        r#"{"endpointWeights": [{"weight": 0}]}"#,
        &["spec.endpointWeights[0].weight: 0 is not between 1 and 65535"],
    ),
    (
        r#"{"endpointWeights": [{"weight": 70000, "zones": ["a", "a"]}]}"#,
        &[
            "spec.endpointWeights[0].weight: 70000 is not between 1 and 65535",
            "spec.endpointWeights[0].zones[1]: a is in the list already: remove one",
        ],
    ),
    (
        r#"{"endpointWeights": [{"weight": 2}, {"weight": 3, "zones": ["a"]}]}"#,
        &[
            "spec.endpointWeights[0]: without zones and nodes it matches every endpoint, so the rows after it never count: make it the last one",
        ],
    ),
    (
        r#"{"nodeSelector": {"matchExpressions": [{"key": "a", "operator": "In"}, {"key": "a", "operator": "Exists", "values": ["x"]}]}}"#,
        &[
            "spec.nodeSelector.matchExpressions[0].values: operator In needs at least one value",
            "spec.nodeSelector.matchExpressions[1].values: operator Exists takes no values: remove them",
        ],
    ),
];

#[test]
fn values_that_cannot_work_are_named_with_what_to_change() {
    for (json, expected) in INVALID {
        assert_eq!(problems(json), *expected, "{json}");
    }
}

#[test]
fn only_listed_sysctls_may_be_set() {
    for name in [
        "net.ipv4.ip_forward",
        "kernel.panic",
        "net.ipv4.conf.all.rp_filter",
        "net.ipv4.tcp_",
        "net.ipv4.tcp_x/../../../kernel",
        "net.ipv4.neigh.default..x",
        "",
    ] {
        let found = problems(&format!(
            r#"{{"sysctls": [{{"name": "{name}", "value": "1"}}]}}"#
        ));
        assert_eq!(found.len(), 1, "{name}");
        let start = format!(
            "spec.sysctls[0].name: {name:?} may not be set by a policy: use one of net.core.default_qdisc, "
        );
        assert!(
            found[0].starts_with(&start)
                && found[0].ends_with(", net.netfilter.nf_conntrack_udp_*"),
            "{}",
            found[0]
        );
    }
    for name in [
        "net.ipv4.tcp_max_syn_backlog",
        "net.ipv6.neigh.default.gc_thresh3",
        "net.netfilter.nf_conntrack_sctp_timeout_closed",
    ] {
        assert_eq!(
            problems(&format!(
                r#"{{"sysctls": [{{"name": "{name}", "value": "1"}}]}}"#
            )),
            [""; 0],
            "{name}"
        );
    }
}

#[test]
fn types_and_fields_that_do_not_exist_are_refused_with_those_that_do() {
    let rows = [
        (
            r#"{"mode": "IPVS"}"#,
            "unknown variant `IPVS`, expected `Auto` or `IPTables`",
        ),
        (
            r#"{"ipvs": {}}"#,
            "unknown field `ipvs`, expected one of `nodeSelector`, `priority`, `mode`, `iptables`, `sourceNAT`, `conntrack`, `nodePorts`, `sync`, `sysctls`, `endpointWeights`",
        ),
        (
            r#"{"iptables": {"variant": "nft"}}"#,
            "unknown variant `nft`, expected one of `Auto`, `Legacy`, `NFT`",
        ),
        (
            r#"{"nodePorts": {"addresses": ["10.0.0.1"]}}"#,
            "\"10.0.0.1\" is not a network: write address/prefix length, such as 10.0.0.0/8 or fd00::/8",
        ),
        (
            r#"{"nodePorts": {"addresses": ["10.0.0.1/8"]}}"#,
            "10.0.0.1/8 has address bits after its prefix: write 10.0.0.0/8",
        ),
        (
            r#"{"sourceNAT": {"snat": {"addressCIDRs": ["x"]}}}"#,
            "\"x\" is not a network: write address/prefix length, such as 10.0.0.0/8 or fd00::/8",
        ),
        (
            r#"{"endpointWeights": [{"zones": ["a"]}]}"#,
            "missing field `weight`",
        ),
        (
            r#"{"sourceNAT": {"markBit": -1}}"#,
            "invalid value: integer `-1`, expected u32",
        ),
    ];
    for (json, expected) in rows {
        let error = serde_json::from_str::<ServiceProxyPolicySpec>(json)
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with(&format!("{expected} at line")),
            "{json}: {error}"
        );
    }
}

#[test]
fn a_selector_matches_as_label_selectors_do() {
    let labels = [("pool", "edge"), ("zone", "a")]
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .into();
    let rows = [
        (r"{}", true),
        (r#"{"matchLabels": {"pool": "edge"}}"#, true),
        (r#"{"matchLabels": {"pool": "core"}}"#, false),
        (r#"{"matchLabels": {"pool": "edge", "gpu": ""}}"#, false),
        (
            r#"{"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a", "b"]}]}"#,
            true,
        ),
        (
            r#"{"matchExpressions": [{"key": "gpu", "operator": "In", "values": ["a"]}]}"#,
            false,
        ),
        (
            r#"{"matchExpressions": [{"key": "zone", "operator": "NotIn", "values": ["a"]}]}"#,
            false,
        ),
        (
            r#"{"matchExpressions": [{"key": "gpu", "operator": "NotIn", "values": ["a"]}]}"#,
            true,
        ),
        (
            r#"{"matchExpressions": [{"key": "gpu", "operator": "Exists"}]}"#,
            false,
        ),
        (
            r#"{"matchLabels": {"pool": "edge"}, "matchExpressions": [{"key": "gpu", "operator": "DoesNotExist"}]}"#,
            true,
        ),
    ];
    for (selector, expected) in rows {
        let spec = spec(&format!(r#"{{"nodeSelector": {selector}}}"#));
        assert_eq!(spec.node_selector.matches(&labels), expected, "{selector}");
    }
}
