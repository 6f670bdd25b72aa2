//! Whether this node can run IPVS. No module is loaded to find out: what the kernel would load is said to be loadable.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;
use sluice_kernel::address_set::{SetKind, SetSpec};
use sluice_kernel::iptables::{Family, Variant, try_variant};
use sluice_kernel::ipvs::{
    Change, IpProtocol, Ipvs, IpvsNetlink, Refused, SCHEDULERS, Service, VirtualServer,
};
use sluice_kernel::links::{Links, NetlinkLinks};
use sluice_kernel::modules::{ModprobeModules, ModuleState, Modules};

use super::trial::Trial;
use super::{TRIAL_SET, in_trial_namespace, rules_by_set, trial};
use crate::agent::IpvsHost;
use crate::firewalls;
use crate::settings::NodeSettings;

/// Tells what IPVS was given from what it was not.
const MATCH: &str = "*mangle\n-A POSTROUTING -m ipvs --ipvs -j ACCEPT\nCOMMIT\n";
const MARKS: &str = "*mangle\n-A OUTPUT -j SET --map-set SLUICE-TRIAL dst,dst --map-mark\nCOMMIT\n";

/// What `check` says of IPVS.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct IpvsTrials {
    pub(crate) can_run: bool,
    /// `Auto` may choose it: it can run, and no firewall would drop what it serves.
    pub(crate) suits_auto: bool,
    /// What IPVS cannot do without.
    pub(crate) parts: Vec<Trial>,
    /// Those that the policy names, and what stands in for them.
    pub(crate) schedulers: Vec<Trial>,
    /// All others that the kernel has or can load.
    pub(crate) other_schedulers: Vec<&'static str>,
    /// Buckets of the connection table in force; absent while IPVS is not there.
    pub(crate) connection_table_buckets: Option<u32>,
    /// What is not as the settings ask, in sentences.
    pub(crate) notes: Vec<String>,
}

/// Looks at this node.
pub(crate) fn ipvs(settings: &NodeSettings, variant: Variant) -> IpvsTrials {
    let mut modules = ModprobeModules::new();
    let mut state = |name: &str| modules.state(name).unwrap_or(ModuleState::Missing);
    let mut report = IpvsTrials::default();
    let info = IpvsNetlink::open().and_then(|mut door| door.info());
    let there = info.is_ok();
    report.connection_table_buckets = info.as_ref().ok().map(|info| info.connection_table_size);
    report.parts = vec![
        part("IPVS", state("ip_vs"), || info.map(|_| ())),
        part("iptables match ipvs", state("xt_ipvs"), || {
            try_variant(variant, Family::V4, MATCH)
        }),
        part("device of the kind dummy", state("dummy"), dummy),
        trial("marks from address sets".to_owned(), marks(variant)),
    ];
    report.can_run = report.parts.iter().all(|part| part.works);
    report.suits_auto = report.can_run && firewalls::in_the_way_of_ipvs().is_empty();
    let wanted = schedulers(settings);
    for name in &wanted {
        let scheduler = scheduler(name, state(&format!("ip_vs_{name}")), there);
        if !scheduler.works {
            report.notes.push(format!(
                "scheduler {name}: this kernel cannot balance by it, another stands in: choose one of those that it has, or install the module ip_vs_{name}"
            ));
        }
        report.schedulers.push(scheduler);
    }
    report.other_schedulers = SCHEDULERS
        .into_iter()
        .filter(|name| !wanted.contains(*name))
        .filter(|name| state(&format!("ip_vs_{name}")) != ModuleState::Missing)
        .collect();
    report
        .notes
        .extend(IpvsHost::of_this_node().conditions(settings));
    report
}

/// The policy's, and those that stand in where endpoints have weights.
fn schedulers(settings: &NodeSettings) -> BTreeSet<&str> {
    let plan = &settings.plan;
    let overrides = plan.service_overrides.iter();
    let mut schedulers: BTreeSet<&str> = overrides
        .map(|row| &*row.ipvs_scheduler)
        .chain([&*plan.ipvs.scheduler, "wrr"])
        .collect();
    if schedulers.contains("lc") {
        schedulers.insert("wlc");
    }
    schedulers
}

/// Something that is a module of its own. It is tried only where that loads nothing.
fn part<E: fmt::Display>(
    name: &str,
    module: ModuleState,
    attempt: impl FnOnce() -> Result<(), E>,
) -> Trial {
    if module == ModuleState::Loadable {
        return loadable(name.to_owned());
    }
    trial(name.to_owned(), attempt())
}

fn loadable(name: String) -> Trial {
    Trial {
        name,
        works: true,
        remark: Some("its module is loadable".to_owned()),
    }
}

fn scheduler(name: &str, module: ModuleState, ipvs_is_there: bool) -> Trial {
    let words = format!("scheduler {name}");
    match module {
        ModuleState::Loadable => loadable(words),
        ModuleState::BuiltIn | ModuleState::Loaded => Trial {
            name: words,
            works: true,
            remark: None,
        },
        ModuleState::Missing if ipvs_is_there => trial(words, try_scheduler(name)),
        ModuleState::Missing => Trial {
            name: words,
            works: false,
            remark: Some(format!("there is no module ip_vs_{name}")),
        },
    }
}

/// A virtual server in a namespace that goes with it.
fn try_scheduler(name: &str) -> Result<(), String> {
    let server = VirtualServer::new(IpProtocol::TCP, [192, 0, 2, 1].into(), 1);
    let service = Service::new(server, name);
    let refused = in_trial_namespace(|| {
        IpvsNetlink::open().and_then(|mut door| door.apply(&[Change::NewService(service)]))
    });
    match refused {
        Err(error) => Err(error.to_string()),
        Ok(Err(error)) => Err(error.to_string()),
        Ok(Ok(refused)) => match refused.first() {
            Some(Refused { cause, .. }) => Err(cause.to_string()),
            None => Ok(()),
        },
    }
}

fn dummy() -> Result<(), String> {
    let made = in_trial_namespace(|| {
        let mut links = NetlinkLinks::open()?;
        links.add_dummy("sluice-trial")
    });
    match made {
        Err(error) => Err(error.to_string()),
        Ok(made) => made.map(|_| ()).map_err(|error| error.to_string()),
    }
}

/// A set whose entries carry marks, and the rule that gives them to packets.
fn marks(variant: Variant) -> Result<(), String> {
    let spec = SetSpec {
        name: TRIAL_SET.to_owned(),
        kind: SetKind::HashIpPort,
        family: Family::V4,
        max_entries: 16,
        expected_entries: 16,
        timeout_seconds: None,
        marks: true,
    };
    rules_by_set(variant, &spec, MARKS)
}

impl fmt::Display for IpvsTrials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in self.parts.iter().chain(&self.schedulers) {
            writeln!(f, "{part}")?;
        }
        if !self.other_schedulers.is_empty() {
            let others = self.other_schedulers.join(", ");
            writeln!(
                f,
                "ok  schedulers that are there or loadable besides: {others}"
            )?;
        }
        if let Some(buckets) = self.connection_table_buckets {
            writeln!(f, "IPVS has {buckets} buckets for connections")?;
        }
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        if self.can_run {
            writeln!(f, "this node can run mode IPVS")
        } else {
            writeln!(f, "this node cannot run mode IPVS")
        }
    }
}

#[cfg(test)]
mod tests {
    use sluice_crds::v1alpha1::ServiceProxyPolicySpec;

    use super::*;
    use crate::settings::NodeNetworks;

    #[test]
    fn what_stands_in_for_least_connection_where_endpoints_have_weights_is_tried_too() {
        let mut policy = ServiceProxyPolicySpec::default();
        let tried = |policy: &ServiceProxyPolicySpec| {
            let settings = NodeSettings::resolve(policy, NodeNetworks::default());
            schedulers(&settings)
                .into_iter()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(tried(&policy), ["rr", "wrr"]);
        policy.ipvs.scheduler = "lc".into();
        assert_eq!(tried(&policy), ["lc", "wlc", "wrr"]);
    }
}
