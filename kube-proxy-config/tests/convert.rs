//! kube-proxy's configuration becomes a policy that is accepted, and nothing of it is lost in silence.

// Helpers of tests may fail as tests do.
#![allow(clippy::unwrap_used, clippy::panic)]

use proptest::prelude::*;
use serde_json::{Value, json};
use sluice_crds::v1alpha1::{DetectLocalMode, Mode, NodePortAddress};
use sluice_kube_proxy_config::{Conversion, convert};

const HEAD: &str = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n";

/// What kubeadm writes with --pod-network-cidr 10.244.0.0/16.
const KUBEADM: &str = r#"
apiVersion: kubeproxy.config.k8s.io/v1alpha1
bindAddress: 0.0.0.0
bindAddressHardFail: false
clientConnection:
  acceptContentTypes: ""
  burst: 0
  contentType: ""
  kubeconfig: /var/lib/kube-proxy/kubeconfig.conf
  qps: 0
clusterCIDR: 10.244.0.0/16
configSyncPeriod: 0s
conntrack:
  maxPerCore: null
  min: null
  tcpBeLiberal: false
  tcpCloseWaitTimeout: null
  tcpEstablishedTimeout: null
  udpStreamTimeout: 0s
  udpTimeout: 0s
detectLocal:
  bridgeInterface: ""
  interfaceNamePrefix: ""
detectLocalMode: ""
enableProfiling: false
healthzBindAddress: ""
hostnameOverride: ""
iptables:
  localhostNodePorts: null
  masqueradeAll: false
  masqueradeBit: null
  minSyncPeriod: 0s
  syncPeriod: 0s
ipvs:
  excludeCIDRs: null
  minSyncPeriod: 0s
  scheduler: ""
  strictARP: false
  syncPeriod: 0s
  tcpFinTimeout: 0s
  tcpTimeout: 0s
  udpTimeout: 0s
kind: KubeProxyConfiguration
logging:
  flushFrequency: 0
  options:
    json:
      infoBufferSize: "0"
    text:
      infoBufferSize: "0"
  verbosity: 0
metricsBindAddress: ""
mode: ""
nftables:
  masqueradeAll: false
  masqueradeBit: null
  minSyncPeriod: 0s
  syncPeriod: 0s
nodePortAddresses: null
oomScoreAdj: null
portRange: ""
showHiddenMetricsForVersion: ""
winkernel:
  enableDSR: false
  forwardHealthCheckVip: false
  networkName: ""
  rootHnsEndpointName: ""
  sourceVip: ""
"#;

fn of(more: &str) -> Conversion {
    convert(&format!("{HEAD}{more}")).unwrap()
}

fn refused(more: &str) -> String {
    convert(&format!("{HEAD}{more}")).unwrap_err().to_string()
}

#[test]
fn what_kubeadm_writes_keeps_the_node_as_it_is() {
    let done = convert(KUBEADM).unwrap();
    assert_eq!(done.policy.mode, Mode::IPTables);
    assert_eq!(
        done.policy.source_nat.detect_local.mode,
        DetectLocalMode::ClusterCIDR
    );
    assert_eq!(done.policy.conntrack.max_per_core, Some(32768));
    assert_eq!(done.policy.conntrack.min, Some(131_072));
    assert_eq!(
        done.policy.conntrack.tcp_established_timeout_seconds,
        Some(86400)
    );
    assert_eq!(
        done.policy.conntrack.tcp_close_wait_timeout_seconds,
        Some(3600)
    );
    assert_eq!(
        done.flags,
        ["--kubeconfig=/var/lib/kube-proxy/kubeconfig.conf"]
    );
    assert_eq!(done.notes.len(), 1, "{:?}", done.notes);
    assert!(
        done.notes[0].starts_with("iptables.localhostNodePorts: "),
        "{:?}",
        done.notes
    );
}

#[test]
fn a_config_map_is_read_as_what_it_holds() {
    let indented = format!("    {}\n", KUBEADM.trim_end().replace('\n', "\n    "));
    let map = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: kube-proxy}}\ndata:\n  config.conf: |\n{indented}  kubeconfig.conf: nothing\n"
    );
    assert_eq!(
        convert(&map).unwrap().policy,
        convert(KUBEADM).unwrap().policy
    );
    for other in [
        "{apiVersion: v1, kind: ConfigMap}",
        "{apiVersion: v1, kind: Pod}",
        "[]",
        "x",
    ] {
        let error = convert(other).unwrap_err().to_string();
        assert!(error.contains("give kube-proxy's --config file"), "{error}");
    }
}

#[test]
fn each_field_that_has_an_equivalent_gets_there() {
    let done = of("
mode: ipvs
detectLocalMode: BridgeInterface
detectLocal: {bridgeInterface: cni0}
nodePortAddresses: [primary]
iptables: {masqueradeBit: 20, masqueradeAll: true}
ipvs: {scheduler: lc, excludeCIDRs: [10.0.0.0/8], strictARP: true, tcpTimeout: 15m0s, tcpFinTimeout: 500ms, udpTimeout: 30s, syncPeriod: 1h0m0s, minSyncPeriod: 2s}
conntrack: {maxPerCore: 0, min: 5, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 60s, tcpBeLiberal: true, udpTimeout: 10s, udpStreamTimeout: 2m}
healthzBindAddress: 127.0.0.1
metricsBindAddress: '[::]:9000'
hostnameOverride: node-7
logging: {format: json, verbosity: 4}
");
    assert_eq!(done.notes.len(), 1, "{:?}", done.notes);
    assert!(
        done.notes[0].starts_with("ipvs.excludeCIDRs: "),
        "{:?}",
        done.notes
    );
    let policy = done.policy;
    assert_eq!(policy.mode, Mode::IPVS);
    assert_eq!(
        policy
            .source_nat
            .detect_local
            .bridge_interface
            .unwrap()
            .name,
        "cni0"
    );
    assert_eq!(policy.node_ports.addresses, [NodePortAddress::Primary]);
    assert_eq!(
        (policy.source_nat.mark_bit, policy.source_nat.masquerade_all),
        (20, true)
    );
    assert_eq!(policy.ipvs.scheduler, "lc");
    assert_eq!(policy.ipvs.exclude_cidrs.len(), 1);
    let timeouts = policy.ipvs.timeouts;
    assert_eq!(timeouts.tcp_seconds, Some(900));
    assert_eq!(
        timeouts.tcp_fin_seconds,
        Some(1),
        "rounded up: 0 would be none"
    );
    assert_eq!(timeouts.udp_seconds, Some(30));
    assert_eq!(policy.sync.full_interval_seconds, 3600);
    assert_eq!(policy.sync.min_interval_milliseconds, 2000);
    assert_eq!(
        (policy.conntrack.max_per_core, policy.conntrack.min),
        (None, None)
    );
    assert_eq!(policy.conntrack.tcp_established_timeout_seconds, None);
    assert_eq!(policy.conntrack.tcp_close_wait_timeout_seconds, Some(60));
    assert!(policy.conntrack.tcp_be_liberal);
    let sysctls: Vec<String> = policy
        .sysctls
        .iter()
        .map(|one| format!("{}={}", one.name, one.value))
        .collect();
    assert_eq!(
        sysctls,
        [
            "net.netfilter.nf_conntrack_udp_timeout=10",
            "net.netfilter.nf_conntrack_udp_timeout_stream=120"
        ]
    );
    assert_eq!(
        done.flags,
        [
            "--healthz-bind-address=127.0.0.1:10256",
            "--metrics-bind-address=[::]:9000",
            "--node-name=node-7",
            "--log-format=json",
            "--log-level=debug"
        ]
    );
}

#[test]
fn each_field_without_an_equivalent_is_named() {
    for (more, field) in [
        ("mode: nftables\nclusterCIDR: 10.0.0.0/8", "mode"),
        ("mode: ipvs\nclusterCIDR: 10.0.0.0/8", "ipvs.strictARP"),
        ("bindAddress: 192.0.2.1", "bindAddress"),
        ("bindAddressHardFail: true", "bindAddressHardFail"),
        ("clientConnection: {qps: 50}", "clientConnection.qps"),
        ("configSyncPeriod: 1m", "configSyncPeriod"),
        ("featureGates: {Topology: true}", "featureGates.Topology"),
        ("oomScoreAdj: 5", "oomScoreAdj"),
        ("portRange: 1-2", "portRange"),
        (
            "showHiddenMetricsForVersion: '1.30'",
            "showHiddenMetricsForVersion",
        ),
        ("enableProfiling: true", "enableProfiling"),
        ("winkernel: {sourceVip: 192.0.2.1}", "winkernel.sourceVip"),
        ("windowsRunAsService: true", "windowsRunAsService"),
        ("logging: {vmodule: x=5}", "logging.vmodule"),
        (
            "detectLocalMode: NodeCIDR\nclusterCIDR: 10.0.0.0/8",
            "clusterCIDR",
        ),
        (
            "mode: ipvs\nnodePortAddresses: [127.0.0.0/8, 192.0.2.0/24]",
            "nodePortAddresses",
        ),
        (
            "nodePortAddresses: [primary, localhost]",
            "nodePortAddresses",
        ),
        ("nodePortAddresses: [all, '::1/128']", "nodePortAddresses"),
        ("nodePortAddresses: [everywhere, all]", "nodePortAddresses"),
        (
            "mode: nftables\nnodePortAddresses: [localhost, all]",
            "nodePortAddresses",
        ),
        (
            "iptables: {minSyncPeriod: 1h, syncPeriod: 2h}",
            "iptables.minSyncPeriod",
        ),
        (
            "mode: ipvs\nipvs: {excludeCIDRs: [10.0.0.0/8]}",
            "ipvs.excludeCIDRs",
        ),
        (
            "featureGates: {AllowServiceExternalIPs: false, Topology: true}",
            "featureGates.AllowServiceExternalIPs",
        ),
        ("udpIdleTimeout: 250ms", "udpIdleTimeout"),
        ("ipvs: {tcpTimeOut: 1s}", "ipvs.tcpTimeOut"),
        ("conntrack: {max: 5}", "conntrack.max"),
    ] {
        let notes = of(more).notes;
        let named = notes
            .iter()
            .filter(|note| note.starts_with(&format!("{field}: ")));
        assert_eq!(named.count(), 1, "{more}: {notes:?}");
    }
}

#[test]
fn the_nftables_mode_serves_node_ports_on_primary_addresses_unless_told() {
    let primary = [NodePortAddress::Primary];
    let addresses = |more| of(more).policy.node_ports.addresses;
    assert_eq!(addresses("mode: nftables"), primary);
    assert_eq!(addresses("mode: iptables"), []);
    let told = addresses("mode: nftables\nnodePortAddresses: [0.0.0.0/0]");
    assert_eq!(told, ["0.0.0.0/0".parse().unwrap()]);
}

#[test]
fn node_ports_on_loopback_come_along_where_somebody_asked_for_them() {
    let done = of("iptables: {localhostNodePorts: true}\nclusterCIDR: 10.0.0.0/8");
    assert!(done.policy.node_ports.localhost);
    assert_eq!(done.notes, [""; 0]);
    assert!(
        !of("mode: ipvs\niptables: {localhostNodePorts: true}")
            .policy
            .node_ports
            .localhost
    );
}

#[test]
fn node_ports_are_on_loopback_where_kube_proxy_has_them_there() {
    let network = |text: &str| text.parse::<NodePortAddress>().unwrap();
    let (office, loopback) = (network("192.0.2.0/24"), network("127.0.0.0/8"));
    for (more, localhost, addresses) in [
        ("nodePortAddresses: [localhost, all]", true, vec![]),
        ("nodePortAddresses: [all]", false, vec![]),
        ("nodePortAddresses: [localhost]", true, vec![loopback]),
        (
            "nodePortAddresses: [localhost, 127.0.0.0/8, 192.0.2.0/24]",
            true,
            vec![office, loopback],
        ),
        (
            "iptables: {localhostNodePorts: true}\nnodePortAddresses: [192.0.2.0/24]",
            false,
            vec![office],
        ),
        (
            "iptables: {localhostNodePorts: true}\nnodePortAddresses: [primary]",
            false,
            vec![NodePortAddress::Primary],
        ),
        (
            "iptables: {localhostNodePorts: true}\nnodePortAddresses: [0.0.0.0/0]",
            true,
            vec![network("0.0.0.0/0")],
        ),
        (
            "iptables: {localhostNodePorts: false}\nnodePortAddresses: [localhost, 192.0.2.0/24]",
            false,
            vec![office],
        ),
        (
            "mode: nftables\nnodePortAddresses: [localhost, all]",
            false,
            vec![],
        ),
    ] {
        let node_ports = of(more).policy.node_ports;
        assert_eq!(
            (node_ports.localhost, node_ports.addresses),
            (localhost, addresses),
            "{more}"
        );
    }
    let told = |more| {
        let notes = of(more).notes;
        notes
            .iter()
            .any(|note| note.starts_with("iptables.localhostNodePorts: "))
    };
    assert!(told("nodePortAddresses: [all]"));
    assert!(
        !told("nodePortAddresses: [192.0.2.0/24]"),
        "kube-proxy serves none there"
    );
}

#[test]
fn writes_are_ten_seconds_apart_at_most() {
    let sync = of("iptables: {minSyncPeriod: 1h, syncPeriod: 2h}")
        .policy
        .sync;
    assert_eq!(
        (sync.min_interval_milliseconds, sync.full_interval_seconds),
        (10_000, 7200)
    );
}

#[test]
fn node_ports_on_loopback_alone_never_become_node_ports_everywhere() {
    let node_ports = of("nodePortAddresses: [127.0.0.0/8, '::1/128', 127.0.0.0/8]")
        .policy
        .node_ports;
    let loopback: NodePortAddress = "127.0.0.0/8".parse().unwrap();
    assert!(node_ports.localhost);
    assert!(!node_ports.addresses.is_empty());
    assert!(node_ports.addresses.iter().all(|one| *one == loopback));
    for more in [
        "mode: ipvs\nnodePortAddresses: [127.0.0.0/8]",
        "mode: nftables\nnodePortAddresses: [127.0.0.0/8]",
        "nodePortAddresses: ['::1/128']",
        "nodePortAddresses: [127.0.1.0/24]",
        "nodePortAddresses: [everywhere]",
        "iptables: {localhostNodePorts: false}\nnodePortAddresses: [127.0.0.0/8]",
    ] {
        let message = refused(more);
        assert!(
            message.contains("nodePortAddresses: only loopback"),
            "{message}"
        );
    }
}

#[test]
fn what_cannot_become_a_policy_is_refused_with_the_field() {
    for (more, field) in [
        ("mode: kernelspace", "mode: "),
        ("detectLocalMode: Auto", "detectLocalMode: "),
        (
            "detectLocalMode: BridgeInterface",
            "detectLocal.bridgeInterface",
        ),
        ("clusterCIDR: 10.0.0.1/8", "clusterCIDR: "),
        (
            "nodePortAddresses: [primary, 10.0.0.0/8]",
            "nodePorts.addresses",
        ),
        ("iptables: {masqueradeBit: 32}", "markBit"),
        ("mode: ipvs\nipvs: {scheduler: best}", "ipvs.scheduler"),
        ("iptables: {syncPeriod: 5}", "iptables.syncPeriod: "),
        ("iptables: {syncPeriod: fast}", "iptables.syncPeriod: "),
        ("conntrack: {min: -1}", "conntrack.min: "),
    ] {
        let message = refused(more);
        assert!(message.contains(field), "{more}: {message}");
    }
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-5_i64..200_000).prop_map(Value::from),
        "[a-zA-Z0-9./:]{0,8}".prop_map(Value::from),
        "[0-9]{1,9}(ms|s|m|h)".prop_map(Value::from),
        prop::collection::vec(
            "primary|10\\.0\\.0\\.0/8|127\\.0\\.0\\.0/8|::1/128|fd00::/64|x",
            0..3
        )
        .prop_map(Value::from),
    ]
}

proptest! {
    #[test]
    fn whatever_is_read_becomes_a_valid_policy_or_an_error(
        mode in prop::sample::select(vec!["", "iptables", "ipvs", "nftables"]),
        localhost in any::<Option<bool>>(),
        addresses in prop::collection::vec("primary|localhost|all|10\\.0\\.0\\.0/8|127\\.0\\.[01]\\.0/24|127\\.0\\.0\\.0/8|::1/128|fd00::/64|x", 0..4),
        local in prop::sample::select(vec!["", "ClusterCIDR", "NodeCIDR", "BridgeInterface", "InterfaceNamePrefix"]),
        cidrs in prop::sample::select(vec!["", "10.0.0.0/8", "10.0.0.0/8,fd00::/64", "10.0.0.0/8,10.0.0.0/8"]),
        name in "[a-z0-9]{0,17}",
        durations in prop::collection::vec("[0-9]{1,7}(ms|s|m|h)", 6),
        bit in -1_i64..34,
        extra in prop::collection::btree_map(prop::sample::select(vec!["iptables", "conntrack", "oomScoreAdj", "logging", "other"]), scalar(), 0..2),
    ) {
        let mut config = json!({
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration",
            "mode": mode, "nodePortAddresses": addresses, "detectLocalMode": local, "clusterCIDR": cidrs,
            "detectLocal": {"bridgeInterface": name, "interfaceNamePrefix": name},
            "iptables": {"localhostNodePorts": localhost, "masqueradeBit": bit, "syncPeriod": durations[0], "minSyncPeriod": durations[1]},
            "ipvs": {"tcpTimeout": durations[2], "syncPeriod": durations[3], "minSyncPeriod": durations[4]},
            "conntrack": {"udpTimeout": durations[5]},
        });
        for (field, value) in extra {
            config[field] = value;
        }
        match convert(&config.to_string()) {
            Ok(done) => prop_assert_eq!(done.policy.validate(), vec![]),
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }
}
