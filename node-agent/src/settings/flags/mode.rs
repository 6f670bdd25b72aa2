//! Which data plane, and how IPVS balances.

use clap::{Args, ValueEnum};
use sluice_crds::v1alpha1::{
    Cidr, ConnectionReuse, IpvsTimeouts, Mode, ServiceProxyPolicySpec, VipBinding,
};

/// Flags for `mode`, `auto`, `ipvs` and `modeSwitch` of a policy.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct ModeFlags {
    /// Data plane of the node [default: auto]
    #[arg(long, value_name = "MODE")]
    mode: Option<ModeFlag>,
    /// With --mode auto: IPVS with more services than this [default: 1000]
    #[arg(long, value_name = "COUNT")]
    ipvs_above_services: Option<u32>,
    /// With --mode auto: iptables rules with fewer services than this [default: 800]
    #[arg(long, value_name = "COUNT")]
    iptables_below_services: Option<u32>,
    /// After a change of the mode, how long old connections may go on [default: until the last one ends]
    #[arg(long, value_name = "SECONDS")]
    mode_switch_drain_timeout: Option<u32>,
    /// IPVS: scheduler, such as rr, lc, sh or mh [default: rr]
    #[arg(long, value_name = "NAME")]
    ipvs_scheduler: Option<String>,
    /// IPVS: how the node takes service addresses as its own [default: local-route]
    #[arg(long, value_name = "BINDING")]
    ipvs_vip_binding: Option<VipBindingFlag>,
    /// IPVS: how long connections of an endpoint that goes away may go on [default: 900]
    #[arg(long, value_name = "SECONDS")]
    ipvs_graceful_termination_timeout: Option<u32>,
    /// IPVS: lifetime of idle TCP connections [default: the kernel's]
    #[arg(long, value_name = "SECONDS")]
    ipvs_tcp_timeout: Option<u32>,
    /// IPVS: lifetime of idle TCP connections that one side has closed [default: the kernel's]
    #[arg(long, value_name = "SECONDS")]
    ipvs_tcp_fin_timeout: Option<u32>,
    /// IPVS: lifetime of idle UDP flows [default: the kernel's]
    #[arg(long, value_name = "SECONDS")]
    ipvs_udp_timeout: Option<u32>,
    /// IPVS: answer ARP for service addresses on every interface
    #[arg(long)]
    no_ipvs_strict_arp: bool,
    /// IPVS: neither serve nor touch service addresses in this network (repeatable)
    #[arg(long, value_name = "CIDR")]
    ipvs_exclude_cidr: Vec<Cidr>,
    /// IPVS: a new connection from a client's port whose earlier connection is known still [default: auto]
    #[arg(long, value_name = "WHAT")]
    ipvs_connection_reuse: Option<ConnectionReuseFlag>,
    /// IPVS: size of the connection table as a power of 2, if the agent loads the kernel module [default: the kernel's]
    #[arg(long, value_name = "8-27")]
    ipvs_connection_table_bits: Option<u32>,
}

/// `--mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ModeFlag {
    /// By the number of services and by what the node can run
    Auto,
    /// iptables rules
    Iptables,
    /// The kernel's IPVS; iptables rules on a node that cannot run it
    Ipvs,
}

/// `--ipvs-vip-binding`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum VipBindingFlag {
    /// Local routes on kube-ipvs0
    LocalRoute,
    /// Addresses of kube-ipvs0
    Dummy,
}

/// `--ipvs-connection-reuse`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ConnectionReuseFlag {
    /// reschedule on kernels from 5.9 on, keep on older ones
    Auto,
    /// Gets an endpoint as any new connection; kernels before 5.9 make its client wait a second
    Reschedule,
    /// Goes to the endpoint of the earlier one, even if that is about to go away
    Keep,
}

impl ModeFlags {
    /// Writes what the flags say into a policy.
    pub(super) fn set(&self, policy: &mut ServiceProxyPolicySpec) {
        policy.mode = self.mode.map(Into::into).unwrap_or_default();
        policy.mode_switch.drain_timeout_seconds = self.mode_switch_drain_timeout;
        let auto = &mut policy.auto;
        auto.ipvs_above_services = self.ipvs_above_services.unwrap_or(auto.ipvs_above_services);
        auto.iptables_below_services = self
            .iptables_below_services
            .unwrap_or(auto.iptables_below_services);
        let ipvs = &mut policy.ipvs;
        if let Some(scheduler) = &self.ipvs_scheduler {
            ipvs.scheduler.clone_from(scheduler);
        }
        ipvs.vip_binding = self.ipvs_vip_binding.map(Into::into).unwrap_or_default();
        let termination = &mut ipvs.graceful_termination;
        termination.timeout_seconds = self
            .ipvs_graceful_termination_timeout
            .unwrap_or(termination.timeout_seconds);
        ipvs.timeouts = IpvsTimeouts {
            tcp_seconds: self.ipvs_tcp_timeout,
            tcp_fin_seconds: self.ipvs_tcp_fin_timeout,
            udp_seconds: self.ipvs_udp_timeout,
        };
        ipvs.strict_arp = !self.no_ipvs_strict_arp;
        ipvs.exclude_cidrs.clone_from(&self.ipvs_exclude_cidr);
        ipvs.connection_reuse = self
            .ipvs_connection_reuse
            .map(Into::into)
            .unwrap_or_default();
        ipvs.connection_table_bits = self.ipvs_connection_table_bits;
    }
}

impl From<ModeFlag> for Mode {
    fn from(flag: ModeFlag) -> Self {
        match flag {
            ModeFlag::Auto => Self::Auto,
            ModeFlag::Iptables => Self::IPTables,
            ModeFlag::Ipvs => Self::IPVS,
        }
    }
}

impl From<VipBindingFlag> for VipBinding {
    fn from(flag: VipBindingFlag) -> Self {
        match flag {
            VipBindingFlag::LocalRoute => Self::LocalRoute,
            VipBindingFlag::Dummy => Self::Dummy,
        }
    }
}

impl From<ConnectionReuseFlag> for ConnectionReuse {
    fn from(flag: ConnectionReuseFlag) -> Self {
        match flag {
            ConnectionReuseFlag::Auto => Self::Auto,
            ConnectionReuseFlag::Reschedule => Self::Reschedule,
            ConnectionReuseFlag::Keep => Self::Keep,
        }
    }
}
