//! The way to a data plane: the first one, and from one variant or mode to the other.

use sluice_api_access::with_causes;
use sluice_crds::v1alpha1::ActiveMode;
use sluice_kernel::iptables::Variant;
use sluice_service_plan::plan::Plan;

use super::choice::Change;
use super::{LedgerError, Plane, PlaneError};
use crate::data_plane::{DataPlaneError, SyncReport};

impl Plane {
    /// Nothing serves yet, so rather in the other mode, or with the other variant, than not at all.
    pub(super) fn start(&mut self, plan: &Plan) -> Result<SyncReport, PlaneError> {
        let asked = self.choice.variant_to_start();
        let variant = match asked {
            Some(variant) => variant,
            None => self.planes.detect()?,
        };
        let mode = self.mode_to_be();
        let error = match self.start_as(variant, mode, plan) {
            Err(PlaneError::DataPlane(error)) => error,
            other => return other,
        };
        let lacks_variant = asked.is_some() && error.is_lack_of_variant();
        if mode == ActiveMode::IPVS && self.gives_up_starting(&error) {
            self.choice.refuse(mode, error.to_string());
            let report = self.start(plan);
            // Without IPVS it was refused too, so that was not for the mode.
            if lacks_variant && self.choice.has_refused_variant(variant) {
                self.choice.allow_mode();
            }
            return report;
        }
        if lacks_variant {
            self.choice.refuse_variant(variant, with_causes(&error));
            return self.start(plan);
        }
        Err(error.into())
    }

    fn start_as(
        &mut self,
        variant: Variant,
        mode: ActiveMode,
        plan: &Plan,
    ) -> Result<SyncReport, PlaneError> {
        let mut plane = self.planes.open(variant, mode)?;
        // Where this fails, it is noted later: a full disk keeps no node from being served.
        let noted = self.ledger.add(variant);
        self.tell_noted(noted);
        let report = plane.reconcile(plan)?;
        tracing::info!(%variant, %mode, "data plane in use");
        self.current = Some((variant, plane));
        Ok(report)
    }

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

    /// Programs the new variant whole beside the old one, whose rules go only when the kernel holds the new ones.
    pub(super) fn change_variant(
        &mut self,
        next: Variant,
        plan: &Plan,
    ) -> Result<SyncReport, PlaneError> {
        let mode = self.mode().unwrap_or(ActiveMode::IPTables);
        let mut new = match self.planes.open(next, mode) {
            Ok(new) => new,
            Err(error) => return self.keep_variant(next, error, plan),
        };
        if let Err(error) = self.ledger.add(next) {
            return self.put_off(Change::Variant(next), error.into(), plan);
        }
        let programmed =
            new.reconcile(plan)
                .and_then(|report| match new.verify()?.into_iter().next() {
                    Some(drift) => Err(DataPlaneError::NotHeld(drift)),
                    None => Ok(report),
                });
        match programmed {
            Ok(report) => {
                self.choice.switched(Change::Variant(next));
                self.current = Some((next, new));
                tracing::info!(variant = %next, "iptables variant changed");
                Ok(report)
            }
            Err(error) => {
                // What cannot be removed, or struck out, now is retired at the end of this sync.
                if new.remove_rules().is_empty() {
                    let _ = self.ledger.remove(next);
                }
                self.keep_variant(next, error, plan)
            }
        }
    }

    /// The old variant is brought to the plan. What the node lacks is not tried again soon; anything else is.
    fn keep_variant(
        &mut self,
        next: Variant,
        error: DataPlaneError,
        plan: &Plan,
    ) -> Result<SyncReport, PlaneError> {
        if error.is_lack_of_variant() {
            self.choice.refuse_variant(next, with_causes(&error));
            return self.bring_about(plan);
        }
        self.put_off(Change::Variant(next), error.into(), plan)
    }

    /// What serves is brought to the plan, and the change made again later.
    fn put_off(
        &mut self,
        change: Change,
        error: PlaneError,
        plan: &Plan,
    ) -> Result<SyncReport, PlaneError> {
        self.choice.put_off_switch(change, error);
        // Where this fails too, it is not for what is new.
        let report = self.bring_about(plan)?;
        self.choice.count_try();
        Ok(report)
    }

    /// The old mode serves until the new one is verified, and after an error.
    pub(super) fn change_mode(
        &mut self,
        next: ActiveMode,
        plan: &Plan,
    ) -> Result<SyncReport, PlaneError> {
        let Some((_, plane)) = &mut self.current else {
            return self.start(plan);
        };
        let before = plane.mode();
        match plane.switch(next, plan) {
            Ok(report) => {
                self.choice.switched(Change::Mode(next));
                tracing::info!(mode = %next, %before, "mode changed: old connections stay where they are");
                Ok(report)
            }
            // The new mode serves already; the next sync ends the rest.
            Err(error) if plane.mode() == next => {
                self.choice.switched(Change::Mode(next));
                Err(error.into())
            }
            Err(error) if next == ActiveMode::IPVS && error.is_lack_of_ipvs() => {
                self.choice.refuse(next, error.to_string());
                self.bring_about(plan)
            }
            Err(error) => self.put_off(Change::Mode(next), error.into(), plan),
        }
    }

    /// Notes the variant and mode in use. What could not be noted is a condition, and tried again with the next look.
    pub(super) fn note(&mut self) {
        let Some((variant, plane)) = &self.current else {
            return;
        };
        let noted = self.ledger.add(*variant);
        let noted = noted.and_then(|()| self.ledger.set_mode(plane.mode()));
        self.tell_noted(noted);
    }

    fn tell_noted(&mut self, noted: Result<(), LedgerError>) {
        self.unnoted = noted.err().map(|error| {
            format!(
                "which iptables variant and mode are in use cannot be noted for the next run: {}",
                with_causes(&error)
            )
        });
    }

    /// Removes rules of variants that are not in use, of this run or an earlier one. They would go on translating by what they knew, so it
    /// is tried until it succeeds.
    pub(super) fn retire_others(&mut self, plan: &Plan) -> Result<SyncReport, PlaneError> {
        let current = self.variant();
        let others = current.map_or_else(Vec::new, |current| self.ledger.others(current));
        let mut report = SyncReport::default();
        if others.is_empty() || !self.leftovers.is_due() {
            return Ok(report);
        }
        for other in others {
            tracing::info!(variant = %other, "removing our rules of a variant that is not in use");
            match self.remove_rules_of(other) {
                Ok(()) => {
                    self.leftovers.are_gone();
                    report += self.look_after_shared_sets(plan)?;
                }
                Err(error) => {
                    let reason = with_causes(&error);
                    tracing::warn!(variant = %other, reason, "something of ours could not be removed");
                    self.leftovers.stay(other, &reason);
                }
            }
        }
        Ok(report)
    }

    fn remove_rules_of(&mut self, variant: Variant) -> Result<(), PlaneError> {
        let errors = match self.planes.open_to_remove(variant) {
            Ok(mut plane) => plane.remove_rules(),
            // So it holds nothing.
            Err(DataPlaneError::Iptables(error)) if error.is_lack() => Vec::new(),
            Err(error) => vec![error],
        };
        match errors.into_iter().next() {
            Some(error) => Err(error.into()),
            None => Ok(self.ledger.remove(variant)?),
        }
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
}
