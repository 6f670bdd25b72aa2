//! Node tunables that a policy may set.

use std::fmt;

use kube::core::Rule;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::invalid::Checker;
use super::schema::{list, literal, rule, says_with};

/// A node tunable. The old value comes back when the agent's cleanup runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Sysctl {
    /// Dotted name, such as `net.ipv4.ip_local_port_range`. Tunables of capacity, buffers and timeouts only: `net.core.somaxconn`, `net.ipv4.tcp_*`
    /// and the like. A refusal lists them all.
    #[schemars(length(max = 253), extend("x-kubernetes-validations" = Sysctl::name_rules()))]
    pub name: String,
    /// Value as the kernel shows it, such as `"1024 65535"`.
    #[schemars(length(max = 1024), extend("x-kubernetes-validations" = Sysctl::value_rules()))]
    pub value: String,
}

/// Tunables that a policy may set: capacity, buffers, timeouts. None of them can cut a node off the network.
const ALLOWED: [&str; 22] = [
    "net.core.default_qdisc",
    "net.core.netdev_budget",
    "net.core.netdev_budget_usecs",
    "net.core.netdev_max_backlog",
    "net.core.optmem_max",
    "net.core.rmem_default",
    "net.core.rmem_max",
    "net.core.somaxconn",
    "net.core.wmem_default",
    "net.core.wmem_max",
    "net.ipv4.fib_multipath_hash_policy",
    "net.ipv4.icmp_msgs_burst",
    "net.ipv4.icmp_msgs_per_sec",
    "net.ipv4.icmp_ratelimit",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.udp_mem",
    "net.ipv6.fib_multipath_hash_policy",
    "net.ipv6.icmp.ratelimit",
    "net.netfilter.nf_conntrack_buckets",
    "net.netfilter.nf_conntrack_generic_timeout",
    "net.netfilter.nf_conntrack_log_invalid",
];

/// What the names of further allowed tunables start with.
const ALLOWED_PREFIXES: [&str; 7] = [
    "net.ipv4.neigh.default.",
    "net.ipv4.tcp_",
    "net.ipv6.neigh.default.",
    "net.netfilter.nf_conntrack_icmp",
    "net.netfilter.nf_conntrack_sctp_",
    "net.netfilter.nf_conntrack_tcp_",
    "net.netfilter.nf_conntrack_udp_",
];

/// Tunables that the agent sets itself, and what to use for them.
const MANAGED: [(&str, &str); 8] = [
    ("net.ipv4.conf.all.arp_announce", "spec.ipvs.strictARP"),
    ("net.ipv4.conf.all.arp_ignore", "spec.ipvs.strictARP"),
    (
        "net.ipv4.conf.all.route_localnet",
        "spec.nodePorts.localhost",
    ),
    ("net.ipv4.vs.conn_reuse_mode", "spec.ipvs.connectionReuse"),
    (
        "net.netfilter.nf_conntrack_max",
        "spec.conntrack.maxPerCore and spec.conntrack.min",
    ),
    (
        "net.netfilter.nf_conntrack_tcp_be_liberal",
        "spec.conntrack.tcpBeLiberal",
    ),
    (
        "net.netfilter.nf_conntrack_tcp_timeout_close_wait",
        "spec.conntrack.tcpCloseWaitTimeoutSeconds",
    ),
    (
        "net.netfilter.nf_conntrack_tcp_timeout_established",
        "spec.conntrack.tcpEstablishedTimeoutSeconds",
    ),
];

const NO_VALUE: &str = "is not a value: write numbers or words, separated by blanks";

impl Sysctl {
    fn name_rules() -> [Rule; 2] {
        let managed = list(&MANAGED.map(|(name, _)| name));
        let instead = MANAGED
            .map(|(name, instead)| format!("{}: {}", literal(name), literal(instead)))
            .join(", ");
        let (allowed, prefixes) = (list(&ALLOWED), list(&ALLOWED_PREFIXES));
        let listed = format!(
            "self in {allowed} || {prefixes}.exists(start, self.startsWith(start) && self != start)"
        );
        [
            rule(
                "",
                &format!("!(self in {managed})"),
                says_with(
                    "%s is set by the agent: remove it and use %s",
                    &["self", &format!("{{{instead}}}[self]")],
                ),
            ),
            rule(
                "",
                &format!(
                    "self in {managed} || self.matches('^[a-z0-9_.]+$') && !self.contains('..') && ({listed})"
                ),
                says_with(
                    format_args!("%s may not be set by a policy: use one of {Allowed}"),
                    &["strings.quote(self)"],
                ),
            ),
        ]
    }

    pub(super) fn value_rules() -> [Rule; 1] {
        let printable = literal(r"^[\t -~]*[!-~][\t -~]*$");
        [rule(
            "",
            &format!("self.matches({printable})"),
            says_with(format_args!("%s {NO_VALUE}"), &["strings.quote(self)"]),
        )]
    }

    pub(super) fn check(&self, c: &mut Checker) {
        c.field("name", |c| {
            if let Some((_, instead)) = MANAGED.iter().find(|(name, _)| *name == self.name) {
                c.wrong(format!(
                    "{} is set by the agent: remove it and use {instead}",
                    self.name
                ));
            } else if !self.is_allowed() {
                c.wrong(format!(
                    "{:?} may not be set by a policy: use one of {Allowed}",
                    self.name
                ));
            }
        });
        c.field("value", |c| check_value(&self.value, c));
    }

    pub(super) fn check_names(sysctls: &[Self], c: &mut Checker) {
        c.unique_names("sysctls", sysctls, |sysctl| &sysctl.name);
    }

    fn is_allowed(&self) -> bool {
        // A slash or an empty part would make another file of it.
        let plain = self
            .name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'.');
        plain
            && !self.name.contains("..")
            && (ALLOWED.contains(&self.name.as_str())
                || ALLOWED_PREFIXES
                    .iter()
                    .any(|prefix| self.name.len() > prefix.len() && self.name.starts_with(prefix)))
    }
}

/// The same as [`Sysctl::value_rules`].
pub(super) fn check_value(value: &str, c: &mut Checker) {
    let printable = value
        .bytes()
        .all(|b| b.is_ascii_graphic() || b == b' ' || b == b'\t');
    if value.trim().is_empty() || !printable {
        c.wrong(format!("{value:?} {NO_VALUE}"));
    }
}

/// The allow-list as one sentence.
struct Allowed;

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", ALLOWED.join(", "))?;
        ALLOWED_PREFIXES
            .iter()
            .try_for_each(|prefix| write!(f, ", {prefix}*"))
    }
}
