//! Tunables of a pod's own network namespace.

use kube::core::Rule;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::invalid::Checker;
use super::schema::{list, rule, says_with};
use super::sysctls::{Sysctl, check_value};

/// A tunable of a pod's own network namespace, set before the pod's first process starts. It goes with the pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PodSysctl {
    /// Dotted name, such as `net.ipv4.ip_local_port_range`. Tunables that each network namespace has for itself: `net.core.somaxconn`,
    /// `net.ipv4.tcp_*` and the like. A refusal lists them all.
    #[schemars(length(max = 253), extend("x-kubernetes-validations" = PodSysctl::name_rules()))]
    pub name: String,
    /// Value as the kernel shows it, such as `"1024 65535"`.
    #[schemars(length(max = 1024), extend("x-kubernetes-validations" = Sysctl::value_rules()))]
    pub value: String,
}

/// Tunables that a class may set in its pods.
const ALLOWED: [&str; 8] = [
    "net.core.somaxconn",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.udp_rmem_min",
    "net.ipv4.udp_wmem_min",
    "net.ipv6.bindv6only",
];

/// What the names of further allowed tunables start with.
const ALLOWED_PREFIX: &str = "net.ipv4.tcp_";

/// Those that start so and are one for the whole node, or can only be read in a namespace of its own.
const OF_THE_NODE: [&str; 7] = [
    "net.ipv4.tcp_allowed_congestion_control",
    "net.ipv4.tcp_available_congestion_control",
    "net.ipv4.tcp_available_ulp",
    "net.ipv4.tcp_ehash_entries",
    "net.ipv4.tcp_low_latency",
    "net.ipv4.tcp_max_orphans",
    "net.ipv4.tcp_mem",
];

impl PodSysctl {
    fn name_rules() -> [Rule; 1] {
        let (allowed, of_the_node) = (list(&ALLOWED), list(&OF_THE_NODE));
        [rule(
            "",
            &format!(
                "self in {allowed} || self.matches('^net[.]ipv4[.]tcp_[a-z0-9_]+$') && !(self in {of_the_node})"
            ),
            says_with(
                format_args!("%s {}", not_of_a_pod()),
                &["strings.quote(self)"],
            ),
        )]
    }

    pub(super) fn check(&self, c: &mut Checker) {
        c.field("name", |c| {
            if !self.is_allowed() {
                c.wrong(format!("{:?} {}", self.name, not_of_a_pod()));
            }
        });
        c.field("value", |c| check_value(&self.value, c));
    }

    fn is_allowed(&self) -> bool {
        let name = self.name.as_str();
        // A dot or a slash after the prefix would make another file of it.
        let of_tcp = name.strip_prefix(ALLOWED_PREFIX).is_some_and(|rest| {
            !rest.is_empty()
                && rest
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        });
        ALLOWED.contains(&name) || (of_tcp && !OF_THE_NODE.contains(&name))
    }
}

/// What to say of a name that is not allowed.
fn not_of_a_pod() -> String {
    format!(
        "may not be set in a pod: use one of {}, {ALLOWED_PREFIX}*, but none of {}, which are the node's",
        ALLOWED.join(", "),
        OF_THE_NODE.join(", ")
    )
}
