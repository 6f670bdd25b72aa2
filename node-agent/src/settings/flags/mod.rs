//! Settings on the command line, for nodes without a policy.

mod mode;
mod problem;

use clap::{Args, ValueEnum};
use sluice_crds::v1alpha1::{
    BridgeInterface, Cidr, ClusterCidr, DetectLocal, DetectLocalMode, InterfaceNamePrefix,
    Iptables, IptablesVariant, NodePortAddress, NodePorts, PortRange, ServiceProxyPolicySpec, Snat,
    Sysctl,
};

use self::mode::ModeFlags;
pub use self::problem::{FlagProblem, FlagsError};

/// Flags that together say what a policy says.
// Flags are on or off: no state hides in them.
#[allow(clippy::struct_excessive_bools)]
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Settings, used while no policy selects this node")]
pub struct SettingsFlags {
    #[command(flatten)]
    mode: ModeFlags,
    /// How traffic of this node's pods is told from other traffic
    #[arg(long, value_name = "MODE")]
    pub detect_local_mode: Option<DetectLocalModeFlag>,
    /// Pod network of the cluster, for --detect-local-mode cluster-cidr (repeatable)
    #[arg(long, value_name = "CIDR")]
    pub cluster_cidr: Vec<Cidr>,
    /// Bridge of the pods, for --detect-local-mode bridge-interface
    #[arg(long, value_name = "NAME")]
    pub pod_bridge_interface: Option<String>,
    /// Start of the names of the pods' interfaces, for --detect-local-mode interface-name-prefix
    #[arg(long, value_name = "PREFIX")]
    pub pod_interface_name_prefix: Option<String>,
    /// Masquerade all traffic to cluster IPs
    #[arg(long)]
    pub masquerade_all: bool,
    /// Service traffic to endpoints in this network keeps its source address (repeatable)
    #[arg(long, value_name = "CIDR")]
    pub exclude_destination_cidr: Vec<Cidr>,
    /// Source NAT to the node's addresses in this network (repeatable)
    #[arg(long, value_name = "CIDR")]
    pub snat_address_cidr: Vec<Cidr>,
    /// Source ports of masqueraded connections, such as 1024-65535
    #[arg(long, value_name = "FROM-TO", value_parser = port_range)]
    pub masquerade_ports: Option<PortRange>,
    /// Do not choose source ports at random
    #[arg(long)]
    pub no_random_fully: bool,
    /// Number of the packet mark's bit that means "masquerade" [default: 14]
    #[arg(long, value_name = "0-31")]
    pub mark_bit: Option<u32>,
    /// Which iptables binaries [default: auto]
    #[arg(long, value_name = "VARIANT")]
    pub iptables_variant: Option<IptablesVariantFlag>,
    /// Network whose addresses serve node ports, or `primary` (repeatable) [default: all but loopback]
    #[arg(long, value_name = "CIDR")]
    pub node_port_address: Vec<NodePortAddress>,
    /// Serve node ports on 127.0.0.1 too
    #[arg(long)]
    pub localhost_node_ports: bool,
    /// Tracked connections per CPU core
    #[arg(long, value_name = "COUNT")]
    pub conntrack_max_per_core: Option<u32>,
    /// Tracked connections that the node allows at least
    #[arg(long, value_name = "COUNT")]
    pub conntrack_min: Option<u32>,
    /// How long an established TCP connection may be silent
    #[arg(long, value_name = "SECONDS")]
    pub conntrack_tcp_timeout_established: Option<u32>,
    /// How long a TCP connection is kept that one side has closed
    #[arg(long, value_name = "SECONDS")]
    pub conntrack_tcp_timeout_close_wait: Option<u32>,
    /// Forward packets that belong to no tracked connection
    #[arg(long)]
    pub conntrack_tcp_be_liberal: bool,
    /// Shortest time between two writes to the kernel [default: 50]
    #[arg(long, value_name = "MILLISECONDS")]
    pub min_sync_interval: Option<u32>,
    /// Time between full comparisons with the kernel [default: 3600]
    #[arg(long, value_name = "SECONDS")]
    pub full_sync_interval: Option<u32>,
    /// Further node tunable (repeatable)
    #[arg(long, value_name = "NAME=VALUE", value_parser = sysctl)]
    pub sysctl: Vec<Sysctl>,
}

/// `--detect-local-mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DetectLocalModeFlag {
    /// By the node's pod networks if they are in use, else not at all
    Auto,
    /// By the networks of --cluster-cidr
    ClusterCidr,
    /// By the node's spec.podCIDRs
    NodeCidr,
    /// By the bridge of --pod-bridge-interface
    BridgeInterface,
    /// By interface names that start with --pod-interface-name-prefix
    InterfaceNamePrefix,
    /// Not at all
    None,
}

/// `--iptables-variant`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum IptablesVariantFlag {
    /// The ones that the node uses already
    Auto,
    /// iptables-legacy
    Legacy,
    /// iptables-nft
    Nft,
}

impl SettingsFlags {
    /// The policy that the flags make, by the same rules as one from a manifest.
    pub fn policy(&self) -> Result<ServiceProxyPolicySpec, FlagsError> {
        let mut policy = ServiceProxyPolicySpec {
            iptables: Iptables {
                variant: self.iptables_variant.map(Into::into).unwrap_or_default(),
            },
            node_ports: NodePorts {
                addresses: self.node_port_address.clone(),
                localhost: self.localhost_node_ports,
            },
            sysctls: self.sysctl.clone(),
            ..ServiceProxyPolicySpec::default()
        };
        let nat = &mut policy.source_nat;
        nat.detect_local = self.detect_local();
        nat.masquerade_all = self.masquerade_all;
        nat.exclude_destination_cidrs
            .clone_from(&self.exclude_destination_cidr);
        nat.snat = Snat {
            address_cidrs: self.snat_address_cidr.clone(),
        };
        nat.port_range = self.masquerade_ports;
        nat.random_fully = !self.no_random_fully;
        nat.mark_bit = self.mark_bit.unwrap_or(nat.mark_bit);
        let conntrack = &mut policy.conntrack;
        conntrack.max_per_core = self.conntrack_max_per_core;
        conntrack.min = self.conntrack_min;
        conntrack.tcp_established_timeout_seconds = self.conntrack_tcp_timeout_established;
        conntrack.tcp_close_wait_timeout_seconds = self.conntrack_tcp_timeout_close_wait;
        conntrack.tcp_be_liberal = self.conntrack_tcp_be_liberal;
        let sync = &mut policy.sync;
        sync.min_interval_milliseconds = self
            .min_sync_interval
            .unwrap_or(sync.min_interval_milliseconds);
        sync.full_interval_seconds = self
            .full_sync_interval
            .unwrap_or(sync.full_interval_seconds);

        self.mode.set(&mut policy);

        let problems: Vec<FlagProblem> = policy
            .validate()
            .into_iter()
            .map(FlagProblem::from)
            .collect();
        if problems.is_empty() {
            Ok(policy)
        } else {
            Err(FlagsError(problems))
        }
    }

    fn detect_local(&self) -> DetectLocal {
        let cidrs = self.cluster_cidr.clone();
        DetectLocal {
            mode: self.detect_local_mode.map(Into::into).unwrap_or_default(),
            cluster_cidr: (!cidrs.is_empty()).then_some(ClusterCidr { cidrs }),
            bridge_interface: self
                .pod_bridge_interface
                .clone()
                .map(|name| BridgeInterface { name }),
            interface_name_prefix: self
                .pod_interface_name_prefix
                .clone()
                .map(|prefix| InterfaceNamePrefix { prefix }),
        }
    }
}

impl From<DetectLocalModeFlag> for DetectLocalMode {
    fn from(flag: DetectLocalModeFlag) -> Self {
        match flag {
            DetectLocalModeFlag::Auto => Self::Auto,
            DetectLocalModeFlag::ClusterCidr => Self::ClusterCIDR,
            DetectLocalModeFlag::NodeCidr => Self::NodeCIDR,
            DetectLocalModeFlag::BridgeInterface => Self::BridgeInterface,
            DetectLocalModeFlag::InterfaceNamePrefix => Self::InterfaceNamePrefix,
            DetectLocalModeFlag::None => Self::None,
        }
    }
}

impl From<IptablesVariantFlag> for IptablesVariant {
    fn from(flag: IptablesVariantFlag) -> Self {
        match flag {
            IptablesVariantFlag::Auto => Self::Auto,
            IptablesVariantFlag::Legacy => Self::Legacy,
            IptablesVariantFlag::Nft => Self::NFT,
        }
    }
}

fn port_range(text: &str) -> Result<PortRange, String> {
    let read = || {
        let (from, to) = text.split_once('-')?;
        Some(PortRange {
            from: from.parse().ok()?,
            to: to.parse().ok()?,
        })
    };
    read().ok_or_else(|| format!("{text:?} is not a port range: write FROM-TO, such as 1024-65535"))
}

fn sysctl(text: &str) -> Result<Sysctl, String> {
    let (name, value) = text
        .split_once('=')
        .ok_or_else(|| format!("{text:?} has no value: write NAME=VALUE"))?;
    Ok(Sysctl {
        name: name.to_owned(),
        value: value.to_owned(),
    })
}
