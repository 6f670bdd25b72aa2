//! The data plane of a node: one glue, the balancer in use, and one that still keeps old connections after a switch.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Instant;

use sluice_crds::v1alpha1::ActiveMode;
use sluice_kernel::conntrack::Conntrack;
use sluice_kernel::iptables::{Family, Table};
use sluice_kernel::links::RouteNotice;
use sluice_service_plan::model::ObjectName;
use sluice_service_plan::plan::{Plan, PlanChange};

use crate::balancer::iptables::{IptablesBalancer, names};
use crate::balancer::{Balancer, Scope};
use crate::data_plane::{DataPlane, DataPlaneError, Drain, Drift, Programmed, SyncReport};
use crate::glue::iptables::IptablesGlue;
use crate::glue::iptables::rules::IPVS;
use crate::glue::{Glue, IpvsPart};
use crate::ruleset::{RuleSet, SharedRuleSet};
use crate::stale_flows::StaleFlows;
use crate::tally::{CountedConntrack, FlowLooks, Tally};

mod balanced_flows;
mod doors;
mod first_services;
mod removable;
mod switch;

pub use doors::{Doors, IpvsDoor, MemoryIpvsDoor};
pub use first_services::FirstServices;

/// See the module.
pub struct NodePlane {
    rules: SharedRuleSet,
    glue: IptablesGlue,
    iptables: IptablesBalancer,
    /// Open while IPVS balances, or keeps old connections.
    ipvs: Option<Box<dyn Balancer>>,
    ipvs_door: Box<dyn IpvsDoor>,
    conntrack: Box<dyn Conntrack>,
    flow_looks: FlowLooks,
    /// Programs that were told of already.
    programs_told: u64,
    mode: ActiveMode,
    /// When the balancer that is not in use any more was given up.
    retired_since: Option<Instant>,
    /// Its flows were led elsewhere already: it goes with the next look.
    flows_moved: bool,
    /// What was programmed last.
    plan: Plan,
    /// Services whose stale flows were deleted since the last check.
    look_again: BTreeSet<ObjectName>,
    /// What a kernel that holds nothing of ours is given before the rest.
    first_services: FirstServices,
    /// Why a family that the node has is not served.
    lack: Option<String>,
}

/// What the kernel was found to hold.
#[derive(Debug, Clone, Copy)]
struct Found {
    /// IPVS holds something of ours from now on, and did not before.
    is_ipvs_new: bool,
    /// Neither a rule nor a set of ours.
    is_nothing: bool,
    /// In every family, packets come to a balancer of ours; where they do not, kube-proxy may serve still.
    leads_to_balancer: bool,
}

impl NodePlane {
    /// A data plane that writes through these doors.
    pub fn new(doors: Doors, families: &[Family], mode: ActiveMode) -> Self {
        let flow_looks = FlowLooks::default();
        let conntrack = CountedConntrack::new(doors.conntrack, flow_looks.clone());
        let rules = SharedRuleSet::new(RuleSet::new(doors.iptables, families));
        Self {
            glue: IptablesGlue::new(rules.clone(), doors.glue_sets),
            iptables: IptablesBalancer::new(rules.clone(), doors.affinity_sets),
            ipvs: None,
            ipvs_door: doors.ipvs,
            rules,
            conntrack: Box::new(conntrack),
            flow_looks,
            programs_told: 0,
            mode,
            retired_since: None,
            flows_moved: false,
            plan: Plan::default(),
            look_again: BTreeSet::new(),
            first_services: FirstServices::default(),
            lack: None,
        }
    }

    /// Says why a family that the node has is not served.
    fn with_lack(self, lack: Option<String>) -> Self {
        Self { lack, ..self }
    }

    /// Says which services a kernel that holds nothing of ours is given first.
    #[must_use]
    pub fn with_first_services(self, first_services: FirstServices) -> Self {
        Self {
            first_services,
            ..self
        }
    }

    /// Remembers in a file of this directory, which must not outlive a reboot, what the kernel holds: the next run need not list it
    /// if nobody committed anything since.
    #[must_use]
    pub fn remembering_in(self, run_dir: &Path) -> Self {
        self.rules.lock().remember_in(run_dir);
        self
    }

    fn sync(
        &mut self,
        plan: &Plan,
        scope: Scope<'_>,
        switching: bool,
    ) -> Result<SyncReport, DataPlaneError> {
        let (_, programs, bytes) = self.rules.lock().counts();
        let mut report = SyncReport::default();
        let mut is_ipvs_new = false;
        if matches!(scope, Scope::All) {
            let found = self.adopt()?;
            is_ipvs_new = found.is_ipvs_new;
            let by_rules = self.mode == ActiveMode::IPTables;
            self.glue
                .admit_all(by_rules && !found.leads_to_balancer && !switching);
            // What this plane programmed once may serve still, though somebody took its rules and sets.
            let is_cold = found.is_nothing && self.plan.services.is_empty() && !switching;
            if is_cold && let Some(first) = self.first_services.of(plan) {
                report += self.program(&first, scope, false, is_ipvs_new)?;
                is_ipvs_new = false;
                tracing::info!(
                    services = first.services.len(),
                    of = plan.services.len(),
                    "the first services are served: the others follow"
                );
            }
        }
        report += self.program(plan, scope, switching, is_ipvs_new)?;
        report += self.glue.refuse()?;
        let (_, programs_now, bytes_now) = self.rules.lock().counts();
        report.programs_started = programs_now - programs;
        report.bytes_written = bytes_now - bytes;
        Ok(report)
    }

    /// Brings what was found in the kernel to the plan.
    fn program(
        &mut self,
        plan: &Plan,
        scope: Scope<'_>,
        switching: bool,
        is_ipvs_new: bool,
    ) -> Result<SyncReport, DataPlaneError> {
        let all = matches!(scope, Scope::All);
        if all
            && self.mode == ActiveMode::IPVS
            && let Some(ipvs) = &mut self.ipvs
        {
            ipvs.take_note(plan)?;
        }
        let prepared = self.glue.prepare(plan, scope);
        if prepared.is_err() && is_ipvs_new {
            // This kernel may lack what rules around IPVS need. Nothing led there yet.
            log_left_behind(&self.remove_ipvs());
        }
        let mut report = prepared?;
        let constants = report.transactions > 0;
        report += self.balance(plan, scope)?;
        if switching {
            self.remember(plan, scope);
            self.verify_or_fail()?;
        }
        if all {
            report += self.lead_new_connections()?;
            report += self.retire_the_other()?;
        }
        report += self.glue.finish()?;
        report.flows_deleted += self.delete_stale_flows(plan, scope)?;
        if all || constants {
            self.glue.note_references()?;
        }
        self.rules.lock().remember();
        self.remember(plan, scope);
        Ok(report)
    }

    /// Reads what the kernel holds. The sets of IPVS come first: rules name them.
    fn adopt(&mut self) -> Result<Found, DataPlaneError> {
        self.rules.lock().distrust();
        let has_sets = self.glue.is_any_set_present()?;
        let is_ipvs_new = self.adopt_ipvs()?;
        self.glue.adopt()?;
        self.iptables.adopt()?;
        if self.ipvs.is_some() && self.glue.ipvs_part() == IpvsPart::None {
            self.glue.admit_ipvs();
        }
        let mut rules = self.rules.lock();
        let is_nothing = !has_sets && rules.size() == (0, 0);
        let leads_to_balancer = rules.families().into_iter().all(|family| {
            let table = rules.table(family, Table::Nat);
            table.is_some_and(|table| table.leads_to(&[names::SERVICES, IPVS]))
        });
        Ok(Found {
            is_ipvs_new,
            is_nothing,
            leads_to_balancer,
        })
    }

    /// Tells whether IPVS holds something of ours from now on. Where iptables rules balance, what an earlier run left in IPVS is no reason not to serve.
    fn adopt_ipvs(&mut self) -> Result<bool, DataPlaneError> {
        if let Some(ipvs) = &mut self.ipvs {
            ipvs.adopt()?;
            return Ok(false);
        }
        let is_used = self.mode == ActiveMode::IPVS;
        let is_left = self.ipvs_door.is_left()?;
        if !is_used && !is_left {
            return Ok(false);
        }
        let opened = self.ipvs_door.open().and_then(|mut ipvs| {
            let adopted = ipvs.adopt();
            if adopted.is_err() && !is_left {
                log_left_behind(&ipvs.remove());
            }
            adopted.map(|()| ipvs)
        });
        match opened {
            Ok(ipvs) => self.ipvs = Some(ipvs),
            Err(error) if !is_used && error.is_lack_of_ipvs() => {
                tracing::warn!(%error, "what an earlier run left in IPVS cannot be looked after");
            }
            Err(error) => return Err(error),
        }
        Ok(!is_left)
    }

    fn balance(&mut self, plan: &Plan, scope: Scope<'_>) -> Result<SyncReport, DataPlaneError> {
        let mut report = SyncReport::default();
        if self.mode == ActiveMode::IPTables {
            report += self.iptables.apply(plan, scope)?;
        }
        if let Some(ipvs) = &mut self.ipvs {
            if self.mode == ActiveMode::IPVS {
                report += ipvs.activate()?;
            } else if self.glue.ipvs_part() != IpvsPart::New {
                // Before it follows the plan: it only gives up what the plan gives up.
                report += ipvs.deactivate()?;
            }
            report += ipvs.apply(plan, scope)?;
        }
        Ok(report)
    }

    fn delete_stale_flows(&mut self, plan: &Plan, scope: Scope<'_>) -> Result<u64, DataPlaneError> {
        let has_ipvs = self.ipvs.is_some();
        let stale = match scope {
            Scope::All => StaleFlows::of_services(plan.services.values().map(AsRef::as_ref)),
            Scope::Change(change) if change.node_or_settings => {
                StaleFlows::of(change, has_ipvs).and_at_new_addresses(&self.plan, plan)
            }
            Scope::Change(change) => StaleFlows::of(change, has_ipvs),
        };
        let deleted = stale.delete(&plan.node, self.conntrack.as_mut())?;
        if matches!(scope, Scope::Change(_)) {
            self.look_again.extend(stale.services());
        }
        Ok(deleted as u64)
    }

    fn remember(&mut self, plan: &Plan, scope: Scope<'_>) {
        match scope {
            Scope::All => self.plan = plan.clone(),
            Scope::Change(change) => self.plan.follow(plan, change),
        }
    }

    fn in_use(&mut self) -> &mut dyn Balancer {
        match (self.mode, &mut self.ipvs) {
            (ActiveMode::IPVS, Some(ipvs)) => ipvs.as_mut(),
            _ => &mut self.iptables,
        }
    }
}

impl DataPlane for NodePlane {
    fn mode(&self) -> ActiveMode {
        self.mode
    }

    fn families(&self) -> Vec<Family> {
        self.rules.lock().families()
    }

    fn switch(&mut self, mode: ActiveMode, plan: &Plan) -> Result<SyncReport, DataPlaneError> {
        self.switch_to(mode, plan)
    }

    fn reconcile(&mut self, plan: &Plan) -> Result<SyncReport, DataPlaneError> {
        self.sync(plan, Scope::All, false)
    }

    fn apply(&mut self, plan: &Plan, change: &PlanChange) -> Result<SyncReport, DataPlaneError> {
        self.sync(plan, Scope::Change(change), false)
    }

    fn drain(&mut self, drain: Drain) -> Result<SyncReport, DataPlaneError> {
        self.let_go(drain)
    }

    fn check(&mut self) -> Result<Vec<Drift>, DataPlaneError> {
        let again = std::mem::take(&mut self.look_again);
        let services = again.iter().filter_map(|name| self.plan.services.get(name));
        StaleFlows::of_services(services.map(AsRef::as_ref))
            .delete(&self.plan.node, self.conntrack.as_mut())?;
        let mut drifts = self.glue.check()?;
        if self.mode == ActiveMode::IPTables {
            drifts.extend(self.iptables.check()?);
        }
        if let Some(ipvs) = &mut self.ipvs {
            drifts.extend(ipvs.check()?);
        }
        Ok(drifts)
    }

    fn doubt(&mut self, lost: &[RouteNotice]) {
        if let Some(ipvs) = &mut self.ipvs {
            ipvs.doubt(lost);
        }
    }

    fn verify(&mut self) -> Result<Vec<Drift>, DataPlaneError> {
        let mut drifts = self.glue.verify(&self.plan)?;
        drifts.extend(self.in_use().verify()?);
        self.rules.lock().remember();
        Ok(drifts)
    }

    fn programmed(&self) -> Programmed {
        let (chains, rules) = self.rules.lock().size();
        let (sets, set_entries) = self.glue.set_sizes();
        let (virtual_servers, real_servers) =
            self.ipvs.as_ref().map_or((0, 0), |ipvs| ipvs.servers());
        Programmed {
            chains,
            rules,
            sets,
            set_entries,
            virtual_servers,
            real_servers,
        }
    }

    fn tally(&mut self) -> Tally {
        let mut rules = self.rules.lock();
        let (_, programs, _) = rules.counts();
        let told = std::mem::replace(&mut self.programs_told, programs);
        Tally {
            programs_started: programs - told,
            flow_looks: self.flow_looks.take(),
            rules: rules.take_rules(),
        }
    }

    fn conditions(&self) -> Vec<String> {
        let mut conditions: Vec<String> = self.lack.iter().cloned().collect();
        conditions.extend(self.iptables.conditions());
        conditions.extend(self.ipvs.iter().flat_map(|ipvs| ipvs.conditions()));
        conditions
    }

    fn uses_ipvs(&self) -> bool {
        self.ipvs.is_some()
    }

    fn remove_rules(&mut self) -> Vec<DataPlaneError> {
        let mut errors = self.iptables.remove_rules();
        errors.extend(self.glue.remove_rules());
        errors
    }

    fn remove(&mut self) -> Vec<DataPlaneError> {
        let mut errors = self.iptables.remove();
        errors.extend(self.glue.remove());
        errors.extend(self.remove_ipvs());
        self.plan = Plan::default();
        errors
    }
}

fn log_left_behind(errors: &[DataPlaneError]) {
    for error in errors {
        tracing::warn!(%error, "something of ours could not be removed: it is tried again later");
    }
}
