//! `sluice-agent cleanup --kube-proxy`

use sluice_kernel::iptables::Variant;

use super::{CliError, Outcome, exit_code, legacy_tables};
use crate::balancer::ipvs::readback::Readback;
use crate::family::node_families;
use crate::kube_proxy::{Leftovers, find_running};

/// Removes what kube-proxy left. Unless forced it refuses where that would cut services.
pub(super) fn cleanup(dry_run: bool, force: bool) -> Result<Outcome, CliError> {
    let variants = [Variant::Legacy, Variant::Nft];
    // Asking the legacy programs would set up tables that nobody uses.
    let in_use = |one: &Variant| *one == Variant::Nft || legacy_tables::are_in_use();
    let variants: Vec<Variant> = variants.into_iter().filter(in_use).collect();
    let (found, mut errors) = Leftovers::find(&variants, &node_families());
    let mut outcome = Outcome::default();
    if dry_run {
        outcome.text.push_str(&found.objects());
    } else if !found.is_empty() {
        if !force {
            refuse_where_services_would_be_cut(&found)?;
        }
        errors.extend(found.remove());
    }
    let what = if dry_run { "would go" } else { "asked to go" };
    outcome.line(format_args!("kube-proxy: {} {what}", found.counts()));
    for kept in found.kept() {
        outcome.line(format_args!("stays: {kept}"));
    }
    if found.nft_is_absent {
        outcome.line(format_args!(
            "nft is not installed here: if kube-proxy ran in nftables mode, run `nft delete table ip kube-proxy` and `nft delete table ip6 \
             kube-proxy` with a host's nft"
        ));
    }
    for error in errors {
        outcome.line(format_args!(
            "not removed: {:#}",
            anyhow::Error::from(error)
        ));
        outcome.code = exit_code::NO;
    }
    Ok(outcome)
}

fn refuse_where_services_would_be_cut(found: &Leftovers) -> Result<(), CliError> {
    if let Some(running) = find_running() {
        return Err(CliError::KubeProxyRuns(running));
    }
    if !found.sluice_serves {
        return Err(CliError::NothingServes);
    }
    if found.of_ipvs_mode() {
        let servers = Readback::of_this_node(&node_families())?.foreign_servers;
        if servers > 0 {
            return Err(CliError::ForeignVirtualServers(servers));
        }
    }
    Ok(())
}
