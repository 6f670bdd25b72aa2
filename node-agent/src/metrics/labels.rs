//! Label sets. Every label has a small, fixed set of values.

use prometheus_client::encoding::EncodeLabelSet;
use sluice_service_plan::model::Family;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct FamilyLabel {
    pub(super) ip_family: &'static str,
}

impl FamilyLabel {
    pub(super) const V4: Self = Self {
        ip_family: family_name(Family::V4),
    };
    pub(super) const V6: Self = Self {
        ip_family: family_name(Family::V6),
    };
    pub(super) const BOTH: [Self; 2] = [Self::V4, Self::V6];
}

/// The family as Kubernetes and kube-proxy's label `ip_family` write it.
pub(super) const fn family_name(family: Family) -> &'static str {
    match family {
        Family::V4 => "IPv4",
        Family::V6 => "IPv6",
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct CodeLabel {
    pub(super) code: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct KindLabel {
    pub(super) kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct CategoryLabel {
    pub(super) category: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct PolicyLabel {
    pub(super) ip_family: &'static str,
    pub(super) traffic_policy: &'static str,
}
