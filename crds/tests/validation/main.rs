//! What a policy may say, and the words for what it may not.

#![allow(clippy::panic)] // Helpers of tests fail as tests do.

mod invalid;
mod pod_classes;

use sluice_crds::v1alpha1::{
    AutoMode, ConnectionReuse, Conntrack, DetectLocalMode, HairpinMode, IptablesVariant,
    IpvsTimeouts, Mode, NodePortAddress, OnFailure, Rollout, ServiceProxyPolicySpec, SyncIntervals,
    VipBinding,
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
    assert!(spec.source_nat.pod_classes.is_empty());
    assert_eq!(spec.hairpin.mode, HairpinMode::HairpinVeth);
    assert_eq!(spec.conntrack, Conntrack::default());
    assert!(spec.node_ports.addresses.is_empty() && !spec.node_ports.localhost);
    assert_eq!(
        spec.sync,
        SyncIntervals {
            min_interval_milliseconds: 50,
            full_interval_seconds: 3600
        }
    );
    assert_eq!(
        spec.auto,
        AutoMode {
            ipvs_above_services: 1000,
            iptables_below_services: 800
        }
    );
    assert_eq!(spec.ipvs.scheduler, "rr");
    assert_eq!(spec.ipvs.vip_binding, VipBinding::LocalRoute);
    assert_eq!(spec.ipvs.graceful_termination.timeout_seconds, 900);
    assert_eq!(spec.ipvs.timeouts, IpvsTimeouts::default());
    assert!(spec.ipvs.strict_arp && spec.ipvs.exclude_cidrs.is_empty());
    assert_eq!(spec.ipvs.connection_reuse, ConnectionReuse::Auto);
    assert_eq!(spec.ipvs.connection_table_bits, None);
    assert_eq!(spec.mode_switch.drain_timeout_seconds, None);
    assert!(spec.service_overrides.is_empty());
    assert_eq!(
        spec.rollout,
        Rollout {
            paused: false,
            max_unavailable: 1,
            min_ready_seconds: 10,
            progress_deadline_seconds: 300,
            on_failure: OnFailure::Rollback
        }
    );
    assert_eq!(spec.validate(), []);
}

/// Everything that a policy can say, as a person writes it.
const FULL: &str = r#"{
  "nodeSelector": {"matchLabels": {"pool": "edge"}, "matchExpressions": [{"key": "gpu", "operator": "DoesNotExist"}]},
  "priority": 100,
  "mode": "Auto",
  "auto": {"ipvsAboveServices": 3000, "iptablesBelowServices": 3000},
  "iptables": {"variant": "NFT"},
  "ipvs": {
    "scheduler": "mh", "vipBinding": "Dummy", "gracefulTermination": {"timeoutSeconds": 0},
    "timeouts": {"tcpSeconds": 2147483, "tcpFinSeconds": 1, "udpSeconds": 300}, "strictARP": false,
    "excludeCIDRs": ["192.0.2.7/32", "2001:db8::/32"], "connectionReuse": "Reschedule", "connectionTableBits": 27},
  "modeSwitch": {"drainTimeoutSeconds": 0},
  "sourceNAT": {
    "detectLocal": {"mode": "ClusterCIDR", "clusterCIDR": {"cidrs": ["10.244.0.0/16", "fd00:10:244::/56"]}},
    "masqueradeAll": true, "excludeDestinationCIDRs": ["192.168.0.0/16"], "snat": {"addressCIDRs": ["203.0.113.0/24"]},
    "markBit": 31, "portRange": {"from": 1024, "to": 65535}, "randomFully": false,
    "podClasses": [
      {"name": "old", "podSelector": {"matchLabels": {"tier": "old"}}, "namespaceSelector": {"matchLabels": {"team": "a"}}, "action": "SNAT",
       "snat": {"addressCIDRs": ["203.0.113.0/24"]}, "outInterface": "bond0.120", "egress": true, "sysctls": [{"name": "net.core.somaxconn", "value": "1"}]},
      {"name": "rest", "action": "Preserve"}]},
  "hairpin": {"mode": "None"},
  "conntrack": {"maxPerCore": 32768, "min": 131072, "tcpEstablishedTimeoutSeconds": 86400, "tcpCloseWaitTimeoutSeconds": 3600, "tcpBeLiberal": true},
  "nodePorts": {"addresses": ["192.0.2.0/24", "127.0.0.0/8"], "localhost": true},
  "sync": {"minIntervalMilliseconds": 0, "fullIntervalSeconds": 60},
  "sysctls": [{"name": "net.ipv4.ip_local_port_range", "value": "1024 65535"}, {"name": "net.netfilter.nf_conntrack_udp_timeout", "value": "30"}],
  "endpointWeights": [{"zones": ["a"], "weight": 3}, {"nodes": ["n1", "n2"], "weight": 65535}, {"weight": 2}],
  "serviceOverrides": [
    {"selector": {"matchLabels": {"app": "db"}, "matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["test"]}]}, "ipvsScheduler": "lc"},
    {"namespaces": ["a", "b"], "ipvsScheduler": "sh"}, {"ipvsScheduler": "wrr"}],
  "rollout": {"paused": true, "maxUnavailable": 2147483647, "minReadySeconds": 0, "progressDeadlineSeconds": 86400, "onFailure": "Pause"}
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
            r#"{"mode": "NFTables"}"#,
            "unknown variant `NFTables`, expected one of `Auto`, `IPTables`, `IPVS`",
        ),
        (
            r#"{"nftables": {}}"#,
            "unknown field `nftables`, expected one of `nodeSelector`, `priority`, `mode`, `auto`, `iptables`, `ipvs`, `sourceNAT`, `hairpin`, `conntrack`, `modeSwitch`, `nodePorts`, `sync`, `sysctls`, `endpointWeights`, `serviceOverrides`, `rollout`",
        ),
        (
            r#"{"ipvs": {"vipBinding": "Route"}}"#,
            "unknown variant `Route`, expected `LocalRoute` or `Dummy`",
        ),
        (
            r#"{"ipvs": {"connectionReuse": "1"}}"#,
            "unknown variant `1`, expected one of `Auto`, `Reschedule`, `Keep`",
        ),
        (
            r#"{"ipvs": {"strictArp": true}}"#,
            "unknown field `strictArp`, expected one of `scheduler`, `vipBinding`, `gracefulTermination`, `timeouts`, `strictARP`, `excludeCIDRs`, `connectionReuse`, `connectionTableBits`",
        ),
        (
            r#"{"serviceOverrides": [{"namespaces": ["a"]}]}"#,
            "missing field `ipvsScheduler`",
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
fn mode_ipvs_and_each_scheduler_of_the_kernel_are_valid() {
    for name in [
        "rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "sed", "nq", "fo", "ovf", "mh",
        "twos",
    ] {
        let json = format!(r#"{{"mode": "IPVS", "ipvs": {{"scheduler": "{name}"}}}}"#);
        assert_eq!(problems(&json), [""; 0], "{name}");
    }
}

#[test]
fn auto_goes_with_node_ports_on_localhost() {
    let localhost = r#"{"mode": "Auto", "nodePorts": {"localhost": true}}"#;
    assert_eq!(problems(localhost), [""; 0]);
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
