//! Who picks the endpoint.

use std::time::Instant;

use sluice_kernel::links::RouteNotice;
use sluice_service_plan::plan::{Plan, PlanChange};

use crate::data_plane::{DataPlaneError, Drift, SyncReport};

pub mod iptables;
pub mod ipvs;

/// How much of a plan has to be looked at.
#[derive(Debug, Clone, Copy)]
pub enum Scope<'a> {
    /// Everything: at start, after an error, after drift.
    All,
    /// What this change says.
    Change(&'a PlanChange),
}

/// What a look after old connections did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Drained {
    /// What was written.
    pub report: SyncReport,
    /// Real servers, or whole planes of them, that still wait for their connections to end.
    pub waiting: usize,
}

/// A data plane's half that translates packets to endpoints. The other half, the [`Glue`](crate::glue::Glue), is in place before
/// and after.
pub trait Balancer: Send {
    /// Reads what of ours the kernel holds, so that only differences are written.
    fn adopt(&mut self) -> Result<(), DataPlaneError>;
    /// Before the glue's rules refuse what is of no balancer: takes note of what serves already and will be ours.
    fn take_note(&mut self, _plan: &Plan) -> Result<(), DataPlaneError> {
        Ok(())
    }
    /// Brings the kernel to the plan. Right after every step: what a step needs was made by the steps before.
    fn apply(&mut self, plan: &Plan, scope: Scope<'_>) -> Result<SyncReport, DataPlaneError>;
    /// Takes new connections.
    fn activate(&mut self) -> Result<SyncReport, DataPlaneError>;
    /// Takes no new connections; those it has go on.
    fn deactivate(&mut self) -> Result<SyncReport, DataPlaneError>;
    /// Lets go of what was kept for connections only and has none any more, or had its time. Cheap enough for every few seconds.
    fn drain(&mut self, now: Instant) -> Result<Drained, DataPlaneError>;
    /// This was lost on the node. Where it is something that we need, the next check saves nothing.
    fn doubt(&mut self, _lost: &[RouteNotice]) {}
    /// Looks for drift by counts.
    fn check(&mut self) -> Result<Vec<Drift>, DataPlaneError>;
    /// Compares everything of ours with what was programmed.
    fn verify(&mut self) -> Result<Vec<Drift>, DataPlaneError>;
    /// Virtual servers of ours in the kernel, and real servers behind them; none where balancing goes without.
    fn servers(&self) -> (u64, u64) {
        (0, 0)
    }
    /// What it does otherwise than the settings ask, in sentences.
    fn conditions(&self) -> Vec<String> {
        Vec::new()
    }
    /// Removes everything of ours; goes on after errors.
    fn remove(&mut self) -> Vec<DataPlaneError>;
}
