mod flags;
mod ipvs;

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use sluice_crds::v1alpha1::{
    Conntrack, IptablesVariant, NodePortAddress, ServiceProxyPolicySpec, Sysctl,
};
use sluice_plan_input::settings::detect_local;
use sluice_service_plan::model::{LocalDetector, NodePortAddresses, PodAction, PodClass, Settings};

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
    assert_eq!(settings.drain_timeout, None);
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
fn a_cluster_network_that_misses_the_pods_of_the_node_is_told_of() {
    let pods = nets(&["10.244.3.0/24", "fd00:10:244:3::/64"]);
    let detect = |cidrs: &str, addresses: &[&str]| {
        let wanted = format!(r#"{{"mode": "ClusterCIDR", "clusterCIDR": {{"cidrs": {cidrs}}}}}"#);
        let addresses: Vec<IpAddr> = addresses.iter().map(|text| text.parse().unwrap()).collect();
        let node = NodeNetworks {
            pod_cidrs: &pods,
            addresses: &addresses,
            routes: &[],
        };
        detect_local(&serde_json::from_str(&wanted).unwrap(), node)
    };
    let both = ["10.244.3.1", "fd00:10:244:3::1"];
    let fits = detect(r#"["10.244.0.0/16", "fd00:10:244::/48"]"#, &both);
    assert!(!fits.needs_attention, "{}", fits.reason);
    let misses = detect(r#"["10.244.0.0/23", "fd00:10:244::/48"]"#, &both);
    assert_eq!(
        (misses.needs_attention, misses.reason.as_str()),
        (
            true,
            "traffic of pods comes from 10.244.0.0/23, fd00:10:244::/48 (the policy's clusterCIDR); not from 10.244.3.0/24 of the node's spec.podCIDRs, so its pods there are taken for clients outside: add it to clusterCIDR.cidrs, or choose NodeCIDR"
        )
    );
    assert_eq!(
        misses.detector,
        LocalDetector::Cidrs(nets(&["10.244.0.0/23", "fd00:10:244::/48"]))
    );
    // A network plugin has its own addresses, and the podCIDRs are nobody's.
    let of_plugin = detect(r#"["10.100.0.0/16"]"#, &["10.100.7.1"]);
    assert!(!of_plugin.needs_attention, "{}", of_plugin.reason);
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
        policy.source_nat.pod_classes = serde_json::from_str(
            r#"[{"name": "a", "podSelector": {"matchLabels": {"x": "y"}}, "action": "SNAT",
                 "snat": {"addressCIDRs": ["203.0.113.0/24"]}, "outInterface": "eth1", "egress": true}]"#,
        )
        .unwrap();
        policy.node_ports.localhost = true;
        policy.node_ports.addresses = ["192.0.2.0/24", "127.0.0.0/8"]
            .map(|cidr| cidr.parse().unwrap())
            .to_vec();
        policy.conntrack.tcp_be_liberal = true;
        policy.endpoint_weights =
            serde_json::from_str(r#"[{"zones": ["a"], "weight": 3}]"#).unwrap();
    });
    assert_eq!(settings.attachments.classes[0].name, "a");
    let plan = settings.plan;
    assert_eq!(
        plan.pod_classes,
        [PodClass {
            name: "a".into(),
            action: PodAction::Snat(nets(&["203.0.113.0/24"])),
            egress: true,
            out_interface: Some("eth1".into()),
        }]
    );
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
        NodePortAddresses::Cidrs(nets(&["192.0.2.0/24", "127.0.0.0/8"]))
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
            "net.netfilter.nf_conntrack_buckets=32768",
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
        max(
            &resolve(|policy| {
                policy.conntrack.max_per_core = Some(5);
                policy.conntrack.min = Some(41);
            }),
            8
        )
        .as_deref(),
        Some("41")
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

#[test]
fn buckets_of_connection_tracking_follow_its_greatest_size_where_the_owner_says_nothing_of_them() {
    let buckets = |change: fn(&mut ServiceProxyPolicySpec)| -> Vec<String> {
        let wanted = wanted_sysctls(&resolve(change), 4).into_iter();
        wanted
            .filter(|(name, _)| name == "net.netfilter.nf_conntrack_buckets")
            .map(|(_, value)| value)
            .collect()
    };
    assert_eq!(buckets(|_| ()), [""; 0]);
    assert_eq!(
        buckets(|policy| policy.conntrack.max_per_core = Some(32_768)),
        ["32768"]
    );
    // A kernel rounds them up to whole pages.
    assert_eq!(
        buckets(|policy| policy.conntrack.max_per_core = Some(100_000)),
        ["106496"]
    );
    assert_eq!(
        buckets(|policy| {
            policy.conntrack.max_per_core = Some(i32::MAX.cast_unsigned());
        }),
        ["536870912"]
    );
    assert_eq!(
        buckets(|policy| {
            policy.conntrack.max_per_core = Some(32_768);
            policy.sysctls = vec![Sysctl {
                name: "net.netfilter.nf_conntrack_buckets".into(),
                value: "16384".into(),
            }];
        }),
        ["16384"]
    );
}
