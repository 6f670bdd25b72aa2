//! Values of the right type that cannot work.

use crate::problems;

/// A spec, and everything that is wrong with it.
type Row = (&'static str, &'static [&'static str]);

const INVALID: &[Row] = &[
    (
        r#"{"mode": "IPVS", "nodePorts": {"localhost": true}}"#,
        &[
            "spec.mode: IPVS cannot serve node ports on 127.0.0.1: set nodePorts.localhost to false, or mode to IPTables",
        ],
    ),
    (
        r#"{"auto": {"ipvsAboveServices": 500}}"#,
        &[
            "spec.auto.iptablesBelowServices: 800 is greater than ipvsAboveServices (500), so both modes would be right in between: lower it, or raise the other",
        ],
    ),
    (
        r#"{"ipvs": {"scheduler": "RR"}}"#,
        &[
            "spec.ipvs.scheduler: \"RR\" is not a scheduler of the Linux kernel: use one of rr, wrr, lc, wlc, lblc, lblcr, dh, sh, sed, nq, fo, ovf, mh, twos",
        ],
    ),
    (
        r#"{"ipvs": {"timeouts": {"tcpSeconds": 2147484, "udpSeconds": 0}}}"#,
        &[
            "spec.ipvs.timeouts.tcpSeconds: 2147484 is not between 1 and 2147483",
            "spec.ipvs.timeouts.udpSeconds: 0 is no timeout here: leave the field out to leave the kernel's value alone",
        ],
    ),
    (
        r#"{"ipvs": {"excludeCIDRs": ["10.0.0.0/8", "10.0.0.0/8", "::/0"]}}"#,
        &[
            "spec.ipvs.excludeCIDRs[1]: 10.0.0.0/8 is in the list already: remove one",
            "spec.ipvs.excludeCIDRs[2]: ::/0 holds every address: list narrower networks",
        ],
    ),
    (
        r#"{"ipvs": {"connectionTableBits": 28}}"#,
        &["spec.ipvs.connectionTableBits: 28 is not between 8 and 27"],
    ),
    (
        r#"{"ipvs": {"connectionTableBits": 7}}"#,
        &["spec.ipvs.connectionTableBits: 7 is not between 8 and 27"],
    ),
    (
        r#"{"serviceOverrides": [
            {"selector": {"matchExpressions": [{"key": "a", "operator": "In"}]}, "namespaces": ["x", "x"], "ipvsScheduler": ""}]}"#,
        &[
            "spec.serviceOverrides[0].selector.matchExpressions[0].values: operator In needs at least one value",
            "spec.serviceOverrides[0].namespaces[1]: x is in the list already: remove one",
            "spec.serviceOverrides[0].ipvsScheduler: \"\" is not a scheduler of the Linux kernel: use one of rr, wrr, lc, wlc, lblc, lblcr, dh, sh, sed, nq, fo, ovf, mh, twos",
        ],
    ),
    (
        r#"{"serviceOverrides": [
            {"namespaces": ["x"], "ipvsScheduler": "lc"}, {"ipvsScheduler": "sh"}, {"selector": {"matchLabels": {"a": "b"}}, "ipvsScheduler": "rr"}]}"#,
        &[
            "spec.serviceOverrides[1]: without selector and namespaces it matches every service, so the rows after it never count: make it the last one",
        ],
    ),
    (
        r#"{"sysctls": [{"name": "net.ipv4.vs.conn_reuse_mode", "value": "0"}, {"name": "net.ipv4.conf.all.arp_ignore", "value": "1"}]}"#,
        &[
            "spec.sysctls[0].name: net.ipv4.vs.conn_reuse_mode is set by the agent: remove it and use spec.ipvs.connectionReuse",
            "spec.sysctls[1].name: net.ipv4.conf.all.arp_ignore is set by the agent: remove it and use spec.ipvs.strictARP",
        ],
    ),
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
        r#"{"conntrack": {"min": 131072}}"#,
        &[
            "spec.conntrack.min: conntrack.min counts with conntrack.maxPerCore only: set that too, or leave min out",
        ],
    ),
    (
        r#"{"conntrack": {"maxPerCore": 1, "min": 4294967295}}"#,
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
            "spec.nodePorts.localhost: 127.0.0.1 is in none of addresses, so node ports are not on it: add 127.0.0.0/8 (to networks in place of primary), or set localhost to false",
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
        r#"{"sync": {"minIntervalMilliseconds": 10001}}"#,
        &["spec.sync.minIntervalMilliseconds: 10001 is not between 0 and 10000"],
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
    (
        r#"{"rollout": {"maxUnavailable": 0, "minReadySeconds": 86401, "progressDeadlineSeconds": 86400}}"#,
        &[
            "spec.rollout.maxUnavailable: 0 is not between 1 and 2147483647",
            "spec.rollout.minReadySeconds: 86401 is not between 0 and 86400",
            "spec.rollout.progressDeadlineSeconds: 86400 s are over before a node has been healthy for minReadySeconds (86401 s), so none could be ready in time: make it longer",
        ],
    ),
    (
        r#"{"rollout": {"minReadySeconds": 0, "progressDeadlineSeconds": 0}}"#,
        &[
            "spec.rollout.progressDeadlineSeconds: 0 is not between 1 and 86400",
            "spec.rollout.progressDeadlineSeconds: 0 s are over before a node has been healthy for minReadySeconds (0 s), so none could be ready in time: make it longer",
        ],
    ),
];

#[test]
fn values_that_cannot_work_are_named_with_what_to_change() {
    for (json, expected) in INVALID {
        assert_eq!(problems(json), *expected, "{json}");
    }
}
