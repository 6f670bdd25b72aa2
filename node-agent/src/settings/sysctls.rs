//! Which node tunables the settings ask for.

use super::NodeSettings;

/// Lets packets with loopback addresses leave `lo`.
pub const ROUTE_LOCALNET: &str = "net.ipv4.conf.all.route_localnet";

/// Names and values of all sysctls that the settings ask for, on a node with so many CPU cores. What is absent is left alone.
pub fn wanted_sysctls(settings: &NodeSettings, cores: u32) -> Vec<(String, String)> {
    let conntrack = &settings.conntrack;
    let per_core = conntrack
        .max_per_core
        .map(|max| max.saturating_mul(cores).min(i32::MAX.cast_unsigned()));
    let managed = [
        (
            ROUTE_LOCALNET,
            settings.plan.localhost_node_ports.then_some(1),
        ),
        (
            "net.netfilter.nf_conntrack_max",
            per_core.max(conntrack.min),
        ),
        (
            "net.netfilter.nf_conntrack_tcp_timeout_established",
            conntrack.tcp_established_timeout_seconds,
        ),
        (
            "net.netfilter.nf_conntrack_tcp_timeout_close_wait",
            conntrack.tcp_close_wait_timeout_seconds,
        ),
        (
            "net.netfilter.nf_conntrack_tcp_be_liberal",
            conntrack.tcp_be_liberal.then_some(1),
        ),
    ];
    let managed = managed
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?.to_string())));
    let by_owner = settings
        .sysctls
        .iter()
        .map(|sysctl| (sysctl.name.clone(), sysctl.value.clone()));
    managed.chain(by_owner).collect()
}
