//! The glue on iptables and ipset.

use std::collections::HashSet;
use std::sync::Arc;

use sluice_kernel::address_set::AddressSets;
use sluice_kernel::iptables::Table;
use sluice_service_plan::model::{NodeFacts, ObjectName, Settings};
use sluice_service_plan::plan::{Plan, ServicePlan};

use super::membership::{depends_on_addresses, of_node, of_service};
use super::pod_classes;
use super::sets::GlueSets;
use super::{Glue, IpvsPart};
use crate::balancer::Scope;
use crate::data_plane::{DataPlaneError, Drift, SyncReport};
use crate::family::plan_family;
use crate::ruleset::{ChainTable, SharedRuleSet};

pub(crate) mod rules;

/// Constant chains in the filter and nat tables; what depends on services is in address sets.
pub struct IptablesGlue {
    rules: SharedRuleSet,
    sets: GlueSets,
    /// As of the last step.
    node: Arc<NodeFacts>,
    settings: Arc<Settings>,
    ipvs: IpvsPart,
    /// Nothing leads to the rules that refuse what comes to the node itself.
    admits_all: bool,
}

impl IptablesGlue {
    /// Glue that writes chains into this rule set and sets through this door.
    pub fn new(rules: SharedRuleSet, sets: Box<dyn AddressSets>) -> Self {
        let families: Vec<_> = rules
            .lock()
            .families()
            .into_iter()
            .map(plan_family)
            .collect();
        Self {
            rules,
            sets: GlueSets::new(sets, &families),
            node: Arc::default(),
            settings: Arc::default(),
            ipvs: IpvsPart::None,
            admits_all: false,
        }
    }

    /// With `true`, what comes to the node itself is not refused until [`refuse`](Self::refuse): on a node that kube-proxy still serves by IPVS,
    /// service addresses are the node's own, and there is nothing else yet that balances what comes to them.
    pub fn admit_all(&mut self, admits_all: bool) {
        self.admits_all = admits_all;
    }

    /// Refuses what is to be refused, now that a balancer serves the rest.
    pub fn refuse(&mut self) -> Result<SyncReport, DataPlaneError> {
        let mut report = SyncReport::default();
        if std::mem::take(&mut self.admits_all) {
            report.transactions = self.put_chains(true)?;
        }
        Ok(report)
    }

    /// Sets, and entries in them.
    pub fn set_sizes(&self) -> (u64, u64) {
        self.sets.size()
    }

    /// The kernel holds a set of ours, a balancer's included.
    pub fn is_any_set_present(&mut self) -> Result<bool, DataPlaneError> {
        Ok(self.sets.is_any_present()?)
    }

    /// Remembers how many rules use each set; to be called when all rules are in.
    pub fn note_references(&mut self) -> Result<(), DataPlaneError> {
        Ok(self.sets.note_references()?)
    }

    fn stage_all(&mut self, plan: &Plan) -> Result<(), DataPlaneError> {
        let classes = pod_classes::ruled(&plan.settings).into_keys();
        Ok(self.sets.stage_all(members(plan), classes)?)
    }

    fn stage(&mut self, plan: &Plan, scope: Scope<'_>) -> Result<(), DataPlaneError> {
        let Scope::Change(change) = scope else {
            return self.stage_all(plan);
        };
        if self.node.internal_ips != plan.node.internal_ips
            || !pod_classes::are_alike(&self.settings, &plan.settings)
        {
            // Node ports may keep to the former, which sets there are depends on the latter; they change about never.
            return self.stage_all(plan);
        }
        let mut come: Vec<&ServicePlan> = change
            .services
            .iter()
            .filter_map(|c| c.after.as_deref())
            .collect();
        let mut go: Vec<&ServicePlan> = change
            .services
            .iter()
            .filter_map(|c| c.before.as_deref())
            .collect();
        if self.node.addresses != plan.node.addresses {
            let changed: HashSet<&ObjectName> = change.services.iter().map(|c| &c.name).collect();
            let unchanged = plan
                .services
                .values()
                .filter(|s| depends_on_addresses(s) && !changed.contains(&s.name));
            let unchanged: Vec<&ServicePlan> = unchanged.map(AsRef::as_ref).collect();
            come.extend(&unchanged);
            go.extend(&unchanged);
        }
        let come = come
            .into_iter()
            .flat_map(|service| of_service(service, &plan.node, &plan.settings));
        let go = go
            .into_iter()
            .flat_map(|service| of_service(service, &self.node, &self.settings));
        if self.node != plan.node || self.settings != plan.settings {
            let now = of_node(&plan.node, &plan.settings);
            let before = of_node(&self.node, &self.settings);
            self.sets.stage(come.chain(now), go.chain(before));
        } else {
            self.sets.stage(come, go);
        }
        Ok(())
    }

    fn put_chains(&mut self, all: bool) -> Result<u64, DataPlaneError> {
        let mut rules = self.rules.lock();
        let covered = rules.covers(Table::Mangle);
        rules.cover_mangle(covered || self.ipvs != IpvsPart::None)?;
        let before = rules.counts().0;
        for family in rules.families() {
            let inputs = rules::Inputs {
                family: plan_family(family),
                node: &self.node,
                settings: &self.settings,
                ipvs: self.ipvs,
            };
            for table in rules.tables() {
                let (chains, jumps) = rules::of_table(table, &inputs);
                let Some(table) = rules.table(family, table) else {
                    continue;
                };
                if all {
                    table.begin_all();
                }
                for chain in chains {
                    table.put(chain);
                }
                for to in rules::SOMETIMES_LED_TO {
                    if jumps.iter().all(|jump| jump.to != to) {
                        table.drop_jumps_to(to);
                    }
                }
                for jump in &jumps {
                    if !(self.admits_all && jump.to == rules::INPUT) {
                        table.put_jump(jump);
                    }
                }
                if all {
                    finish(table);
                }
            }
        }
        rules.commit()?;
        rules.cover_mangle(self.ipvs != IpvsPart::None)?;
        Ok(rules.counts().0 - before)
    }

    /// What the chains that are there say.
    fn read_ipvs_part(&self) -> IpvsPart {
        let mut rules = self.rules.lock();
        let families = rules.families();
        let mut has = |chain| {
            families.iter().any(|family| {
                let table = rules.table(*family, Table::Nat);
                table.is_some_and(|table| table.contains(chain))
            })
        };
        if has(rules::IPVS) {
            IpvsPart::New
        } else if has(rules::IPVS_REFUSE) {
            IpvsPart::Old
        } else {
            IpvsPart::None
        }
    }
}

impl Glue for IptablesGlue {
    fn adopt(&mut self) -> Result<(), DataPlaneError> {
        self.rules.lock().load()?;
        self.ipvs = self.read_ipvs_part();
        if self.ipvs != IpvsPart::None {
            self.rules.lock().cover_mangle(true)?;
        }
        Ok(())
    }

    fn ipvs_part(&self) -> IpvsPart {
        self.ipvs
    }

    fn admit_ipvs(&mut self) {
        if self.ipvs == IpvsPart::None {
            self.ipvs = IpvsPart::Old;
        }
    }

    fn set_ipvs_part(&mut self, part: IpvsPart) -> Result<SyncReport, DataPlaneError> {
        let mut rules = self.rules.lock();
        let is_known = rules.is_loaded();
        rules.load()?;
        drop(rules);
        let before = std::mem::replace(&mut self.ipvs, part);
        // After a write that failed, some tables may be a step further than others.
        if before == part && is_known {
            return Ok(SyncReport::default());
        }
        let put = self.put_chains(true);
        if put.is_err() {
            self.ipvs = before;
        }
        Ok(SyncReport {
            transactions: put?,
            ..SyncReport::default()
        })
    }

    fn prepare(&mut self, plan: &Plan, scope: Scope<'_>) -> Result<SyncReport, DataPlaneError> {
        let changed = plan.node != self.node || plan.settings != self.settings;
        let settings = [&self.settings, &plan.settings];
        let has_classes = settings.iter().any(|one| !one.pod_classes.is_empty());
        // Chains of a class go with the rules that led there: with it, and with the last address that it translates to.
        let all = matches!(scope, Scope::All) || (changed && has_classes);
        let constants = all || changed;
        self.stage(plan, scope)?;
        self.node = Arc::clone(&plan.node);
        self.settings = Arc::clone(&plan.settings);
        let mut report = SyncReport {
            set_entries: self.sets.write_additions()?,
            ..SyncReport::default()
        };
        if constants {
            report.transactions = self.put_chains(all)?;
        }
        Ok(report)
    }

    fn finish(&mut self) -> Result<SyncReport, DataPlaneError> {
        Ok(SyncReport {
            set_entries: self.sets.write_deletions()?,
            ..SyncReport::default()
        })
    }

    fn check(&mut self) -> Result<Vec<Drift>, DataPlaneError> {
        Ok(self.sets.check()?)
    }

    fn verify(&mut self, plan: &Plan) -> Result<Vec<Drift>, DataPlaneError> {
        let mut drifts = self.rules.lock().verify()?;
        drifts.extend(self.sets.verify(members(plan))?);
        Ok(drifts)
    }

    fn remove_rules(&mut self) -> Vec<DataPlaneError> {
        let mut errors: Vec<DataPlaneError> = Vec::new();
        let mut rules = self.rules.lock();
        rules.distrust();
        if let Err(error) = rules.load() {
            errors.push(error.into());
        }
        drop(rules);
        if self.read_ipvs_part() != IpvsPart::None {
            let covered = self.rules.lock().cover_mangle(true);
            errors.extend(covered.err().map(DataPlaneError::from));
        }
        let mut rules = self.rules.lock();
        for family in rules.families() {
            for table in rules.tables() {
                if let Some(table) = rules.table(family, table) {
                    table.begin_all();
                    finish(table);
                }
            }
        }
        errors.extend(rules.commit().err().map(DataPlaneError::from));
        self.ipvs = IpvsPart::None;
        errors
    }

    fn remove(&mut self) -> Vec<DataPlaneError> {
        let mut errors = self.remove_rules();
        errors.extend(self.sets.remove().into_iter().map(DataPlaneError::from));
        errors
    }
}

/// In the nat table the balancer has chains too; in the others everything of ours is the glue's.
fn finish(table: &mut ChainTable) {
    let shared = table.table() == Table::Nat;
    table.finish_all(&|chain| !shared || rules::owns(chain));
}

fn members(plan: &Plan) -> impl Iterator<Item = super::membership::Member> + '_ {
    let services = plan
        .services
        .values()
        .flat_map(|service| of_service(service, &plan.node, &plan.settings));
    of_node(&plan.node, &plan.settings)
        .into_iter()
        .chain(services)
}
