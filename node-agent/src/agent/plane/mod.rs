//! The data plane in use, and the changes from one iptables variant to the other and from one mode to the other.

mod changes;
mod choice;
mod ledger;
mod leftovers;
#[cfg(test)]
mod tests;

use sluice_api_access::with_causes;
use sluice_crds::v1alpha1::ActiveMode;
use sluice_kernel::iptables::{Family, Variant};
use sluice_kernel::links::RouteNotice;
use sluice_kernel::sysctl;
use sluice_service_plan::plan::{Plan, PlanChange};

pub use self::choice::RefusedMode;
use self::choice::{Change, Choice};
pub use self::ledger::{LedgerError, PlaneLedger};
use self::leftovers::Leftovers;
use crate::data_plane::{DataPlane, DataPlaneError, Drain, Drift, Programmed, SyncReport};
use crate::tally::Tally;

/// Opens data planes.
pub trait Planes: Send {
    /// The plane that speaks this variant and starts in this mode.
    fn open(
        &mut self,
        variant: Variant,
        mode: ActiveMode,
    ) -> Result<Box<dyn DataPlane>, DataPlaneError>;
    /// One that is only to remove what it has of a variant that is not in use.
    fn open_to_remove(&mut self, variant: Variant) -> Result<Box<dyn DataPlane>, DataPlaneError>;
    /// The variant that this node uses already.
    fn detect(&mut self) -> Result<Variant, DataPlaneError>;
}

/// Errors of [`Plane`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlaneError {
    /// The data plane in use.
    #[error(transparent)]
    DataPlane(#[from] DataPlaneError),
    /// What holds rules of ours could not be noted.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// What a sysctl that IPVS needs was before could not be noted.
    #[error(transparent)]
    SysctlRecord(#[from] sysctl::LedgerError),
}

/// The data plane in use.
pub struct Plane {
    planes: Box<dyn Planes>,
    ledger: PlaneLedger,
    /// Which variant and mode the next sync brings about.
    pub(in crate::agent) choice: Choice,
    current: Option<(Variant, Box<dyn DataPlane>)>,
    leftovers: Leftovers,
    /// Why the variant and mode in use could not be noted.
    unnoted: Option<String>,
}

impl Plane {
    /// No data plane yet; the first [`reconcile`](Self::reconcile) opens one.
    pub fn new(planes: Box<dyn Planes>, ledger: PlaneLedger) -> Self {
        Self {
            planes,
            ledger,
            choice: Choice::default(),
            current: None,
            leftovers: Leftovers::default(),
            unnoted: None,
        }
    }

    /// The mode that new connections are served in, or were when the agent last ran.
    pub fn mode(&self) -> Option<ActiveMode> {
        self.serving().or(self.ledger.mode())
    }

    /// The mode that serves, programmed by this run.
    pub fn serving(&self) -> Option<ActiveMode> {
        let current = self.current.as_ref();
        current.map(|(_, plane)| plane.mode())
    }

    /// The mode that the next sync will bring about.
    pub fn mode_to_be(&self) -> ActiveMode {
        self.choice.mode_to_be(self.serving())
    }

    /// This node could not be made ready for the mode, for a reason that may pass. An error says that nothing serves until it is.
    pub fn not_ready(&mut self, mode: ActiveMode, error: PlaneError) -> Result<(), PlaneError> {
        if self.current.is_some() {
            self.choice.put_off_switch(Change::Mode(mode), error);
            self.choice.count_try();
        } else if self.choice.gives_up_starting() {
            self.choice.refuse(mode, with_causes(&error));
        } else {
            return Err(error);
        }
        Ok(())
    }

    /// What is done otherwise than the settings ask, in sentences.
    pub fn conditions(&self) -> Vec<String> {
        let mut conditions = self.choice.conditions(self.serving());
        conditions.extend(self.leftovers.condition().cloned());
        conditions.extend(self.unnoted.clone());
        if let Some((_, plane)) = &self.current {
            conditions.extend(plane.conditions());
        }
        conditions
    }

    /// Whether another variant or mode is to be used than the present one, or what one left is to be removed.
    pub fn is_to_change(&self) -> bool {
        let leaves = self.leftovers.are_to_go();
        leaves || self.next_variant().is_some() || self.next_mode().is_some()
    }

    fn next_variant(&self) -> Option<Variant> {
        let (current, _) = self.current.as_ref()?;
        self.choice.next_variant(*current)
    }

    fn next_mode(&self) -> Option<ActiveMode> {
        self.choice.next_mode(self.serving()?)
    }

    /// The next sync may be the first in which IPVS balances, or is one of those after it.
    pub fn will_balance_by_ipvs(&self) -> bool {
        self.mode_to_be() == ActiveMode::IPVS && !self.choice.is_switch_resting()
    }

    /// Opens the data plane at first, changes variant and mode where that is wanted, and makes the kernel hold the plan.
    pub fn reconcile(&mut self, plan: &Plan) -> Result<SyncReport, PlaneError> {
        let outcome = self.bring_about(plan);
        self.note();
        let mut report = outcome?;
        report += self.retire_others(plan)?;
        Ok(report)
    }

    /// Changes variant and mode where that is wanted, one at a time, and programs the plan.
    fn bring_about(&mut self, plan: &Plan) -> Result<SyncReport, PlaneError> {
        if let Some(next) = self.next_variant() {
            return self.change_variant(next, plan);
        }
        if let Some(next) = self.next_mode() {
            return self.change_mode(next, plan);
        }
        match &mut self.current {
            Some((_, plane)) => Ok(plane.reconcile(plan)?),
            None => self.start(plan),
        }
    }

    /// Programs one change.
    pub fn apply(&mut self, plan: &Plan, change: &PlanChange) -> Result<SyncReport, PlaneError> {
        match &mut self.current {
            Some((_, plane)) => Ok(plane.apply(plan, change)?),
            None => self.reconcile(plan),
        }
    }

    /// Lets go of what was kept for old connections only.
    pub fn drain(&mut self, drain: Drain) -> Result<SyncReport, PlaneError> {
        match &mut self.current {
            Some((_, plane)) => Ok(plane.drain(drain)?),
            None => Ok(SyncReport::default()),
        }
    }

    /// Looks for drift by counts.
    pub fn check(&mut self) -> Result<Vec<Drift>, PlaneError> {
        self.leftovers.looked();
        self.note();
        Ok(self
            .current
            .as_mut()
            .map_or(Ok(Vec::new()), |(_, plane)| plane.check())?)
    }

    /// This was lost on the node. Where it is something that we need, the next check saves nothing.
    pub fn doubt(&mut self, lost: &[RouteNotice]) {
        if let Some((_, plane)) = &mut self.current {
            plane.doubt(lost);
        }
    }

    /// Compares everything.
    pub fn verify(&mut self) -> Result<Vec<Drift>, PlaneError> {
        Ok(self
            .current
            .as_mut()
            .map_or(Ok(Vec::new()), |(_, plane)| plane.verify())?)
    }

    /// What was counted since the last call.
    pub fn tally(&mut self) -> Tally {
        let current = self.current.as_mut();
        current.map(|(_, plane)| plane.tally()).unwrap_or_default()
    }

    /// Sizes of what was programmed.
    pub fn programmed(&self) -> Programmed {
        self.current
            .as_ref()
            .map(|(_, plane)| plane.programmed())
            .unwrap_or_default()
    }

    /// The variant in use.
    pub fn variant(&self) -> Option<Variant> {
        self.current.as_ref().map(|(variant, _)| *variant)
    }

    /// The families that are served; absent while nothing serves.
    pub fn families(&self) -> Option<Vec<Family>> {
        let current = self.current.as_ref();
        current.map(|(_, plane)| plane.families())
    }

    /// IPVS has something of ours now, or will after the next sync.
    pub fn uses_ipvs(&self) -> bool {
        let current = self.current.as_ref();
        current.is_some_and(|(_, plane)| plane.uses_ipvs()) || self.mode_to_be() == ActiveMode::IPVS
    }

    /// The same, or it may: what an earlier run left in IPVS is known once the kernel was read.
    pub fn may_use_ipvs(&self) -> bool {
        self.current.is_none() || self.uses_ipvs()
    }
}
