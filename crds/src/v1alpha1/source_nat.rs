//! Source NAT of service traffic.

use kube::core::Rule;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::cidr::{Cidr, NO_NETWORK, check_networks, narrow_networks, some_networks};
use super::interface_name::{check_interface_name, interface_name_rules};
use super::invalid::Checker;
use super::pod_classes::{MAX_CLASSES, PodClass};
use super::schema::{forbidden, literal, required, rule, says, says_with};

/// Source NAT of service traffic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SourceNat {
    /// How traffic of the node's own pods is told from other traffic. Default: `mode: Auto`.
    pub detect_local: DetectLocal,
    /// Masquerade all traffic to cluster IPs. Default: false.
    pub masquerade_all: bool,
    /// Service traffic to endpoints in these networks keeps its source address; what starts on localhost is masqueraded all the same. Default: none.
    #[serde(rename = "excludeDestinationCIDRs")]
    #[schemars(schema_with = "narrow_networks")]
    pub exclude_destination_cidrs: Vec<Cidr>,
    /// Which of the node's addresses become the source.
    pub snat: Snat,
    /// Number of the bit of the packet mark that means "masquerade", 0 to 31. Default: 14.
    #[schemars(range(min = 0, max = 31))]
    pub mark_bit: u32,
    /// Source ports of masqueraded connections. Default: the kernel's choice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port_range: Option<PortRange>,
    /// Choose source ports at random, which many connections at once need. Default: true.
    pub random_fully: bool,
    /// Which source address traffic of some of the node's pods has; the first row that matches a pod counts. Default: none, all pods alike.
    ///
    /// A packet from a pod of a class has its source decided by the first of these that holds. Whoever reaches itself through a service is
    /// masqueraded. Destinations in `excludeDestinationCIDRs` see the pod's address. The class's `action`. What holds for all others:
    /// `masqueradeAll`, `detectLocal`, the service's traffic policies.
    #[schemars(length(max = MAX_CLASSES), extend(
        "x-kubernetes-list-type" = "map",
        "x-kubernetes-list-map-keys" = ["name"],
        "x-kubernetes-validations" = PodClass::list_rules(),
    ))]
    pub pod_classes: Vec<PodClass>,
}

/// Which of the node's addresses become the source of masqueraded connections.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Snat {
    /// The node's own addresses inside these networks; several share the connections. A node without any of an address family
    /// masquerades that family as if the list were empty, and says so in its status.
    /// Default: none, the address of the interface that a packet leaves by.
    #[serde(rename = "addressCIDRs")]
    #[schemars(schema_with = "narrow_networks")]
    pub address_cidrs: Vec<Cidr>,
}

/// Source ports, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = PortRange::rules()))]
pub struct PortRange {
    /// First port, 1 to 65535.
    #[schemars(range(min = 1, max = u16::MAX))]
    pub from: u32,
    /// Last port, 1 to 65535.
    #[schemars(range(min = 1, max = u16::MAX))]
    pub to: u32,
}

/// How traffic of the node's own pods is told from other traffic: a mode, and the member that belongs to it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(extend("x-kubernetes-validations" = DetectLocal::rules()))]
pub struct DetectLocal {
    /// Which way, and which member is given. Default: `Auto`.
    pub mode: DetectLocalMode,
    /// The cluster's pod networks; with `mode: ClusterCIDR` and no other.
    #[serde(rename = "clusterCIDR", skip_serializing_if = "Option::is_none")]
    pub cluster_cidr: Option<ClusterCidr>,
    /// The bridge of the node's pods; with `mode: BridgeInterface` and no other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bridge_interface: Option<BridgeInterface>,
    /// The interfaces of the node's pods; with `mode: InterfaceNamePrefix` and no other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface_name_prefix: Option<InterfaceNamePrefix>,
}

/// How traffic of the node's own pods is told from other traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClusterCidr {
    /// Networks, at least one, such as `10.244.0.0/16`.
    #[schemars(schema_with = "some_networks")]
    pub cidrs: Vec<Cidr>,
}

/// The bridge that the node's pods are attached to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BridgeInterface {
    /// Its name, such as `cni0`.
    #[schemars(length(max = 63), extend("x-kubernetes-validations" = interface_name_rules()))]
    pub name: String,
}

/// Interfaces that the node's pods are attached to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InterfaceNamePrefix {
    /// How their names start, such as `veth`.
    #[schemars(length(max = 63), extend("x-kubernetes-validations" = interface_name_rules()))]
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
            pod_classes: Vec::new(),
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
        PodClass::check_list(&self.pod_classes, c);
    }
}

impl PortRange {
    fn rules() -> [Rule; 1] {
        [rule(
            "",
            "self.from <= self.to",
            says_with(
                "from (%d) is greater than to (%d): swap them",
                &["self.from", "self.to"],
            ),
        )]
    }

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
    fn rules() -> Vec<Rule> {
        use DetectLocalMode as M;
        let member = |name: &str, owner: M| {
            let (path, mode) = (format!(".{name}"), literal(format_args!("{owner:?}")));
            [
                required(
                    &path,
                    &format!("self.mode != {mode} || has(self{path})"),
                    says(format_args!("mode {owner:?} needs it: add it")),
                ),
                forbidden(
                    &path,
                    &format!("self.mode == {mode} || !has(self{path})"),
                    says_with(
                        format_args!(
                            "it belongs to mode {owner:?}, and mode is %s: remove it, or change mode"
                        ),
                        &["self.mode"],
                    ),
                ),
            ]
        };
        [
            member("clusterCIDR", M::ClusterCIDR),
            member("bridgeInterface", M::BridgeInterface),
            member("interfaceNamePrefix", M::InterfaceNamePrefix),
        ]
        .concat()
    }

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
                        c.wrong(NO_NETWORK);
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
