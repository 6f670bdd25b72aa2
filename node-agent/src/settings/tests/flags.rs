use clap::Parser;
use sluice_crds::v1alpha1::{DetectLocalMode, ServiceProxyPolicySpec};

use super::*;

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
         --snat-address-cidr 203.0.113.0/24 --masquerade-ports 1024-65535 --no-random-fully --mark-bit 5 --iptables-variant nft --node-port-address 127.0.0.0/8 \
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
        "nodePorts": {"addresses": ["127.0.0.0/8"], "localhost": true},
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
fn flags_of_the_data_plane_say_what_a_policy_says() {
    let policy = flags(
        "--mode ipvs --ipvs-above-services 20 --iptables-below-services 10 --mode-switch-drain-timeout 60 --ipvs-scheduler lc --ipvs-vip-binding dummy \
         --ipvs-graceful-termination-timeout 30 --ipvs-tcp-timeout 1 --ipvs-tcp-fin-timeout 2 --ipvs-udp-timeout 3 --no-ipvs-strict-arp \
         --ipvs-exclude-cidr 192.0.2.0/24 --ipvs-exclude-cidr fd00::/8 --ipvs-connection-reuse keep --ipvs-connection-table-bits 20",
    )
    .unwrap();
    let expected = r#"{
        "mode": "IPVS", "auto": {"ipvsAboveServices": 20, "iptablesBelowServices": 10}, "modeSwitch": {"drainTimeoutSeconds": 60},
        "ipvs": {"scheduler": "lc", "vipBinding": "Dummy", "gracefulTermination": {"timeoutSeconds": 30},
            "timeouts": {"tcpSeconds": 1, "tcpFinSeconds": 2, "udpSeconds": 3}, "strictARP": false,
            "excludeCIDRs": ["192.0.2.0/24", "fd00::/8"], "connectionReuse": "Keep", "connectionTableBits": 20}}"#;
    assert_eq!(policy, serde_json::from_str(expected).unwrap());
    let reschedule =
        flags("--mode iptables --ipvs-connection-reuse reschedule --ipvs-vip-binding local-route");
    assert_eq!(
        reschedule,
        Ok(serde_json::from_str(
            r#"{"mode": "IPTables", "ipvs": {"connectionReuse": "Reschedule"}}"#
        )
        .unwrap())
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
            "--mode ipvs --localhost-node-ports --ipvs-udp-timeout 0",
            "flags cannot be used: --mode: IPVS cannot serve node ports on 127.0.0.1: set nodePorts.localhost to false, or mode to IPTables; --ipvs-udp-timeout: 0 is no timeout here: leave the field out to leave the kernel's value alone",
        ),
        (
            "--ipvs-above-services 5 --ipvs-connection-table-bits 99",
            "flags cannot be used: --iptables-below-services: 800 is greater than ipvsAboveServices (5), so both modes would be right in between: lower it, or raise the other; --ipvs-connection-table-bits: 99 is not between 8 and 27",
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
