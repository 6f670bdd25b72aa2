//! Source NAT of service traffic.

use serde::{Deserialize, Serialize};

use super::cidr::{Cidr, check_networks};
use super::invalid::Checker;

/// Source NAT of service traffic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SourceNat {
    /// How traffic of the node's own pods is told from other traffic. Default: `mode: Auto`.
    pub detect_local: DetectLocal,
    /// Masquerade all traffic to cluster IPs. Default: false.
    pub masquerade_all: bool,
    /// Service traffic to endpoints in these networks keeps its source address. Default: none.
    #[serde(rename = "excludeDestinationCIDRs")]
    pub exclude_destination_cidrs: Vec<Cidr>,
    /// Which of the node's addresses become the source.
    pub snat: Snat,
    /// Number of the bit of the packet mark that means "masquerade", 0 to 31. Default: 14.
    pub mark_bit: u32,
    /// Source ports of masqueraded connections. Default: the kernel's choice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port_range: Option<PortRange>,
    /// Choose source ports at random, which many connections at once need. Default: true.
    pub random_fully: bool,
}

/// Which of the node's addresses become the source of masqueraded connections.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Snat {
    /// The node's own addresses inside these networks; several share the connections. A node without any masquerades as if the list were empty.
    /// Default: none, the address of the interface that a packet leaves by.
    #[serde(rename = "addressCIDRs")]
    pub address_cidrs: Vec<Cidr>,
}

/// Source ports, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PortRange {
    /// First port, 1 to 65535.
    pub from: u32,
    /// Last port, 1 to 65535.
    pub to: u32,
}

/// How traffic of the node's own pods is told from other traffic: a mode, and the member that belongs to it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct DetectLocal {
    /// Default: `Auto`.
    pub mode: DetectLocalMode,
    /// With `mode: ClusterCIDR`.
    #[serde(rename = "clusterCIDR", skip_serializing_if = "Option::is_none")]
    pub cluster_cidr: Option<ClusterCidr>,
    /// With `mode: BridgeInterface`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bridge_interface: Option<BridgeInterface>,
    /// With `mode: InterfaceNamePrefix`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface_name_prefix: Option<InterfaceNamePrefix>,
}

/// How traffic of the node's own pods is told from other traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum DetectLocalMode {
    /// `NodeCIDR` if the node's pods really have addresses from its `spec.podCIDRs`, else `None`.
    #[default]
    Auto,
    /// Its source is in one of the cluster's pod networks.
    ClusterCIDR,
    /// Its source is in the node's `spec.podCIDRs`.
    NodeCIDR,
    /// It arrives on a bridge.
    BridgeInterface,
    /// It arrives on an interface whose name starts so.
    InterfaceNamePrefix,
    /// It is not told: nothing is masqueraded for coming from outside the cluster.
    None,
}

/// The cluster's pod networks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClusterCidr {
    /// Networks, at least one.
    pub cidrs: Vec<Cidr>,
}

/// The bridge that the node's pods are attached to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BridgeInterface {
    /// Interface name.
    pub name: String,
}

/// Interfaces that the node's pods are attached to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InterfaceNamePrefix {
    /// How their names start.
    pub prefix: String,
}

impl Default for SourceNat {
    fn default() -> Self {
        Self {
            detect_local: DetectLocal::default(),
            masquerade_all: false,
            exclude_destination_cidrs: Vec::new(),
            snat: Snat::default(),
            mark_bit: 14,
            port_range: None,
            random_fully: true,
        }
    }
}

impl SourceNat {
    pub(super) fn check(&self, c: &mut Checker) {
        c.field("detectLocal", |c| self.detect_local.check(c));
        check_networks(
            "excludeDestinationCIDRs",
            &self.exclude_destination_cidrs,
            c,
        );
        c.field("snat", |c| {
            check_networks("addressCIDRs", &self.snat.address_cidrs, c);
        });
        c.field("markBit", |c| c.within(self.mark_bit, 0..=31));
        c.field("portRange", |c| {
            if let Some(range) = self.port_range {
                range.check(c);
            }
        });
    }
}

impl PortRange {
    fn check(self, c: &mut Checker) {
        let ports = 1..=u32::from(u16::MAX);
        c.field("from", |c| c.within(self.from, ports.clone()));
        c.field("to", |c| c.within(self.to, ports));
        if self.from > self.to {
            c.wrong(format!(
                "from ({}) is greater than to ({}): swap them",
                self.from, self.to
            ));
        }
    }
}

impl DetectLocal {
    fn check(&self, c: &mut Checker) {
        use DetectLocalMode as M;
        for (name, owner, present) in [
            ("clusterCIDR", M::ClusterCIDR, self.cluster_cidr.is_some()),
            (
                "bridgeInterface",
                M::BridgeInterface,
                self.bridge_interface.is_some(),
            ),
            (
                "interfaceNamePrefix",
                M::InterfaceNamePrefix,
                self.interface_name_prefix.is_some(),
            ),
        ] {
            c.field(name, |c| match (owner == self.mode, present) {
                (true, false) => c.wrong(format!("mode {owner:?} needs it: add it")),
                (false, true) => {
                    c.wrong(format!(
                        "it belongs to mode {owner:?}, and mode is {:?}: remove it, or change mode",
                        self.mode
                    ));
                }
                _ => {}
            });
        }
        c.field("clusterCIDR", |c| {
            if let Some(cluster) = &self.cluster_cidr {
                if cluster.cidrs.is_empty() {
                    c.field("cidrs", |c| {
                        c.wrong("the list is empty: add the cluster's pod networks");
                    });
                }
                check_networks("cidrs", &cluster.cidrs, c);
            }
        });
        c.field("bridgeInterface.name", |c| {
            if let Some(bridge) = &self.bridge_interface {
                check_interface_name(&bridge.name, c);
            }
        });
        c.field("interfaceNamePrefix.prefix", |c| {
            if let Some(interfaces) = &self.interface_name_prefix {
                check_interface_name(&interfaces.prefix, c);
            }
        });
    }
}

/// Interface names have at most 15 bytes (`IFNAMSIZ`) and no white space or slash. A final `+` would be a wildcard to iptables.
fn check_interface_name(name: &str, c: &mut Checker) {
    let acceptable = |b: u8| {
        b.is_ascii_graphic()
            && !matches!(b, b'/' | b':' | b'+' | b'"' | b'\'' | b'!' | b'\\' | b'#')
    };
    if name.is_empty() || name.len() > 15 || !name.bytes().all(acceptable) {
        c.wrong(format!("{name:?} is not an interface name: use 1 to 15 letters, digits, dots, dashes or underscores"));
    }
}
