//! From a policy to what each part of the agent must know.

use std::sync::Arc;
use std::time::Duration;

use sluice_crds::v1alpha1::{Conntrack, IptablesVariant, ModeRule, ServiceProxyPolicySpec, Sysctl};
use sluice_plan_input::settings::{LocalDetection, NodeNetworks, detect_local, plan_settings};
use sluice_service_plan::model;

use super::ipvs::IpvsTunables;
use crate::attachments::Terms;

/// A policy as the agent works with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeSettings {
    /// What plans and packets depend on.
    pub plan: model::Settings,
    /// How the local detector in `plan` was chosen.
    pub local_detection: LocalDetection,
    /// Which data plane, given the number of services and what the node can run.
    pub mode: ModeRule,
    /// How long connections of the old data plane may go on after a switch; absent means until the last one ends.
    pub drain_timeout: Option<Duration>,
    /// What IPVS needs besides.
    pub ipvs: IpvsTunables,
    /// Which iptables binaries.
    pub iptables_variant: IptablesVariant,
    /// Time from the end of one write to the start of the next.
    pub min_sync_interval: Duration,
    /// Time between full comparisons with the kernel.
    pub full_sync_interval: Duration,
    /// Connection tracking tunables.
    pub conntrack: Conntrack,
    /// Further node tunables.
    pub sysctls: Vec<Sysctl>,
    /// What attachments of pods get.
    pub attachments: Arc<Terms>,
}

impl NodeSettings {
    /// Resolves a policy that is valid ([`ServiceProxyPolicySpec::validate`] finds nothing); values outside their range would be cut to it.
    pub fn resolve(policy: &ServiceProxyPolicySpec, node: NodeNetworks<'_>) -> Self {
        let local_detection = detect_local(&policy.source_nat.detect_local, node);
        let plan = plan_settings(policy, local_detection.detector.clone());
        Self {
            attachments: Arc::new(Terms::of(policy, &plan)),
            plan,
            local_detection,
            mode: policy.mode_rule(),
            drain_timeout: policy
                .mode_switch
                .drain_timeout_seconds
                .map(|s| Duration::from_secs(s.into())),
            ipvs: IpvsTunables {
                strict_arp: policy.ipvs.strict_arp,
                connection_reuse: policy.ipvs.connection_reuse,
                connection_table_bits: policy.ipvs.connection_table_bits.map(table_bits),
            },
            iptables_variant: policy.iptables.variant,
            min_sync_interval: Duration::from_millis(policy.sync.min_interval_milliseconds.into()),
            full_sync_interval: Duration::from_secs(policy.sync.full_interval_seconds.into()),
            conntrack: policy.conntrack.clone(),
            sysctls: policy.sysctls.clone(),
        }
    }
}

fn table_bits(bits: u32) -> u8 {
    u8::try_from(bits).unwrap_or(u8::MAX)
}
