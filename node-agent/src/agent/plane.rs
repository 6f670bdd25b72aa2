//! The data plane in use, and the changes from one iptables variant to the other and from one mode to the other.

use sluice_api_access::with_causes;
use sluice_crds::v1alpha1::{ActiveMode, IptablesVariant, Mode};
use sluice_kernel::iptables::Variant;
use sluice_kernel::links::RouteNotice;
use sluice_kernel::sysctl;
use sluice_service_plan::plan::{Plan, PlanChange};

use super::plane_ledger::{LedgerError, PlaneLedger};
use crate::data_plane::{DataPlane, DataPlaneError, Drain, Drift, Programmed, SyncReport};
use crate::tally::Tally;

/// A mode that failed so often, while what serves could be written, is one that this node cannot run.
const MOST_TRIES: u32 = 10;

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

/// A mode that could not be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedMode {
    /// Which.
    pub mode: ActiveMode,
    /// Why not.
    pub reason: String,
}

/// A switch that failed for a reason that may pass. What served before serves on.
#[derive(Debug)]
pub struct PutOff {
    /// How often it failed, while what serves could be written.
    pub tries: u32,
    /// Why, the last time.
    pub error: PlaneError,
}

/// The data plane in use.
pub struct Plane {
    planes: Box<dyn Planes>,
    ledger: PlaneLedger,
    wanted_variant: IptablesVariant,
    asked_mode: Mode,
    wanted_mode: ActiveMode,
    current: Option<(Variant, Box<dyn DataPlane>)>,
    /// What could not be taken; not tried again until [`try_again`](Self::try_again).
    refused_variant: Option<Variant>,
    refused_mode: Option<RefusedMode>,
    /// Not tried again until [`switch_again`](Self::switch_again).
    put_off: Option<PutOff>,
    is_switch_due: bool,
    /// Attempts to start with IPVS that it failed.
    failed_starts: u32,
}

impl Plane {
    /// No data plane yet; the first [`reconcile`](Self::reconcile) opens one.
    pub fn new(planes: Box<dyn Planes>, ledger: PlaneLedger) -> Self {
        Self {
            planes,
            ledger,
            wanted_variant: IptablesVariant::Auto,
            asked_mode: Mode::IPTables,
            wanted_mode: ActiveMode::IPTables,
            current: None,
            refused_variant: None,
            refused_mode: None,
            put_off: None,
            is_switch_due: false,
            failed_starts: 0,
        }
    }

    /// Says which variant and which mode to use from the next sync on; `asked` is what the settings say, `mode` what that means now.
    pub fn want(&mut self, variant: IptablesVariant, asked: Mode, mode: ActiveMode) {
        if self.wanted_variant != variant {
            self.wanted_variant = variant;
            self.refused_variant = None;
        }
        if self.asked_mode != asked {
            self.asked_mode = asked;
            self.refused_mode = None;
        }
        if self.wanted_mode != mode {
            self.wanted_mode = mode;
            self.put_off = None;
        }
    }

    /// Forgets what could not be taken, so that the next sync tries again.
    pub fn try_again(&mut self) {
        self.refused_variant = None;
        self.refused_mode = None;
        self.put_off = None;
    }

    /// The switch that failed and is to be made again.
    pub fn put_off(&self) -> Option<&PutOff> {
        self.put_off.as_ref()
    }

    /// The next sync makes the switch that was put off.
    pub fn switch_again(&mut self) {
        self.is_switch_due = true;
    }

    /// The mode that new connections are served in, or were when the agent last ran.
    pub fn mode(&self) -> Option<ActiveMode> {
        self.current
            .as_ref()
            .map(|(_, plane)| plane.mode())
            .or(self.ledger.mode())
    }

    /// The mode that the next sync will bring about.
    pub fn mode_to_be(&self) -> ActiveMode {
        match &self.refused_mode {
            Some(refused) if refused.mode == self.wanted_mode => self
                .current
                .as_ref()
                .map_or(ActiveMode::IPTables, |(_, plane)| plane.mode()),
            _ => self.wanted_mode,
        }
    }

    /// Says that this node cannot run a mode, and why.
    pub fn refuse(&mut self, mode: ActiveMode, reason: String) {
        tracing::warn!(%mode, reason, "this node cannot run the mode: what serves now goes on");
        self.put_off = None;
        self.refused_mode = Some(RefusedMode { mode, reason });
    }

    /// The mode was tried and this node could not run it.
    pub fn has_refused(&self, mode: ActiveMode) -> bool {
        let refused = self.refused_mode.as_ref();
        refused.is_some_and(|refused| refused.mode == mode)
    }

    /// What is done otherwise than the settings ask, in sentences.
    pub fn conditions(&self) -> Vec<String> {
        let mut conditions = Vec::new();
        if let Some(RefusedMode { mode, reason }) = &self.refused_mode
            && *mode == self.wanted_mode
        {
            let serving = self.mode_to_be();
            conditions.push(format!(
                "the node cannot run mode {mode}, {serving} serves: {reason}"
            ));
        }
        if let Some(variant) = self.refused_variant {
            conditions.push(format!(
                "the node cannot use the iptables variant {variant}: see the log"
            ));
        }
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
        let wanted = match self.wanted_variant {
            // What the node uses already is what we use.
            IptablesVariant::Auto => return None,
            IptablesVariant::Legacy => Variant::Legacy,
            IptablesVariant::NFT => Variant::Nft,
        };
        (wanted != *current && self.refused_variant != Some(wanted)).then_some(wanted)
    }

    fn next_mode(&self) -> Option<ActiveMode> {
        let (_, plane) = self.current.as_ref()?;
        let wanted = self.mode_to_be();
        (wanted != plane.mode() && !self.is_switch_resting()).then_some(wanted)
    }

    fn is_switch_resting(&self) -> bool {
        self.put_off.is_some() && !self.is_switch_due
    }

    /// The next sync may be the first in which IPVS balances, or is one of those after it.
    pub fn will_balance_by_ipvs(&self) -> bool {
        self.mode_to_be() == ActiveMode::IPVS && !self.is_switch_resting()
    }

    /// This mode serves, programmed by this run.
    pub fn serves_in(&self, mode: ActiveMode) -> bool {
        let current = self.current.as_ref();
        current.is_some_and(|(_, plane)| plane.mode() == mode)
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
        let variant = match self.wanted_variant {
            IptablesVariant::Auto => self.planes.detect()?,
            IptablesVariant::Legacy => Variant::Legacy,
            IptablesVariant::NFT => Variant::Nft,
        };
        let mode = self.mode_to_be();
        let mut plane = self.planes.open(variant, mode)?;
        self.ledger.add(variant)?;
        let mut report = match plane.reconcile(plan) {
            Ok(report) => report,
            Err(error) if mode == ActiveMode::IPVS && self.gives_up_starting(&error) => {
                self.refuse(mode, error.to_string());
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
        self.failed_starts += u32::from(is_of_ipvs);
        is_of_ipvs && self.failed_starts >= MOST_TRIES
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
        self.refused_variant = Some(refused);
        self.reconcile(plan)
    }

    /// The old mode serves until the new one is verified, and after an error.
    fn change_mode(&mut self, next: ActiveMode, plan: &Plan) -> Result<SyncReport, PlaneError> {
        let Some((_, plane)) = &mut self.current else {
            return self.start(plan);
        };
        let before = plane.mode();
        self.is_switch_due = false;
        match plane.switch(next, plan) {
            Ok(report) => {
                self.put_off = None;
                tracing::info!(mode = %next, %before, "mode changed: old connections stay where they are");
                self.ledger.set_mode(next)?;
                Ok(report)
            }
            // The new mode serves already; the next sync ends the rest.
            Err(error) if plane.mode() == next => {
                self.put_off = None;
                self.ledger.set_mode(next)?;
                Err(error.into())
            }
            Err(error) if next == ActiveMode::IPVS && error.is_lack_of_ipvs() => {
                self.refuse(next, error.to_string());
                self.reconcile(plan)
            }
            Err(error) => self.put_off_switch(next, error.into(), plan),
        }
    }

    /// The old mode is brought to the plan, and the switch made again later.
    fn put_off_switch(
        &mut self,
        mode: ActiveMode,
        error: PlaneError,
        plan: &Plan,
    ) -> Result<SyncReport, PlaneError> {
        let tries = self.put_off.take().map_or(0, |put_off| put_off.tries);
        self.put_off = Some(PutOff { tries, error });
        // Where this fails too, it is not for the new mode.
        let report = self.reconcile(plan)?;
        self.count_try(mode);
        Ok(report)
    }

    fn count_try(&mut self, mode: ActiveMode) {
        let Some(put_off) = &mut self.put_off else {
            return;
        };
        put_off.tries += 1;
        if put_off.tries >= MOST_TRIES {
            let reason = with_causes(&put_off.error);
            self.refuse(mode, reason);
        }
    }

    /// This node could not be made ready for the mode, for a reason that may pass. An error says that nothing serves until it is.
    pub fn not_ready(&mut self, mode: ActiveMode, error: PlaneError) -> Result<(), PlaneError> {
        if self.current.is_some() {
            let tries = self.put_off.take().map_or(0, |put_off| put_off.tries);
            self.put_off = Some(PutOff { tries, error });
            self.is_switch_due = false;
            self.count_try(mode);
            return Ok(());
        }
        self.failed_starts += 1;
        if self.failed_starts < MOST_TRIES {
            return Err(error);
        }
        self.refuse(mode, with_causes(&error));
        Ok(())
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

    /// The mode that was tried last and that this node cannot run.
    pub fn refused_mode(&self) -> Option<&RefusedMode> {
        self.refused_mode.as_ref()
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
