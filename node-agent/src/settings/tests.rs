use std::net::IpAddr;
use std::time::Duration;

use clap::Parser;
use ipnet::IpNet;
use sluice_crds::v1alpha1::{
    Conntrack, DetectLocalMode, IptablesVariant, NodePortAddress, ServiceProxyPolicySpec, Sysctl,
};
use sluice_service_plan::model::{LocalDetector, NodePortAddresses, Settings};

use super::*;

fn nets(texts: &[&str]) -> Vec<IpNet> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn policy(change: impl FnOnce(&mut ServiceProxyPolicySpec)) -> ServiceProxyPolicySpec {
    let mut policy = ServiceProxyPolicySpec::default();
    change(&mut policy);
    assert_eq!(policy.validate(), []);
    policy
}

fn resolve(change: impl FnOnce(&mut ServiceProxyPolicySpec)) -> NodeSettings {
    NodeSettings::resolve(&policy(change), NodeNetworks::default())
}

#[test]
fn the_default_policy_means_the_default_settings() {
    let settings = resolve(|_| {});
    assert_eq!(settings.plan, Settings::default());
    assert_eq!(settings.min_sync_interval, Duration::from_millis(50));
    assert_eq!(settings.full_sync_interval, Duration::from_secs(3600));
    assert_eq!(settings.iptables_variant, IptablesVariant::Auto);
    assert_eq!(wanted_sysctls(&settings, 4), []);
}

/// Pod networks, addresses, routes; networks of the detector, reason.
type Row = (
    &'static [&'static str],
    &'static [&'static str],
    &'static [&'static str],
    &'static [&'static str],
    &'static str,
);

#[test]
fn auto_takes_those_pod_networks_that_the_node_lies_in() {
    const BOTH: &[&str] = &["10.244.0.0/24", "fd00:10:244::/64"];
    const FIRST: &[&str] = &["10.244.0.0/24"];
    let rows: [Row; 6] = [
        (
            &[],
            &["10.244.0.1"],
            &[],
            &[],
            "the node has no spec.podCIDRs: set them, or choose another mode than Auto",
        ),
        (
            BOTH,
            &["192.0.2.1"],
            &["10.0.0.0/8", "192.0.2.0/24"],
            &[],
            "nothing on the node has an address or a route in its spec.podCIDRs (10.244.0.0/24, fd00:10:244::/64), so its pods seem to live elsewhere: choose another mode than Auto if they should be told",
        ),
        (
            BOTH,
            &["10.244.0.1", "fd00:10:244::1"],
            &[],
            BOTH,
            "traffic of pods comes from 10.244.0.0/24, fd00:10:244::/64 (those of the node's spec.podCIDRs that are in use)",
        ),
        (
            FIRST,
            &[],
            &["10.244.0.7/32"],
            FIRST,
            "traffic of pods comes from 10.244.0.0/24 (those of the node's spec.podCIDRs that are in use)",
        ),
        (
            FIRST,
            &[],
            &["10.244.0.0/24"],
            FIRST,
            "traffic of pods comes from 10.244.0.0/24 (those of the node's spec.podCIDRs that are in use)",
        ),
        (
            BOTH,
            &["10.244.0.1"],
            &[],
            FIRST,
            "traffic of pods comes from 10.244.0.0/24 (those of the node's spec.podCIDRs that are in use); not fd00:10:244::/64, in which the node has no address or route",
        ),
    ];
    for (pod_cidrs, addresses, routes, expected, reason) in rows {
        let addresses: Vec<IpAddr> = addresses.iter().map(|text| text.parse().unwrap()).collect();
        let (pod_cidrs, routes) = (nets(pod_cidrs), nets(routes));
        let node = NodeNetworks {
            pod_cidrs: &pod_cidrs,
            addresses: &addresses,
            routes: &routes,
        };
        let detection = detect_local(
            &ServiceProxyPolicySpec::default().source_nat.detect_local,
            node,
        );
        let expected = if expected.is_empty() {
            LocalDetector::None
        } else {
            LocalDetector::Cidrs(nets(expected))
        };
        assert_eq!(
            (detection.detector, detection.reason.as_str()),
            (expected, reason)
        );
    }
}

#[test]
fn the_other_modes_take_what_the_policy_says() {
    let pods = nets(&["10.244.0.0/24"]);
    let rows = [
        (
            r#"{"mode": "NodeCIDR"}"#,
            LocalDetector::Cidrs(pods.clone()),
        ),
        (
            r#"{"mode": "ClusterCIDR", "clusterCIDR": {"cidrs": ["10.0.0.0/8"]}}"#,
            LocalDetector::Cidrs(nets(&["10.0.0.0/8"])),
        ),
        (
            r#"{"mode": "BridgeInterface", "bridgeInterface": {"name": "cni0"}}"#,
            LocalDetector::BridgeInterface("cni0".into()),
        ),
        (
            r#"{"mode": "InterfaceNamePrefix", "interfaceNamePrefix": {"prefix": "veth"}}"#,
            LocalDetector::InterfaceNamePrefix("veth".into()),
        ),
        (r#"{"mode": "None"}"#, LocalDetector::None),
    ];
    for (wanted, expected) in rows {
        let wanted = serde_json::from_str(wanted).unwrap();
        let detection = detect_local(
            &wanted,
            NodeNetworks {
                pod_cidrs: &pods,
                ..NodeNetworks::default()
            },
        );
        assert_eq!(
            (detection.detector, detection.needs_attention),
            (expected, false)
        );
    }
    let wanted = serde_json::from_str(r#"{"mode": "NodeCIDR"}"#).unwrap();
    let detection = detect_local(&wanted, NodeNetworks::default());
    assert_eq!(
        (detection.detector, detection.needs_attention),
        (LocalDetector::None, true)
    );
}

#[test]
fn each_field_of_a_policy_reaches_its_setting() {
    let settings = resolve(|policy| {
        policy.source_nat.masquerade_all = true;
        policy.source_nat.mark_bit = 3;
        policy.source_nat.random_fully = false;
        policy.source_nat.port_range =
            serde_json::from_str(r#"{"from": 1024, "to": 65535}"#).unwrap();
        policy.source_nat.exclude_destination_cidrs = vec!["192.168.0.0/16".parse().unwrap()];
        policy.source_nat.snat.address_cidrs = vec!["203.0.113.0/24".parse().unwrap()];
        policy.node_ports.localhost = true;
        policy.node_ports.addresses = vec!["192.0.2.0/24".parse().unwrap()];
        policy.conntrack.tcp_be_liberal = true;
        policy.endpoint_weights =
            serde_json::from_str(r#"[{"zones": ["a"], "weight": 3}]"#).unwrap();
    });
    let plan = settings.plan;
    assert!(
        plan.masquerade_all
            && !plan.random_fully
            && plan.localhost_node_ports
            && plan.tcp_be_liberal
    );
    assert_eq!((plan.mark_bit, plan.snat_ports), (3, Some((1024, 65_535))));
    assert_eq!(plan.exclude_destinations, nets(&["192.168.0.0/16"]));
    assert_eq!(plan.snat_addresses, nets(&["203.0.113.0/24"]));
    assert_eq!(
        plan.node_port_addresses,
        NodePortAddresses::Cidrs(nets(&["192.0.2.0/24"]))
    );
    assert_eq!(
        (
            plan.endpoint_weights[0].weight,
            &*plan.endpoint_weights[0].zones[0]
        ),
        (3, "a")
    );
    let primary = resolve(|policy| policy.node_ports.addresses = vec![NodePortAddress::Primary]);
    assert_eq!(primary.plan.node_port_addresses, NodePortAddresses::Primary);
}

#[test]
fn sysctls_are_wanted_for_what_the_policy_says_only() {
    let settings = resolve(|policy| {
        policy.node_ports.localhost = true;
        policy.conntrack = Conntrack {
            max_per_core: Some(32_768),
            min: Some(131_072),
            tcp_established_timeout_seconds: Some(86_400),
            tcp_close_wait_timeout_seconds: Some(3600),
            tcp_be_liberal: true,
        };
        policy.sysctls = vec![Sysctl {
            name: "net.core.somaxconn".into(),
            value: "4096".into(),
        }];
    });
    let max = |settings: &NodeSettings, cores| {
        let wanted = wanted_sysctls(settings, cores);
        wanted
            .into_iter()
            .find(|(name, _)| name == "net.netfilter.nf_conntrack_max")
            .map(|(_, value)| value)
    };
    let wanted: Vec<String> = wanted_sysctls(&settings, 2)
        .into_iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    assert_eq!(
        wanted,
        [
            "net.ipv4.conf.all.route_localnet=1",
            "net.netfilter.nf_conntrack_max=131072",
            "net.netfilter.nf_conntrack_tcp_timeout_established=86400",
            "net.netfilter.nf_conntrack_tcp_timeout_close_wait=3600",
            "net.netfilter.nf_conntrack_tcp_be_liberal=1",
            "net.core.somaxconn=4096",
        ]
    );
    assert_eq!(max(&settings, 8).as_deref(), Some("262144"));
    assert_eq!(
        max(&settings, u32::MAX).as_deref(),
        Some("2147483647"),
        "the kernel's greatest"
    );
    assert_eq!(
        max(&resolve(|policy| policy.conntrack.min = Some(5)), 8).as_deref(),
        Some("5")
    );
    assert_eq!(
        max(
            &resolve(|policy| policy.conntrack.max_per_core = Some(5)),
            8
        )
        .as_deref(),
        Some("40")
    );
}

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    settings: SettingsFlags,
}

fn flags(line: &str) -> Result<ServiceProxyPolicySpec, String> {
    let arguments = ["agent"].into_iter().chain(line.split_whitespace());
    let command = Command::try_parse_from(arguments).map_err(|error| error.to_string())?;
    command.settings.policy().map_err(|error| error.to_string())
}

#[test]
fn no_flags_mean_the_default_policy() {
    assert_eq!(flags(""), Ok(ServiceProxyPolicySpec::default()));
}

#[test]
fn flags_say_what_a_policy_says() {
    let policy = flags(
        "--detect-local-mode cluster-cidr --cluster-cidr 10.0.0.0/8 --cluster-cidr fd00::/8 --masquerade-all --exclude-destination-cidr 192.168.0.0/16 \
         --snat-address-cidr 203.0.113.0/24 --masquerade-ports 1024-65535 --no-random-fully --mark-bit 5 --iptables-variant nft --node-port-address primary \
         --localhost-node-ports --conntrack-max-per-core 1 --conntrack-min 2 --conntrack-tcp-timeout-established 3 --conntrack-tcp-timeout-close-wait 4 \
         --conntrack-tcp-be-liberal --min-sync-interval 10 --full-sync-interval 20 --sysctl net.ipv4.ip_local_port_range=1024",
    )
    .unwrap();
    let expected = r#"{
        "iptables": {"variant": "NFT"},
        "sourceNAT": {"detectLocal": {"mode": "ClusterCIDR", "clusterCIDR": {"cidrs": ["10.0.0.0/8", "fd00::/8"]}}, "masqueradeAll": true,
            "excludeDestinationCIDRs": ["192.168.0.0/16"], "snat": {"addressCIDRs": ["203.0.113.0/24"]}, "markBit": 5,
            "portRange": {"from": 1024, "to": 65535}, "randomFully": false},
        "conntrack": {"maxPerCore": 1, "min": 2, "tcpEstablishedTimeoutSeconds": 3, "tcpCloseWaitTimeoutSeconds": 4, "tcpBeLiberal": true},
        "nodePorts": {"addresses": ["primary"], "localhost": true},
        "sync": {"minIntervalMilliseconds": 10, "fullIntervalSeconds": 20},
        "sysctls": [{"name": "net.ipv4.ip_local_port_range", "value": "1024"}]}"#;
    assert_eq!(policy, serde_json::from_str(expected).unwrap());
    let bridge = flags("--detect-local-mode bridge-interface --pod-bridge-interface cni0").unwrap();
    assert_eq!(
        bridge.source_nat.detect_local.mode,
        DetectLocalMode::BridgeInterface
    );
    let prefix =
        flags("--detect-local-mode interface-name-prefix --pod-interface-name-prefix veth")
            .unwrap();
    assert_eq!(
        prefix
            .source_nat
            .detect_local
            .interface_name_prefix
            .unwrap()
            .prefix,
        "veth"
    );
}

#[test]
fn bad_flags_are_refused_by_their_name() {
    let rows = [
        (
            "--mark-bit 32",
            "flags cannot be used: --mark-bit: 32 is not between 0 and 31",
        ),
        (
            "--detect-local-mode cluster-cidr --full-sync-interval 0 --min-sync-interval 0",
            "flags cannot be used: --cluster-cidr: mode ClusterCIDR needs it: add it; --full-sync-interval: 0 is not between 1 and 86400",
        ),
        (
            "--masquerade-ports 9-8",
            "flags cannot be used: --masquerade-ports: from (9) is greater than to (8): swap them",
        ),
    ];
    for (line, expected) in rows {
        assert_eq!(flags(line), Err(expected.to_owned()), "{line}");
    }
    let rows = [
        (
            "--masquerade-ports 80",
            "\"80\" is not a port range: write FROM-TO, such as 1024-65535",
        ),
        ("--sysctl a", "\"a\" has no value: write NAME=VALUE"),
        (
            "--node-port-address 10.0.0.1",
            "\"10.0.0.1\" is not a network: write address/prefix length, such as 10.0.0.0/8 or fd00::/8",
        ),
    ];
    for (line, expected) in rows {
        assert!(
            flags(line).unwrap_err().contains(expected),
            "{line}: {}",
            flags(line).unwrap_err()
        );
    }
}
