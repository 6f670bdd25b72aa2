//! Connection tracking tunables.

use kube::core::Rule;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::invalid::Checker;
use super::schema::{INT_MAX, not_zero, rule, says};

/// Connection tracking tunables of the node. An absent field leaves the kernel's value alone; what the kernel refuses is told in the node's status.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(extend("x-kubernetes-validations" = Conntrack::rules()))]
pub struct Conntrack {
    /// Tracked connections per CPU of the node that is online, 1 to 2147483647 (`net.netfilter.nf_conntrack_max`). Their hash table gets a
    /// quarter as many buckets at least (`nf_conntrack_buckets`), unless `sysctls` names that. Absent, the kernel's value stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = INT_MAX), extend("x-kubernetes-validations" = not_zero(NO_LIMIT)))]
    pub max_per_core: Option<u32>,
    /// Tracked connections that the node allows at least, however few its cores, 1 to 2147483647. It counts with `maxPerCore` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = INT_MAX), extend("x-kubernetes-validations" = not_zero(NO_LIMIT)))]
    pub min: Option<u32>,
    /// How long an established TCP connection may be silent, in seconds, 1 to 2147483647 (`net.netfilter.nf_conntrack_tcp_timeout_established`).
    /// Absent, the kernel's value stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = INT_MAX), extend("x-kubernetes-validations" = not_zero(NO_LIMIT)))]
    pub tcp_established_timeout_seconds: Option<u32>,
    /// How long a TCP connection is kept that one side has closed, in seconds, 1 to 2147483647
    /// (`net.netfilter.nf_conntrack_tcp_timeout_close_wait`). Absent, the kernel's value stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = INT_MAX), extend("x-kubernetes-validations" = not_zero(NO_LIMIT)))]
    pub tcp_close_wait_timeout_seconds: Option<u32>,
    /// Take TCP packets outside the window as part of their connection and forward what is not (`net.netfilter.nf_conntrack_tcp_be_liberal`).
    /// Default: false, packets that belong to no connection are dropped.
    pub tcp_be_liberal: bool,
}

/// Of any field.
const NO_LIMIT: &str = "0 is no limit here: leave the field out to leave the kernel's value alone";

const MIN_ALONE: &str =
    "conntrack.min counts with conntrack.maxPerCore only: set that too, or leave min out";

impl Conntrack {
    fn rules() -> [Rule; 1] {
        [rule(
            ".min",
            "!has(self.min) || has(self.maxPerCore)",
            says(MIN_ALONE),
        )]
    }

    pub(super) fn check(&self, c: &mut Checker) {
        for (name, value) in [
            ("maxPerCore", self.max_per_core),
            ("min", self.min),
            (
                "tcpEstablishedTimeoutSeconds",
                self.tcp_established_timeout_seconds,
            ),
            (
                "tcpCloseWaitTimeoutSeconds",
                self.tcp_close_wait_timeout_seconds,
            ),
        ] {
            c.field(name, |c| match value {
                Some(0) => c.wrong(NO_LIMIT),
                Some(value) => c.within(value, 1..=INT_MAX),
                None => {}
            });
        }
        if self.min.is_some() && self.max_per_core.is_none() {
            c.field("min", |c| {
                c.wrong(MIN_ALONE);
            });
        }
    }
}
