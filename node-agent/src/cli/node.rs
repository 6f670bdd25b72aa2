//! The flags that say which node it is, and what an agent would make of what it is told.

use std::path::Path;

use clap::Args;

use sluice_crds::v1alpha1::{ActiveMode, IptablesVariant, ServiceProxyPolicySpec};
use sluice_kernel::iptables::{Variant, detect_variant};
use sluice_kernel::links::NetlinkLinks;

use super::CliError;
use super::show::{mode_in_force, variant_in_force};
use crate::agent::{Batch, Desired, NodeNetwork};
use crate::settings::SettingsFlags;
use crate::source::{ManifestSource, Update};

/// Which node, and how it serves.
#[derive(Debug, Clone, Args)]
pub(super) struct NodeArgs {
    /// Name of this node [default: the host's name]
    #[arg(long, env = "NODE_NAME", value_name = "NAME")]
    node_name: Option<String>,
    #[command(flatten)]
    settings: SettingsFlags,
}

impl NodeArgs {
    /// Name of the node.
    pub(super) fn name(&self) -> Result<String, CliError> {
        match &self.node_name {
            Some(name) => Ok(name.clone()),
            None => host_name().ok_or(CliError::NoNodeName),
        }
    }

    /// The policy that the flags say.
    pub(super) fn policy(&self) -> Result<ServiceProxyPolicySpec, CliError> {
        Ok(self.settings.policy()?)
    }

    /// The source of everything that is served.
    pub(super) fn source(&self, manifests: &Path) -> Result<ManifestSource, CliError> {
        Ok(ManifestSource::new(
            manifests,
            &self.name()?,
            self.policy()?,
        ))
    }

    /// What nothing but the flags says.
    pub(super) fn update(&self) -> Result<Update, CliError> {
        Ok(Update {
            policy: Some(self.policy()?),
            ..Update::default()
        })
    }
}

/// What an agent would want this node to do by all that a source told.
pub(super) fn desired_of(update: Update, health_port: Option<u16>) -> Result<Desired, CliError> {
    for refusal in &update.refusals {
        tracing::warn!("refused: {refusal}");
    }
    let mut desired = Desired::new(health_port);
    desired.absorb(Batch {
        services: update.services,
        slices: update.slices,
        node: update.node,
        policy: update.policy,
        network: Some(NodeNetwork::read(Box::new(NetlinkLinks::open()?))?),
        ..Batch::default()
    });
    desired.take_changes();
    for condition in desired.conditions() {
        tracing::warn!(condition, "the settings need attention");
    }
    Ok(desired)
}

/// The variant that an agent uses, which keeps the one it has when it may choose, or would use; without any iptables on this machine, the nft one.
pub(super) fn variant_of(desired: &Desired) -> Variant {
    let detected = || detect_variant().map_or(Variant::Nft, |(variant, _)| variant);
    match desired.settings().iptables_variant {
        IptablesVariant::Legacy => Variant::Legacy,
        IptablesVariant::NFT => Variant::Nft,
        // Who may not read the node's rules is told of an agent that starts.
        IptablesVariant::Auto => (variant_in_force().ok().flatten()).unwrap_or_else(detected),
    }
}

/// The mode that an agent is in, or would start in on a node that can run any.
pub(super) fn mode_of(desired: &Desired) -> ActiveMode {
    let services = desired.plan().services.len();
    let in_force = mode_in_force().ok().flatten();
    desired.settings().mode.mode_for(services, in_force, true)
}

/// As the kubelet takes it: lower case, blanks trimmed.
fn host_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    let name = name.trim().to_lowercase();
    (!name.is_empty() && name != "(none)").then_some(name)
}
