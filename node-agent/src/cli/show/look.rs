//! Reads the kernel for the report.

use std::collections::BTreeSet;

use sluice_kernel::address_set::{AddressSetError, AddressSets, Entry, IpsetNetlink, SetHeader};
use sluice_service_plan::model::Family;

use super::chains;
use super::frontend::{Frontend, Wanted};
use super::report::{EndpointReport, FrontendReport, RefusedReport, Report, SetReport};
use super::rules::{self, Rules};
use super::servers;
use crate::balancer::ipvs::readback::Readback;
use crate::cli::CliError;
use crate::cli::snapshot::OURS;
use crate::family::node_families;
use crate::glue::membership::{Role, SetId};

/// Everything of ours, or what of it concerns one frontend.
pub(super) fn look(wanted: Option<&Wanted>) -> Result<Report, CliError> {
    let rules = rules::read()?;
    let mut sets = IpsetNetlink::open()?;
    let headers = sets.headers(OURS)?;
    let read = Readback::of_this_node(&node_families())?;
    let mut report = Report {
        mode: rules
            .iter()
            .find_map(Rules::mode)
            .map(|mode| mode.to_string()),
        ipvs_drains: rules.iter().any(Rules::ipvs_drains),
        rules: rules.iter().map(Rules::report).collect(),
        virtual_servers: servers::servers(&read),
        frontends: frontends(&rules),
        refused: refused(&mut sets)?,
        bindings: servers::bindings(&read),
        address_sets: headers.iter().map(set_report).collect(),
        notes: servers::notes(&read),
    };
    report.notes.extend(variant_note(&rules));
    report.notes.extend(headers.iter().filter_map(full_note));
    if let Some(wanted) = wanted {
        let own = serves_node_ports(&mut sets, wanted)?;
        keep_only(&mut report, wanted, own);
    }
    Ok(report)
}

fn frontends(rules: &[Rules]) -> Vec<FrontendReport> {
    let mut found = std::collections::BTreeMap::new();
    for rules in rules {
        for (frontend, balanced) in chains::frontends(&rules.nat) {
            let endpoints: &mut FrontendReport =
                found.entry(frontend).or_insert_with(|| FrontendReport {
                    frontend,
                    affinity: balanced.affinity,
                    endpoints: Vec::new(),
                });
            for ((clients, address), share) in balanced.endpoints {
                endpoints.endpoints.push(EndpointReport {
                    address,
                    clients,
                    share,
                });
            }
        }
    }
    found.into_values().collect()
}

fn refused(sets: &mut dyn AddressSets) -> Result<Vec<RefusedReport>, CliError> {
    let roles = [
        (Role::Reject, "reject"),
        (Role::NodePortReject, "reject"),
        (Role::Drop, "drop"),
        (Role::NodePortDrop, "drop"),
    ];
    let mut refused = BTreeSet::new();
    for family in Family::ALL {
        for (role, how) in roles {
            let entries = entries(sets, SetId { role, family })?;
            let frontends = entries.iter().filter_map(servers::of_entry);
            refused.extend(frontends.map(|frontend| RefusedReport { frontend, how }));
        }
    }
    Ok(refused.into_iter().collect())
}

/// The entries of a set; none where the set is not there.
fn entries(sets: &mut dyn AddressSets, set: SetId) -> Result<Vec<Entry>, CliError> {
    match sets.list(&set.name()) {
        Ok(listed) => Ok(listed.into_iter().map(|listed| listed.entry).collect()),
        Err(AddressSetError::NotFound { .. }) => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

/// Whether an address is one of the node's, where node ports are.
fn serves_node_ports(sets: &mut dyn AddressSets, wanted: &Wanted) -> Result<bool, CliError> {
    let family = Family::of(wanted.ip());
    let role = Role::OwnIp;
    let own = entries(sets, SetId { role, family })?;
    Ok(wanted.ip().is_loopback() || own.contains(&Entry::Ip(wanted.ip())))
}

fn keep_only(report: &mut Report, wanted: &Wanted, own: bool) {
    let is = |frontend: &Frontend| wanted.is(frontend, own);
    report
        .virtual_servers
        .retain(|server| server.frontends.iter().any(is));
    report.frontends.retain(|one| is(&one.frontend));
    report.refused.retain(|one| is(&one.frontend));
    report.bindings.retain(|one| one.address == wanted.ip());
    report.address_sets.clear();
}

fn set_report(header: &SetHeader) -> SetReport {
    SetReport {
        name: header.spec.name.clone(),
        kind: header.spec.kind.to_string(),
        entries: header.entries,
        max_entries: header.spec.max_entries,
    }
}

/// The other variant's rules are left over from a change that was not finished.
fn variant_note(rules: &[Rules]) -> Option<String> {
    let variants: BTreeSet<String> = rules
        .iter()
        .map(|rules| rules.variant.to_string())
        .collect();
    (variants.len() > 1).then(|| {
        "both iptables variants hold rules of ours: an agent removes those that it does not use"
            .to_owned()
    })
}

/// A set that takes no more entries.
pub(in crate::cli) fn full_note(header: &SetHeader) -> Option<String> {
    let spec = &header.spec;
    let room = spec.timeout_seconds.is_none()
        && spec.max_entries > 0
        && header.entries >= spec.max_entries;
    room.then(|| {
        format!(
            "the address set {} is full ({} entries): what does not fit in is not programmed, so have fewer service ports",
            spec.name, header.entries
        )
    })
}
