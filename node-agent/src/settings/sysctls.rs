//! Which node tunables the settings ask for.

use super::NodeSettings;

/// Lets packets with loopback addresses leave `lo`.
pub const ROUTE_LOCALNET: &str = "net.ipv4.conf.all.route_localnet";

const CONNTRACK_MAX: &str = "net.netfilter.nf_conntrack_max";
const CONNTRACK_BUCKETS: &str = "net.netfilter.nf_conntrack_buckets";
/// Connections in a bucket when the table is full, as with kube-proxy.
const CONNECTIONS_PER_BUCKET: u32 = 4;
/// The kernel rounds their number up to whole pages; with the largest pages these are so many.
const BUCKETS_OF_A_PAGE: u32 = 8192;

/// Names and values of all sysctls that the settings ask for, on a node with so many CPU cores. What is absent is left alone.
pub fn wanted_sysctls(settings: &NodeSettings, cores: u32) -> Vec<(String, String)> {
    let conntrack = &settings.conntrack;
    let per_core = conntrack
        .max_per_core
        .map(|max| max.saturating_mul(cores).min(i32::MAX.cast_unsigned()));
    let max = per_core.map(|max| max.max(conntrack.min.unwrap_or_default()));
    let managed = [
        (
            ROUTE_LOCALNET,
            settings.plan.localhost_node_ports.then_some(1),
        ),
        (CONNTRACK_BUCKETS, max.map(buckets)),
        (CONNTRACK_MAX, max),
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
        .filter(|(name, _)| *name != CONNTRACK_BUCKETS || !is_owners(settings, name))
        .filter_map(|(name, value)| Some((name.to_owned(), value?.to_string())));
    let by_owner = settings
        .sysctls
        .iter()
        .map(|sysctl| (sysctl.name.clone(), sysctl.value.clone()));
    managed.chain(by_owner).collect()
}

/// A value that is present is as good as the wanted one: more buckets are never taken away.
pub fn is_enough(settings: &NodeSettings, name: &str, present: &str, wanted: &str) -> bool {
    let number = |text: &str| text.trim().parse::<u64>().ok();
    name == CONNTRACK_BUCKETS
        && !is_owners(settings, name)
        && number(present).is_some_and(|present| Some(present) >= number(wanted))
}

/// The policy names it itself.
fn is_owners(settings: &NodeSettings, name: &str) -> bool {
    settings.sysctls.iter().any(|sysctl| sysctl.name == name)
}

/// For a table of so many connections. Whole pages, so that the kernel says the same number when it is asked.
fn buckets(max: u32) -> u32 {
    max.div_ceil(CONNECTIONS_PER_BUCKET)
        .next_multiple_of(BUCKETS_OF_A_PAGE)
}
