//! Balancing by iptables: a tree of chains that finds the frontend, rules that spread over its endpoints.
//!
//! ```text
//! PREROUTING, OUTPUT -> SLUICE-SERVICES
//!     destination is a service address -> SLUICE-FRONTENDS -> SLUICE-T-... (tree) -> DNAT, or a pool's chain -> DNAT
//!     destination is the node          -> SLUICE-NODEPORTS -> SLUICE-T-... (tree) -> DNAT, or a pool's chain -> DNAT
//! ```

use std::sync::Arc;
use std::time::Instant;

use sluice_kernel::address_set::AddressSets;
use sluice_kernel::iptables::Table;
use sluice_service_plan::model::{Family, NodeFacts, Settings};
use sluice_service_plan::plan::{Plan, PlanChange, ServicePlan};

use super::{Balancer, Drained, Scope};
use crate::data_plane::{DataPlaneError, Drift, SyncReport};
use crate::family::{kernel_family, plan_family};
use crate::glue::IpvsPart;
use crate::glue::iptables::rules as glue;
use crate::ruleset::{ChainTable, Jump, Place, SharedRuleSet};

mod affinity;
mod frontends;
pub(crate) mod names;
mod pool;
mod tree;

use affinity::AffinitySets;
use frontends::FamilyTrees;

const JUMPS: [Jump; 2] = [
    Jump {
        from: "PREROUTING",
        to: names::SERVICES,
        comment: "sluice: services",
        place: Place::First,
    },
    Jump {
        from: "OUTPUT",
        to: names::SERVICES,
        comment: "sluice: services",
        place: Place::First,
    },
];

/// The balancer of mode `IPTables`.
pub struct IptablesBalancer {
    rules: SharedRuleSet,
    affinity: AffinitySets,
    trees: Vec<FamilyTrees>,
    /// As of the last step.
    node: Arc<NodeFacts>,
    settings: Arc<Settings>,
    /// It was given new connections.
    active: bool,
}

impl IptablesBalancer {
    /// A balancer that writes chains into this rule set and affinity sets through this door.
    pub fn new(rules: SharedRuleSet, sets: Box<dyn AddressSets>) -> Self {
        let families: Vec<Family> = rules
            .lock()
            .families()
            .into_iter()
            .map(plan_family)
            .collect();
        Self {
            rules,
            affinity: AffinitySets::new(sets, &families),
            trees: families.into_iter().map(FamilyTrees::new).collect(),
            node: Arc::default(),
            settings: Arc::default(),
            active: false,
        }
    }

    /// New connections are its own.
    pub fn is_active(&self) -> bool {
        self.active
    }

    fn put_all(&mut self, plan: &Plan) {
        let mut rules = self.rules.lock();
        for trees in &mut self.trees {
            let Some(table) = rules.table(kernel_family(trees.family()), Table::Nat) else {
                continue;
            };
            trees.clear();
            table.begin_all();
            for service in plan.services.values() {
                let service = self.affinity.remembered(service);
                trees.insert(&service);
                trees.put_pools(table, &inputs(trees.family(), plan), &service);
            }
            trees.put_roots(table, &inputs(trees.family(), plan));
            trees.put_everything(table, &inputs(trees.family(), plan));
            table.finish_all(&|chain| !glue::owns(chain));
        }
    }

    fn put_change(&mut self, plan: &Plan, change: &PlanChange) {
        let mut rules = self.rules.lock();
        for trees in &mut self.trees {
            let Some(table) = rules.table(kernel_family(trees.family()), Table::Nat) else {
                continue;
            };
            let inputs = inputs(trees.family(), plan);
            let before = change
                .services
                .iter()
                .filter_map(|change| change.before.as_deref());
            let after: Vec<&Arc<ServicePlan>> = change
                .services
                .iter()
                .filter_map(|c| c.after.as_ref())
                .collect();
            // All claims are given up before any is taken: two services may exchange one.
            before.for_each(|service| trees.remove(service));
            for service in after {
                let service = self.affinity.remembered(service);
                trees.insert(&service);
                trees.put_pools(table, &inputs, &service);
            }
            trees.put_roots(table, &inputs);
            trees.put_dirty(table, &inputs);
            table.drop_orphans();
        }
    }
}

impl Balancer for IptablesBalancer {
    fn adopt(&mut self) -> Result<(), DataPlaneError> {
        Ok(self.rules.lock().load()?)
    }

    fn apply(&mut self, plan: &Plan, scope: Scope<'_>) -> Result<SyncReport, DataPlaneError> {
        let before = self.rules.lock().counts().0;
        let mut report = SyncReport::default();
        let constants = plan.node != self.node || plan.settings != self.settings;
        match scope {
            Scope::All => {
                report.set_entries += self.affinity.stage_all(plan)?;
                self.put_all(plan);
            }
            // Local detection stands in the chains of the services with a local policy.
            Scope::Change(change)
                if constants && plan.settings.detect_local != self.settings.detect_local =>
            {
                report.set_entries += self.affinity.stage(change)?;
                self.put_all(plan);
            }
            Scope::Change(change) => {
                report.set_entries += self.affinity.stage(change)?;
                self.put_change(plan, change);
            }
        }
        self.node = Arc::clone(&plan.node);
        self.settings = Arc::clone(&plan.settings);
        self.rules.lock().commit()?;
        report.set_entries += self.affinity.finish()?;
        report.transactions = self.rules.lock().counts().0 - before;
        Ok(report)
    }

    fn activate(&mut self) -> Result<SyncReport, DataPlaneError> {
        let report = self.edit(|table| JUMPS.iter().for_each(|jump| table.put_jump(jump)))?;
        self.active = true;
        Ok(report)
    }

    fn deactivate(&mut self) -> Result<SyncReport, DataPlaneError> {
        self.active = false;
        self.edit(|table| table.drop_jumps_to(names::SERVICES))
    }

    /// Connections do not need the chains that translated them.
    fn drain(&mut self, _: Instant) -> Result<Drained, DataPlaneError> {
        Ok(Drained::default())
    }

    fn check(&mut self) -> Result<Vec<Drift>, DataPlaneError> {
        Ok(self.affinity.check()?)
    }

    /// The chains are compared by the glue, which shares the rule set.
    fn verify(&mut self) -> Result<Vec<Drift>, DataPlaneError> {
        Ok(self.affinity.check()?)
    }

    fn conditions(&self) -> Vec<String> {
        self.affinity.conditions()
    }

    fn remove(&mut self) -> Vec<DataPlaneError> {
        let mut errors = self.remove_rules();
        errors.extend(self.affinity.remove().into_iter().map(DataPlaneError::from));
        errors
    }
}

impl IptablesBalancer {
    /// The kernel holds something of it, as far as was read.
    pub fn is_present(&mut self) -> Result<bool, DataPlaneError> {
        let mut rules = self.rules.lock();
        for family in rules.families() {
            let table = rules.table(family, Table::Nat);
            if table.is_some_and(|table| table.names().any(|chain| !glue::owns(chain))) {
                return Ok(true);
            }
        }
        drop(rules);
        Ok(self.affinity.is_present()?)
    }

    /// Removes its chains, not the sets, which other rules may use; goes on after errors.
    pub fn remove_rules(&mut self) -> Vec<DataPlaneError> {
        self.active = false;
        let mut errors: Vec<DataPlaneError> = Vec::new();
        let mut rules = self.rules.lock();
        rules.distrust();
        errors.extend(rules.load().err().map(DataPlaneError::from));
        for family in rules.families() {
            if let Some(table) = rules.table(family, Table::Nat) {
                table.begin_all();
                table.finish_all(&|chain| !glue::owns(chain));
            }
        }
        errors.extend(rules.commit().err().map(DataPlaneError::from));
        self.trees.iter_mut().for_each(FamilyTrees::clear);
        errors
    }

    fn edit(&mut self, edit: impl Fn(&mut ChainTable)) -> Result<SyncReport, DataPlaneError> {
        let mut rules = self.rules.lock();
        let before = rules.counts().0;
        for family in rules.families() {
            rules.table(family, Table::Nat).into_iter().for_each(&edit);
        }
        rules.commit()?;
        Ok(SyncReport {
            transactions: rules.counts().0 - before,
            ..SyncReport::default()
        })
    }
}

fn inputs(family: Family, plan: &Plan) -> glue::Inputs<'_> {
    glue::Inputs {
        family,
        node: &plan.node,
        settings: &plan.settings,
        ipvs: IpvsPart::None,
    }
}
