//! IPVS.

use std::ops::RangeInclusive;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::cidr::{Cidr, check_networks, narrow_networks};
use super::invalid::Checker;
use super::schema::not_zero;

/// Settings of IPVS, in use where the mode is IPVS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Ipvs {
    /// How IPVS chooses the endpoint of a new connection, by the kernel's name: rr, wrr, lc, wlc, lblc, lblcr, dh, sh, sed, nq, fo, ovf, mh or twos.
    /// A change keeps connections. `dh` leads all of a service address to one endpoint; while that one keeps old connections
    /// (`gracefulTermination`), the address refuses new ones. Default: rr.
    #[schemars(extend("enum" = SCHEDULERS))]
    pub scheduler: String,
    /// How a node takes service addresses as its own, which IPVS needs. Default: `LocalRoute`.
    pub vip_binding: VipBinding,
    /// What becomes of the connections of an endpoint that goes away.
    pub graceful_termination: GracefulTermination,
    /// Lifetimes of idle connections.
    pub timeouts: IpvsTimeouts,
    /// A node answers ARP for addresses of the asking interface only (`net.ipv4.conf.all.arp_ignore=1`, `arp_announce=2`). Without it
    /// every node answers for every service address on its network, which misleads announcers such as `MetalLB`. Default: true.
    #[serde(rename = "strictARP")]
    pub strict_arp: bool,
    /// In mode IPVS, service addresses in these networks are not served, and what others have there is touched neither in IPVS nor by rules.
    /// Default: none.
    #[serde(rename = "excludeCIDRs")]
    #[schemars(schema_with = "narrow_networks")]
    pub exclude_cidrs: Vec<Cidr>,
    /// What becomes of a new connection from a client's port whose earlier connection is known still
    /// (`net.ipv4.vs.conn_reuse_mode`). Default: `Auto`.
    pub connection_reuse: ConnectionReuse,
    /// The table of connections has 2 to the power of this many rows, 8 to 27; kernels before 6.5 get at most 20.
    /// It takes effect when the kernel module `ip_vs` is loaded; where that is loaded or built in, the table stays as it is: write
    /// `options ip_vs conn_tab_bits=N` to a file in `/etc/modprobe.d` and load the module anew. With the chart's `agent.loadKernelModules` agents
    /// pass it themselves where nothing loaded `ip_vs` before. Default: the kernel's, 12.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = *TABLE_BITS.start(), max = *TABLE_BITS.end()))]
    pub connection_table_bits: Option<u32>,
}

/// How a node takes service addresses as its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum VipBinding {
    /// By a local route for each on the device `kube-ipvs0`, which has no address: quick to set up however many there are.
    #[default]
    LocalRoute,
    /// As addresses of the dummy device `kube-ipvs0`, for programs on the node that look for them there. Slow with many thousands.
    Dummy,
}

/// What becomes of the connections of an endpoint that goes away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct GracefulTermination {
    /// How long its TCP and SCTP connections may go on, in seconds, while it gets no new ones; 0 removes it at once. UDP ends at once always. Default: 900.
    pub timeout_seconds: u32,
}

/// Lifetimes of idle IPVS connections, 1 to 2147483 seconds. An absent field leaves the kernel's value alone.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct IpvsTimeouts {
    /// Of TCP connections, in seconds, 1 to 2147483. The kernel's value: 900.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = *TIMEOUT_SECONDS.end()), extend("x-kubernetes-validations" = not_zero(NO_TIMEOUT)))]
    pub tcp_seconds: Option<u32>,
    /// Of TCP connections that one side has closed, in seconds, 1 to 2147483. The kernel's value: 120.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = *TIMEOUT_SECONDS.end()), extend("x-kubernetes-validations" = not_zero(NO_TIMEOUT)))]
    pub tcp_fin_seconds: Option<u32>,
    /// Of UDP flows, in seconds, 1 to 2147483. The kernel's value: 300.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = *TIMEOUT_SECONDS.end()), extend("x-kubernetes-validations" = not_zero(NO_TIMEOUT)))]
    pub udp_seconds: Option<u32>,
}

/// What becomes of a new connection from a client's port whose earlier connection is known still.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum ConnectionReuse {
    /// `Reschedule` on kernels from 5.9 on, `Keep` on older ones.
    #[default]
    Auto,
    /// It gets an endpoint as any new connection does. Kernels before 5.9 make its client wait a second.
    Reschedule,
    /// It goes to the endpoint of the earlier one, even if that is about to go away.
    Keep,
}

impl Default for Ipvs {
    fn default() -> Self {
        Self {
            scheduler: "rr".to_owned(),
            vip_binding: VipBinding::default(),
            graceful_termination: GracefulTermination::default(),
            timeouts: IpvsTimeouts::default(),
            strict_arp: true,
            exclude_cidrs: Vec::new(),
            connection_reuse: ConnectionReuse::default(),
            connection_table_bits: None,
        }
    }
}

impl Default for GracefulTermination {
    fn default() -> Self {
        Self {
            timeout_seconds: 900,
        }
    }
}

/// The schedulers of the Linux kernel (`net/netfilter/ipvs/Kconfig`). Which of them a node has is the node's to say.
pub(super) const SCHEDULERS: [&str; 14] = [
    "rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "sed", "nq", "fo", "ovf", "mh", "twos",
];

/// What the module parameter `conn_tab_bits` of `ip_vs` may be on 64-bit kernels since 6.5.
const TABLE_BITS: RangeInclusive<u32> = 8..=27;

/// The kernel counts timeouts in ticks, at most 1000 a second, in an `int`.
const TIMEOUT_SECONDS: RangeInclusive<u32> = 1..=i32::MAX.cast_unsigned() / 1000;

/// Of any lifetime.
const NO_TIMEOUT: &str =
    "0 is no timeout here: leave the field out to leave the kernel's value alone";

impl Ipvs {
    pub(super) fn check(&self, c: &mut Checker) {
        c.field("scheduler", |c| check_scheduler(&self.scheduler, c));
        c.field("timeouts", |c| self.timeouts.check(c));
        check_networks("excludeCIDRs", &self.exclude_cidrs, c);
        c.field("connectionTableBits", |c| {
            if let Some(bits) = self.connection_table_bits {
                c.within(bits, TABLE_BITS);
            }
        });
    }
}

impl IpvsTimeouts {
    fn check(&self, c: &mut Checker) {
        for (name, value) in [
            ("tcpSeconds", self.tcp_seconds),
            ("tcpFinSeconds", self.tcp_fin_seconds),
            ("udpSeconds", self.udp_seconds),
        ] {
            c.field(name, |c| match value {
                Some(0) => c.wrong(NO_TIMEOUT),
                Some(value) => c.within(value, TIMEOUT_SECONDS),
                None => {}
            });
        }
    }
}

/// A name that no kernel has is a mistake that would show on the nodes only.
pub(super) fn check_scheduler(name: &str, c: &mut Checker) {
    if !SCHEDULERS.contains(&name) {
        c.wrong(format!(
            "{name:?} is not a scheduler of the Linux kernel: use one of {}",
            SCHEDULERS.join(", ")
        ));
    }
}
