//! What the agent's main loop asks of the kernel side, whatever mode it runs in.

use std::fmt;

use sluice_service_plan::plan::{Plan, PlanChange};

/// What one call did to the kernel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SyncReport {
    /// Kernel transactions: runs of iptables-restore that changed something.
    pub transactions: u64,
    /// Programs started, listings included.
    pub programs_started: u64,
    /// Bytes sent to those programs.
    pub bytes_written: u64,
    /// Set entries added and deleted.
    pub set_entries: u64,
    /// Conntrack entries deleted.
    pub flows_deleted: u64,
}

impl SyncReport {
    /// Nothing was written to the kernel.
    pub fn is_noop(&self) -> bool {
        self.transactions == 0 && self.set_entries == 0 && self.flows_deleted == 0
    }
}

/// How much stands in the kernel now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Programmed {
    /// Chains of ours, both families.
    pub chains: u64,
    /// Rules of ours, both families.
    pub rules: u64,
    /// Address sets of ours.
    pub sets: u64,
    /// Entries in them, affinity apart.
    pub set_entries: u64,
}

/// One thing in the kernel that is not as we left it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// The object, for a person: `chain SLUICE-SERVICES of IPv4 nat`.
    pub object: String,
    /// What is wrong with it.
    pub what: String,
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.object, self.what)
    }
}

/// Errors of [`DataPlane`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataPlaneError {
    /// The packet filter.
    #[error(transparent)]
    Iptables(#[from] sluice_kernel::iptables::IptablesError),
    /// Address sets.
    #[error(transparent)]
    AddressSet(#[from] sluice_kernel::address_set::AddressSetError),
    /// Connection tracking.
    #[error(transparent)]
    Conntrack(#[from] sluice_kernel::conntrack::ConntrackError),
    /// Sysctls.
    #[error(transparent)]
    Sysctl(#[from] sluice_kernel::sysctl::SysctlError),
    /// After a successful write the kernel does not hold what was written.
    #[error("the kernel does not hold what was programmed: {0}")]
    NotHeld(Drift),
}

/// The kernel side as the main loop sees it. All calls block.
pub trait DataPlane: Send {
    /// Reads what of ours is in the kernel, and changes only what differs from `plan`. Serves start, and repair after drift or an error.
    fn reconcile(&mut self, plan: &Plan) -> Result<SyncReport, DataPlaneError>;
    /// Programs one change. `plan` is the plan after it. After an error, call [`reconcile`](Self::reconcile).
    fn apply(&mut self, plan: &Plan, change: &PlanChange) -> Result<SyncReport, DataPlaneError>;
    /// Looks for drift by counts only: cheap enough for every few seconds.
    fn check(&mut self) -> Result<Vec<Drift>, DataPlaneError>;
    /// Compares everything of ours in the kernel with what was programmed; writes nothing.
    fn verify(&mut self) -> Result<Vec<Drift>, DataPlaneError>;
    /// Sizes of what was programmed.
    fn programmed(&self) -> Programmed;
    /// Removes everything of ours, and only that; goes on after errors and returns them all.
    fn remove(&mut self) -> Vec<DataPlaneError>;
}
