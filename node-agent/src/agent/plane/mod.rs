//! The data plane in use, and the changes from one iptables variant to the other and from one mode to the other.

mod choice;
mod ledger;
#[cfg(test)]
mod tests;

use sluice_api_access::with_causes;
use sluice_crds::v1alpha1::ActiveMode;
use sluice_kernel::iptables::Variant;
use sluice_kernel::links::RouteNotice;
use sluice_kernel::sysctl;
use sluice_service_plan::plan::{Plan, PlanChange};

use self::choice::Choice;
pub use self::choice::RefusedMode;
pub use self::ledger::{LedgerError, PlaneLedger};
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
}

impl Plane {
    /// No data plane yet; the first [`reconcile`](Self::reconcile) opens one.
    pub fn new(planes: Box<dyn Planes>, ledger: PlaneLedger) -> Self {
        Self {
            planes,
            ledger,
            choice: Choice::default(),
            current: None,
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
            self.choice.put_off_switch(error);
            self.choice.count_try(mode);
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
        if let Some((_, plane)) = &self.current {
            conditions.extend(plane.conditions());
        }
        conditions
    }

    /// Whether another variant or mode is to be used than the present one.
    pub fn is_to_change(&self) -> bool {
        self.next_variant().is_some() || self.next_mode().is_some()
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

    fn start(&mut self, plan: &Plan) -> Result<SyncReport, PlaneError> {
        let variant = match self.choice.variant() {
            Some(variant) => variant,
            None => self.planes.detect()?,
        };
        let mode = self.mode_to_be();
        let mut plane = self.planes.open(variant, mode)?;
        self.ledger.add(variant)?;
        let mut report = match plane.reconcile(plan) {
            Ok(report) => report,
            Err(error) if mode == ActiveMode::IPVS && self.gives_up_starting(&error) => {
                self.choice.refuse(mode, error.to_string());
                return self.start(plan);
            }
            Err(error) => return Err(error.into()),
        };
        tracing::info!(%variant, %mode, "data plane in use");
        self.ledger.set_mode(mode)?;
        self.current = Some((variant, plane));
        for other in self.ledger.others(variant) {
            tracing::info!(variant = %other, "removing our rules of an earlier run");
            let mut old = self.planes.open(other, mode)?;
            self.retire(other, old.as_mut())?;
            report += self.look_after_shared_sets(plan)?;
        }
        Ok(report)
    }

    /// Nothing serves yet, so rather in the other mode than not at all.
    fn gives_up_starting(&mut self, error: &DataPlaneError) -> bool {
        if error.is_lack_of_ipvs() {
            return true;
        }
        let is_of_ipvs = matches!(
            error,
            DataPlaneError::Ipvs(_) | DataPlaneError::IpvsRefused(_) | DataPlaneError::Links(_)
        );
        is_of_ipvs && self.choice.gives_up_starting()
    }

    /// Programs the new variant whole beside the old one, and removes the old one only when the kernel holds the new.
    fn change_variant(&mut self, next: Variant, plan: &Plan) -> Result<SyncReport, PlaneError> {
        let mode = self.mode().unwrap_or(ActiveMode::IPTables);
        let mut new = match self.planes.open(next, mode) {
            Ok(new) => new,
            Err(error) => return self.keep_variant(next, &error, plan),
        };
        self.ledger.add(next)?;
        let programmed =
            new.reconcile(plan)
                .and_then(|report| match new.verify()?.into_iter().next() {
                    Some(drift) => Err(DataPlaneError::NotHeld(drift)),
                    None => Ok(report),
                });
        let mut report = match programmed {
            Ok(report) => report,
            Err(error) => {
                log_all(next, &new.remove_rules());
                return self.keep_variant(next, &error, plan);
            }
        };
        let old = self.current.replace((next, new));
        tracing::info!(variant = %next, "iptables variant changed");
        if let Some((variant, mut old)) = old {
            self.retire(variant, old.as_mut())?;
            report += self.look_after_shared_sets(plan)?;
        }
        Ok(report)
    }

    fn keep_variant(
        &mut self,
        refused: Variant,
        error: &DataPlaneError,
        plan: &Plan,
    ) -> Result<SyncReport, PlaneError> {
        tracing::error!(variant = %refused, %error, "iptables variant not changed: the old one stays in use");
        self.choice.refuse_variant(refused);
        self.reconcile(plan)
    }

    /// The old mode serves until the new one is verified, and after an error.
    fn change_mode(&mut self, next: ActiveMode, plan: &Plan) -> Result<SyncReport, PlaneError> {
        let Some((_, plane)) = &mut self.current else {
            return self.start(plan);
        };
        let before = plane.mode();
        match plane.switch(next, plan) {
            Ok(report) => {
                self.choice.switched();
                tracing::info!(mode = %next, %before, "mode changed: old connections stay where they are");
                self.ledger.set_mode(next)?;
                Ok(report)
            }
            // The new mode serves already; the next sync ends the rest.
            Err(error) if plane.mode() == next => {
                self.choice.switched();
                self.ledger.set_mode(next)?;
                Err(error.into())
            }
            Err(error) if next == ActiveMode::IPVS && error.is_lack_of_ipvs() => {
                self.choice.refuse(next, error.to_string());
                self.reconcile(plan)
            }
            // The old mode is brought to the plan, and the switch made again later.
            Err(error) => {
                self.choice.put_off_switch(error.into());
                // Where this fails too, it is not for the new mode.
                let report = self.reconcile(plan)?;
                self.choice.count_try(next);
                Ok(report)
            }
        }
    }

    /// Removes the rules of a variant that is no longer used.
    fn retire(&mut self, variant: Variant, old: &mut dyn DataPlane) -> Result<(), PlaneError> {
        let errors = old.remove_rules();
        log_all(variant, &errors);
        if errors.is_empty() {
            self.ledger.remove(variant)?;
        }
        Ok(())
    }

    /// Rules of the other variant used our sets too, so how many use them has changed.
    fn look_after_shared_sets(&mut self, plan: &Plan) -> Result<SyncReport, PlaneError> {
        let Some((_, current)) = &mut self.current else {
            return Ok(SyncReport::default());
        };
        if current.check()?.is_empty() {
            return Ok(SyncReport::default());
        }
        Ok(current.reconcile(plan)?)
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

fn log_all(variant: Variant, errors: &[DataPlaneError]) {
    for error in errors {
        tracing::warn!(%variant, %error, "something of ours could not be removed");
    }
}
