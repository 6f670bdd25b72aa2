//! The data plane in use, and the change from one iptables variant to the other.

use sluice_crds::v1alpha1::IptablesVariant;
use sluice_kernel::iptables::Variant;
use sluice_service_plan::plan::{Plan, PlanChange};

use super::variant_ledger::{LedgerError, VariantLedger};
use crate::data_plane::{DataPlane, DataPlaneError, Drift, Programmed, SyncReport};

/// Opens data planes.
pub trait Planes: Send {
    /// The plane that speaks this variant.
    fn open(&mut self, variant: Variant) -> Result<Box<dyn DataPlane>, DataPlaneError>;
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
    /// Which variants hold rules of ours could not be noted.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// The data plane in use.
pub struct Plane {
    planes: Box<dyn Planes>,
    ledger: VariantLedger,
    wanted: IptablesVariant,
    current: Option<(Variant, Box<dyn DataPlane>)>,
    /// A variant that could not be taken; not tried again until the policy wants something else.
    refused: Option<Variant>,
}

impl Plane {
    /// No data plane yet; the first [`reconcile`](Self::reconcile) opens one.
    pub fn new(planes: Box<dyn Planes>, ledger: VariantLedger) -> Self {
        Self {
            planes,
            ledger,
            wanted: IptablesVariant::Auto,
            current: None,
            refused: None,
        }
    }

    /// Says which variant to use from the next sync on.
    pub fn want(&mut self, wanted: IptablesVariant) {
        if self.wanted != wanted {
            self.wanted = wanted;
            self.refused = None;
        }
    }

    /// Whether another variant is to be used than the present one.
    pub fn is_to_change(&self) -> bool {
        self.next_variant()
            .is_some_and(|next| self.refused != Some(next))
    }

    fn next_variant(&self) -> Option<Variant> {
        let (current, _) = self.current.as_ref()?;
        let wanted = match self.wanted {
            // What the node uses already is what we use.
            IptablesVariant::Auto => return None,
            IptablesVariant::Legacy => Variant::Legacy,
            IptablesVariant::NFT => Variant::Nft,
        };
        (wanted != *current).then_some(wanted)
    }

    /// Opens the data plane at first, changes the variant where that is wanted, and makes the kernel hold the plan.
    pub fn reconcile(&mut self, plan: &Plan) -> Result<SyncReport, PlaneError> {
        if self.is_to_change()
            && let Some(next) = self.next_variant()
        {
            return self.change_to(next, plan);
        }
        if let Some((_, plane)) = &mut self.current {
            return Ok(plane.reconcile(plan)?);
        }
        let variant = match self.wanted {
            IptablesVariant::Auto => self.planes.detect()?,
            IptablesVariant::Legacy => Variant::Legacy,
            IptablesVariant::NFT => Variant::Nft,
        };
        let mut plane = self.planes.open(variant)?;
        self.ledger.add(variant)?;
        let report = plane.reconcile(plan)?;
        tracing::info!(%variant, "iptables variant in use");
        let leftover = self.ledger.others(variant);
        self.current = Some((variant, plane));
        let mut reports = vec![report];
        for other in leftover {
            tracing::info!(variant = %other, "removing our rules of an earlier run");
            let mut old = self.planes.open(other)?;
            reports.extend(self.retire(other, old.as_mut(), plan)?);
        }
        Ok(sum(reports))
    }

    /// Programs the new variant whole beside the old one, and removes the old one only when the kernel holds the new.
    fn change_to(&mut self, next: Variant, plan: &Plan) -> Result<SyncReport, PlaneError> {
        let mut new = match self.planes.open(next) {
            Ok(new) => new,
            Err(error) => return self.keep(next, &error, plan),
        };
        self.ledger.add(next)?;
        let programmed =
            new.reconcile(plan)
                .and_then(|report| match new.verify()?.into_iter().next() {
                    Some(drift) => Err(DataPlaneError::NotHeld(drift)),
                    None => Ok(report),
                });
        let report = match programmed {
            Ok(report) => report,
            Err(error) => {
                log_all(next, &new.remove());
                return self.keep(next, &error, plan);
            }
        };
        let old = self.current.replace((next, new));
        tracing::info!(variant = %next, "iptables variant changed");
        let mut reports = vec![report];
        if let Some((variant, mut old)) = old {
            reports.extend(self.retire(variant, old.as_mut(), plan)?);
        }
        Ok(sum(reports))
    }

    fn keep(
        &mut self,
        refused: Variant,
        error: &DataPlaneError,
        plan: &Plan,
    ) -> Result<SyncReport, PlaneError> {
        tracing::error!(variant = %refused, %error, "iptables variant not changed: the old one stays in use");
        self.refused = Some(refused);
        self.reconcile(plan)
    }

    /// Removes the rules of a variant that is no longer used. Address sets are shared by both variants, so the current plane
    /// is compared afterwards.
    fn retire(
        &mut self,
        variant: Variant,
        old: &mut dyn DataPlane,
        plan: &Plan,
    ) -> Result<Option<SyncReport>, PlaneError> {
        let errors = old.remove();
        log_all(variant, &errors);
        if errors.iter().all(is_shared_set) {
            self.ledger.remove(variant)?;
        }
        let Some((_, current)) = &mut self.current else {
            return Ok(None);
        };
        if current.verify()?.is_empty() {
            return Ok(None);
        }
        Ok(Some(current.reconcile(plan)?))
    }

    /// Programs one change.
    pub fn apply(&mut self, plan: &Plan, change: &PlanChange) -> Result<SyncReport, PlaneError> {
        match &mut self.current {
            Some((_, plane)) => Ok(plane.apply(plan, change)?),
            None => self.reconcile(plan),
        }
    }

    /// Looks for drift by counts.
    pub fn check(&mut self) -> Result<Vec<Drift>, PlaneError> {
        Ok(self
            .current
            .as_mut()
            .map_or(Ok(Vec::new()), |(_, plane)| plane.check())?)
    }

    /// Compares everything.
    pub fn verify(&mut self) -> Result<Vec<Drift>, PlaneError> {
        Ok(self
            .current
            .as_mut()
            .map_or(Ok(Vec::new()), |(_, plane)| plane.verify())?)
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
}

fn is_shared_set(error: &DataPlaneError) -> bool {
    use sluice_kernel::address_set::AddressSetError;
    matches!(
        error,
        DataPlaneError::AddressSet(AddressSetError::InUse { .. })
    )
}

fn log_all(variant: Variant, errors: &[DataPlaneError]) {
    for error in errors.iter().filter(|e| !is_shared_set(e)) {
        tracing::warn!(%variant, %error, "something of ours could not be removed");
    }
}

fn sum(reports: Vec<SyncReport>) -> SyncReport {
    reports
        .into_iter()
        .fold(SyncReport::default(), |sum, one| SyncReport {
            transactions: sum.transactions + one.transactions,
            programs_started: sum.programs_started + one.programs_started,
            bytes_written: sum.bytes_written + one.bytes_written,
            set_entries: sum.set_entries + one.set_entries,
            flows_deleted: sum.flows_deleted + one.flows_deleted,
        })
}
