//! The data plane of mode `IPTables`: its glue and its balancer in step.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use sluice_kernel::address_set::AddressSets;
use sluice_kernel::conntrack::Conntrack;
use sluice_kernel::iptables::{Family, Iptables, Variant};
use sluice_service_plan::model::ObjectName;
use sluice_service_plan::plan::{Plan, PlanChange};

use crate::balancer::iptables::IptablesBalancer;
use crate::balancer::{Balancer, Scope};
use crate::data_plane::{DataPlane, DataPlaneError, Drift, Programmed, SyncReport};
use crate::glue::Glue;
use crate::glue::iptables::IptablesGlue;
use crate::ruleset::{RuleSet, SharedRuleSet};
use crate::stale_flows::StaleFlows;

/// The kernel doors that this data plane writes through.
pub struct Doors {
    /// The packet filter.
    pub iptables: Box<dyn Iptables>,
    /// Address sets, for the glue.
    pub glue_sets: Box<dyn AddressSets>,
    /// Address sets, for the balancer.
    pub affinity_sets: Box<dyn AddressSets>,
    /// Connection tracking.
    pub conntrack: Box<dyn Conntrack>,
}

/// See the module.
pub struct IptablesPlane {
    rules: SharedRuleSet,
    glue: IptablesGlue,
    balancer: IptablesBalancer,
    conntrack: Box<dyn Conntrack>,
    /// What was programmed last.
    plan: Plan,
    /// Services whose stale flows were deleted since the last check.
    look_again: BTreeSet<ObjectName>,
}

impl IptablesPlane {
    /// A data plane on this node's kernel, in the network namespace of the calling thread. Families that the kernel lacks are left out.
    pub fn open(variant: Variant) -> Result<Self, DataPlaneError> {
        use sluice_kernel::address_set::IpsetNetlink;
        use sluice_kernel::conntrack::ConntrackNetlink;
        use sluice_kernel::iptables::IptablesPrograms;

        let doors = Doors {
            iptables: Box::new(IptablesPrograms::open(variant)?),
            glue_sets: Box::new(IpsetNetlink::open()?),
            affinity_sets: Box::new(IpsetNetlink::open()?),
            conntrack: Box::new(ConntrackNetlink::open()?),
        };
        Ok(Self::new(doors, &node_families()))
    }

    /// A data plane that writes through these doors.
    pub fn new(doors: Doors, families: &[Family]) -> Self {
        let rules = SharedRuleSet::new(RuleSet::new(doors.iptables, families));
        Self {
            glue: IptablesGlue::new(rules.clone(), doors.glue_sets),
            balancer: IptablesBalancer::new(rules.clone(), doors.affinity_sets),
            rules,
            conntrack: doors.conntrack,
            plan: Plan::default(),
            look_again: BTreeSet::new(),
        }
    }

    fn sync(&mut self, plan: &Plan, scope: Scope<'_>) -> Result<SyncReport, DataPlaneError> {
        let (_, programs, bytes) = self.rules.lock().counts();
        let mut report = SyncReport::default();
        if matches!(scope, Scope::All) {
            self.rules.lock().distrust();
            self.glue.adopt()?;
            self.balancer.adopt()?;
        }
        let prepared = self.glue.prepare(plan, scope)?;
        add(&mut report, &prepared);
        add(&mut report, &self.balancer.apply(plan, scope)?);
        if matches!(scope, Scope::All) {
            add(&mut report, &self.balancer.activate()?);
        }
        add(&mut report, &self.glue.finish()?);
        let stale = match scope {
            Scope::All => StaleFlows::of_services(plan.services.values().map(AsRef::as_ref)),
            Scope::Change(change) => StaleFlows::of(change),
        };
        report.flows_deleted = stale.delete(&plan.node, self.conntrack.as_mut())? as u64;
        if matches!(scope, Scope::Change(_)) {
            self.look_again.extend(stale.services());
        }
        if matches!(scope, Scope::All) || prepared.transactions > 0 {
            self.glue.note_references()?;
        }
        let (_, programs_now, bytes_now) = self.rules.lock().counts();
        report.programs_started = programs_now - programs;
        report.bytes_written = bytes_now - bytes;
        Ok(report)
    }

    fn remember(&mut self, plan: &Plan, scope: Scope<'_>) {
        match scope {
            Scope::All => self.plan = plan.clone(),
            Scope::Change(change) => {
                self.plan.node.clone_from(&plan.node);
                self.plan.settings.clone_from(&plan.settings);
                for service in &change.services {
                    match &service.after {
                        Some(after) => self
                            .plan
                            .services
                            .insert(service.name.clone(), after.clone()),
                        None => self.plan.services.remove(&service.name),
                    };
                }
            }
        }
    }
}

impl DataPlane for IptablesPlane {
    fn reconcile(&mut self, plan: &Plan) -> Result<SyncReport, DataPlaneError> {
        let report = self.sync(plan, Scope::All)?;
        self.remember(plan, Scope::All);
        Ok(report)
    }

    fn apply(&mut self, plan: &Plan, change: &PlanChange) -> Result<SyncReport, DataPlaneError> {
        let report = self.sync(plan, Scope::Change(change))?;
        self.remember(plan, Scope::Change(change));
        Ok(report)
    }

    fn check(&mut self) -> Result<Vec<Drift>, DataPlaneError> {
        let again = std::mem::take(&mut self.look_again);
        let services = again.iter().filter_map(|name| self.plan.services.get(name));
        StaleFlows::of_services(services.map(AsRef::as_ref))
            .delete(&self.plan.node, self.conntrack.as_mut())?;
        let mut drifts = self.glue.check()?;
        drifts.extend(self.balancer.check()?);
        Ok(drifts)
    }

    fn verify(&mut self) -> Result<Vec<Drift>, DataPlaneError> {
        let mut drifts = self.glue.verify(&self.plan)?;
        drifts.extend(self.balancer.verify()?);
        Ok(drifts)
    }

    fn programmed(&self) -> Programmed {
        let (chains, rules) = self.rules.lock().size();
        let (sets, set_entries) = self.glue.set_sizes();
        Programmed {
            chains,
            rules,
            sets,
            set_entries,
        }
    }

    fn remove(&mut self) -> Vec<DataPlaneError> {
        let mut errors = self.balancer.remove();
        errors.extend(self.glue.remove());
        self.plan = Plan {
            services: BTreeMap::new(),
            ..Plan::default()
        };
        errors
    }
}

/// A kernel without IPv6 (or with it switched off at boot) has no such file.
fn node_families() -> Vec<Family> {
    let mut families = vec![Family::V4];
    if Path::new("/proc/thread-self/net/if_inet6").exists() {
        families.push(Family::V6);
    }
    families
}

fn add(sum: &mut SyncReport, part: &SyncReport) {
    sum.transactions += part.transactions;
    sum.set_entries += part.set_entries;
}
