//! `sluice-agent cleanup --kube-proxy`

use sluice_kernel::address_set::IpsetNetlink;
use sluice_kernel::conntrack::ConntrackNetlink;
use sluice_kernel::iptables::Variant;
use sluice_kernel::ipvs::{Ipvs, IpvsError, IpvsNetlink};
use sluice_kernel::links::NetlinkLinks;

use super::{CliError, Outcome, exit_code, legacy_tables};
use crate::balancer::ipvs::kube_proxy_left::{CleaningDoors, KubeProxyLeft};
use crate::data_plane::DataPlaneError;
use crate::family::{node_families, plan_family};
use crate::kube_proxy::{Leftovers, find_running};

/// Removes what kube-proxy left. Unless forced it refuses where that would cut services.
pub(super) fn cleanup(dry_run: bool, force: bool) -> Result<Outcome, CliError> {
    let variants = [Variant::Legacy, Variant::Nft];
    // Asking the legacy programs would set up tables that nobody uses.
    let in_use = |one: &Variant| *one == Variant::Nft || legacy_tables::are_in_use();
    let variants: Vec<Variant> = variants.into_iter().filter(in_use).collect();
    let families: Vec<_> = node_families().into_iter().map(plan_family).collect();
    let (found, errors) = Leftovers::find(&variants, &node_families());
    let mut errors: Vec<anyhow::Error> = errors.into_iter().map(anyhow::Error::from).collect();
    let of_ipvs = KubeProxyLeft::find(doors()?, &families)?;
    let mut outcome = Outcome::default();
    let mut left = Vec::new();
    if dry_run {
        outcome.text.push_str(&found.objects());
        outcome.text.push_str(&of_ipvs.objects());
    } else if !(found.is_empty() && of_ipvs.is_empty()) {
        if !force {
            refuse_where_services_would_be_cut(&found, &of_ipvs)?;
        }
        let failed = found.remove_rules().into_iter();
        errors.extend(failed.map(anyhow::Error::from));
        match of_ipvs.remove(doors()?, force) {
            // The sets tell whose virtual servers are.
            Ok(used) if !used.is_empty() => left = used,
            Ok(_) => errors.extend(found.remove_sets().into_iter().map(anyhow::Error::from)),
            Err(error) => errors.push(error.into()),
        }
    }
    let what = if dry_run { "would go" } else { "asked to go" };
    outcome.line(format_args!(
        "kube-proxy: {}, {} {what}",
        found.counts(),
        of_ipvs.counts()
    ));
    for kept in found.kept() {
        outcome.line(format_args!("stays: {kept}"));
    }
    for unclear in &of_ipvs.unclear {
        outcome.line(format_args!("stays: virtual server {unclear}"));
    }
    if !left.is_empty() {
        outcome.line(format_args!(
            "not removed: virtual servers and addresses that have connections, which go on, and the address sets that tell whose they are: \
             {}; run this again when these have ended, or add --force to cut them",
            left.join(", ")
        ));
        outcome.code = exit_code::NO;
    }
    if found.nft_is_absent {
        outcome.line(format_args!(
            "nft is not installed here: if kube-proxy ran in nftables mode, run `nft delete table ip kube-proxy` and `nft delete table ip6 \
             kube-proxy` with a host's nft"
        ));
    }
    for error in errors {
        outcome.line(format_args!("not removed: {error:#}"));
        outcome.code = exit_code::NO;
    }
    Ok(outcome)
}

/// Of this node; no module is loaded for it.
fn doors() -> Result<CleaningDoors, DataPlaneError> {
    Ok(CleaningDoors {
        ipvs: match IpvsNetlink::open() {
            Ok(door) => Some(Box::new(door) as Box<dyn Ipvs>),
            Err(IpvsError::Absent) => None,
            Err(error) => return Err(error.into()),
        },
        links: Box::new(NetlinkLinks::open()?),
        sets: Box::new(IpsetNetlink::open()?),
        conntrack: Box::new(ConntrackNetlink::open()?),
    })
}

fn refuse_where_services_would_be_cut(
    found: &Leftovers,
    of_ipvs: &KubeProxyLeft,
) -> Result<(), CliError> {
    if let Some(running) = find_running() {
        return Err(CliError::KubeProxyRuns(running));
    }
    if !found.sluice_serves {
        return Err(CliError::NothingServes);
    }
    if !of_ipvs.unclear.is_empty() {
        let unclear = of_ipvs.unclear.join(", ");
        return Err(CliError::UnclearVirtualServers(unclear));
    }
    Ok(())
}
