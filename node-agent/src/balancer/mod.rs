//! Who picks the endpoint.

use sluice_service_plan::plan::{Plan, PlanChange};

use crate::data_plane::{DataPlaneError, Drift, SyncReport};

pub mod iptables;

/// How much of a plan has to be looked at.
#[derive(Debug, Clone, Copy)]
pub enum Scope<'a> {
    /// Everything: at start, after an error, after drift.
    All,
    /// What this change says.
    Change(&'a PlanChange),
}

/// A data plane's half that translates packets to endpoints. The other half, the [`Glue`](crate::glue::Glue), is in place before
/// and after.
pub trait Balancer: Send {
    /// Reads what of ours the kernel holds, so that only differences are written.
    fn adopt(&mut self) -> Result<(), DataPlaneError>;
    /// Brings the kernel to the plan. Right after every step: what a step needs was made by the steps before.
    fn apply(&mut self, plan: &Plan, scope: Scope<'_>) -> Result<SyncReport, DataPlaneError>;
    /// Takes new connections.
    fn activate(&mut self) -> Result<SyncReport, DataPlaneError>;
    /// Takes no new connections; those it has go on.
    fn deactivate(&mut self) -> Result<SyncReport, DataPlaneError>;
    /// Looks for drift by counts.
    fn check(&mut self) -> Result<Vec<Drift>, DataPlaneError>;
    /// Compares everything of ours with what was programmed.
    fn verify(&mut self) -> Result<Vec<Drift>, DataPlaneError>;
    /// Removes everything of ours; goes on after errors.
    fn remove(&mut self) -> Vec<DataPlaneError>;
}
