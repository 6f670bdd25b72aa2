//! Which address sets the glue needs.

use sluice_kernel::address_set::SetKind;
use sluice_service_plan::model::Family;

use super::pod_classes::ClassKey;

/// So go on the names of sets that tell the pods of a class.
const OF_PODS: &str = "POD-";

/// What a set is for. The order is the order in which entries are added; they are deleted the other way round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// The node's own addresses but loopback: they serve node ports, and are never closed when a service uses one of them.
    OwnIp,
    /// Sources that are this node's pods, where the local detector goes by network.
    Pods,
    /// Destinations towards which the source is kept.
    KeepSource,
    /// Destinations that are others' where IPVS balances. Before all that is refused.
    Excluded,
    /// Addresses that serve node ports, where the policy names some.
    NodePortIp,
    /// Clients allowed to use a guarded frontend.
    Allowed,
    /// Load-balancer frontends with source ranges. After `Allowed`: a guard without its list would shut everybody out.
    Guarded,
    /// Pods of a class whose traffic to services keeps its source. What is in it is not the plan's, as for the next two.
    PodPreserve,
    /// Pods of a class whose traffic to services gets a source of this node.
    PodMasquerade,
    /// Pods of a class that needs rules of its own.
    PodClass(ClassKey),
    /// Frontends whose traffic gets a source of this node, always.
    Masquerade,
    /// ... when it does not come from this node's pods. Where these are not told, nobody's; classes of pods then tell by it what is to a service.
    MasqueradeOutside,
    /// ... when it starts on this node.
    MasqueradeNode,
    /// Node ports, as `Masquerade`.
    NodePortMasquerade,
    /// Node ports, as `MasqueradeNode`.
    NodePortMasqueradeNode,
    /// Endpoints of this node, with themselves as the source.
    Hairpin,
    /// Frontends without a usable endpoint here.
    Drop,
    /// Frontends without a usable endpoint anywhere.
    Reject,
    /// Node ports, as `Drop`.
    NodePortDrop,
    /// Node ports, as `Reject`.
    NodePortReject,
    /// Ports of health-check servers.
    HealthPort,
    /// Cluster IPs. Last of all: what is known as a service address and has no rule yet is refused.
    ClusterIp,
    /// External and load-balancer addresses.
    ExternalIp,
}

impl Role {
    /// All that are there whatever the settings, in order.
    pub const ALL: [Self; 22] = [
        Self::OwnIp,
        Self::Pods,
        Self::KeepSource,
        Self::Excluded,
        Self::NodePortIp,
        Self::Allowed,
        Self::Guarded,
        Self::PodPreserve,
        Self::PodMasquerade,
        Self::Masquerade,
        Self::MasqueradeOutside,
        Self::MasqueradeNode,
        Self::NodePortMasquerade,
        Self::NodePortMasqueradeNode,
        Self::Hairpin,
        Self::Drop,
        Self::Reject,
        Self::NodePortDrop,
        Self::NodePortReject,
        Self::HealthPort,
        Self::ClusterIp,
        Self::ExternalIp,
    ];

    const fn suffix(self) -> &'static str {
        match self {
            Self::OwnIp => "OWN-IP",
            Self::Pods => "PODS",
            Self::KeepSource => "KEEP-SOURCE",
            Self::Excluded => "EXCLUDED",
            Self::NodePortIp => "NODEPORT-IP",
            Self::Allowed => "ALLOWED",
            Self::Guarded => "GUARDED",
            Self::PodPreserve => "POD-PRESERVE",
            Self::PodMasquerade => "POD-MASQ",
            Self::PodClass(_) => OF_PODS,
            Self::Masquerade => "MASQ",
            Self::MasqueradeOutside => "MASQ-OUTSIDE",
            Self::MasqueradeNode => "MASQ-NODE",
            Self::NodePortMasquerade => "NODEPORT-MASQ",
            Self::NodePortMasqueradeNode => "NODEPORT-MASQ-NODE",
            Self::Hairpin => "HAIRPIN",
            Self::Drop => "DROP",
            Self::Reject => "REJECT",
            Self::NodePortDrop => "NODEPORT-DROP",
            Self::NodePortReject => "NODEPORT-REJECT",
            Self::HealthPort => "HEALTH-PORT",
            Self::ClusterIp => "CLUSTER-IP",
            Self::ExternalIp => "EXTERNAL-IP",
        }
    }

    /// The kind of its sets. Another kind is another name: rules go by a set while an agent of another version comes, and one that rules use can
    /// neither be made anew nor be swapped with one of another kind.
    pub const fn kind(self) -> SetKind {
        match self {
            Self::OwnIp
            | Self::PodPreserve
            | Self::PodMasquerade
            | Self::PodClass(_)
            | Self::ClusterIp
            | Self::ExternalIp => SetKind::HashIp,
            Self::Pods | Self::KeepSource | Self::Excluded | Self::NodePortIp => SetKind::HashNet,
            Self::Allowed => SetKind::HashIpPortNet,
            Self::Hairpin => SetKind::HashIpPortIp,
            Self::HealthPort => SetKind::BitmapPort,
            Self::Guarded
            | Self::Masquerade
            | Self::MasqueradeOutside
            | Self::MasqueradeNode
            | Self::Drop
            | Self::Reject => SetKind::HashIpPort,
            Self::NodePortMasquerade
            | Self::NodePortMasqueradeNode
            | Self::NodePortDrop
            | Self::NodePortReject => SetKind::HashNetPort,
        }
    }

    /// Its entries are not the plan's: they are neither staged nor compared.
    pub const fn is_filled_by_others(self) -> bool {
        matches!(
            self,
            Self::PodPreserve | Self::PodMasquerade | Self::PodClass(_)
        )
    }

    /// Entries of it may be owed to several services at once; of the others the claim registry allows one.
    pub const fn is_shared(self) -> bool {
        matches!(
            self,
            Self::ClusterIp | Self::ExternalIp | Self::Hairpin | Self::HealthPort | Self::Allowed
        )
    }
}

/// One set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SetId {
    /// What it is for.
    pub role: Role,
    /// Family of its addresses.
    pub family: Family,
}

impl SetId {
    /// Its name in the kernel.
    pub fn name(self) -> String {
        let (prefix, suffix) = (prefix(self.family), self.role.suffix());
        match self.role {
            Role::PodClass(key) => format!("{prefix}{suffix}{key}"),
            _ => format!("{prefix}{suffix}"),
        }
    }
}

/// All sets of one family start so.
pub const fn prefix(family: Family) -> &'static str {
    match family {
        Family::V4 => "SLUICE-4-",
        Family::V6 => "SLUICE-6-",
    }
}

/// [`Role::is_filled_by_others`] of a set with this name.
pub fn is_filled_by_others(name: &str) -> bool {
    let mut rests = Family::ALL
        .into_iter()
        .filter_map(|family| name.strip_prefix(prefix(family)));
    rests.any(|rest| rest.starts_with(OF_PODS))
}

#[cfg(test)]
mod tests {
    use sluice_service_plan::model::{PodAction, PodClass, Settings};

    use super::*;
    use crate::glue::pod_classes::ruled;

    #[test]
    fn another_kind_is_another_name() {
        let stored = Role::ALL.map(|role| {
            let set = SetId {
                role,
                family: Family::V4,
            };
            (set.name(), role.kind().to_string())
        });
        let pinned = [
            ("OWN-IP", "hash:ip"),
            ("PODS", "hash:net"),
            ("KEEP-SOURCE", "hash:net"),
            ("EXCLUDED", "hash:net"),
            ("NODEPORT-IP", "hash:net"),
            ("ALLOWED", "hash:ip,port,net"),
            ("GUARDED", "hash:ip,port"),
            ("POD-PRESERVE", "hash:ip"),
            ("POD-MASQ", "hash:ip"),
            ("MASQ", "hash:ip,port"),
            ("MASQ-OUTSIDE", "hash:ip,port"),
            ("MASQ-NODE", "hash:ip,port"),
            ("NODEPORT-MASQ", "hash:net,port"),
            ("NODEPORT-MASQ-NODE", "hash:net,port"),
            ("HAIRPIN", "hash:ip,port,ip"),
            ("DROP", "hash:ip,port"),
            ("REJECT", "hash:ip,port"),
            ("NODEPORT-DROP", "hash:net,port"),
            ("NODEPORT-REJECT", "hash:net,port"),
            ("HEALTH-PORT", "bitmap:port"),
            ("CLUSTER-IP", "hash:ip"),
            ("EXTERNAL-IP", "hash:ip"),
        ];
        let pinned = pinned.map(|(name, kind)| (format!("SLUICE-4-{name}"), kind.to_owned()));
        assert_eq!(
            stored, pinned,
            "a set of another kind needs another name: an upgrade meets the old one while rules use it"
        );
        let class = PodClass {
            name: "hide".into(),
            action: PodAction::Masquerade,
            egress: true,
            out_interface: None,
        };
        let settings = Settings {
            pod_classes: vec![class],
            ..Settings::default()
        };
        for key in ruled(&settings).into_keys() {
            assert_eq!(Role::PodClass(key).kind(), SetKind::HashIp);
        }
    }

    #[test]
    fn who_fills_a_set_is_known_by_its_name() {
        for family in Family::ALL {
            for role in Role::ALL {
                let name = SetId { role, family }.name();
                assert_eq!(
                    is_filled_by_others(&name),
                    role.is_filled_by_others(),
                    "{name}"
                );
            }
        }
    }
}
