//! What the agent's main loop asks of the kernel side, whatever mode it runs in.

use std::fmt;
use std::ops::AddAssign;
use std::time::{Duration, Instant};

use sluice_crds::v1alpha1::ActiveMode;
use sluice_kernel::address_set::AddressSetError;
use sluice_kernel::iptables::{Family, IptablesError};
use sluice_kernel::ipvs::{Cause, IpvsError};
use sluice_kernel::links::{LinkError, RouteNotice};
use sluice_service_plan::plan::{Plan, PlanChange};

use crate::tally::Tally;

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
    /// Commands sent to IPVS.
    pub ipvs_commands: u64,
    /// Routes and addresses of virtual servers that came or went.
    pub bindings: u64,
    /// Conntrack entries deleted.
    pub flows_deleted: u64,
}

impl SyncReport {
    /// Nothing was written to the kernel.
    pub fn is_noop(&self) -> bool {
        self.transactions == 0
            && self.set_entries == 0
            && self.ipvs_commands == 0
            && self.bindings == 0
            && self.flows_deleted == 0
    }
}

impl AddAssign for SyncReport {
    fn add_assign(&mut self, other: Self) {
        self.transactions += other.transactions;
        self.programs_started += other.programs_started;
        self.bytes_written += other.bytes_written;
        self.set_entries += other.set_entries;
        self.ipvs_commands += other.ipvs_commands;
        self.bindings += other.bindings;
        self.flows_deleted += other.flows_deleted;
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
    /// Virtual servers of ours.
    pub virtual_servers: u64,
    /// Real servers behind them.
    pub real_servers: u64,
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
    AddressSet(#[from] AddressSetError),
    /// Connection tracking.
    #[error(transparent)]
    Conntrack(#[from] sluice_kernel::conntrack::ConntrackError),
    /// IPVS.
    #[error(transparent)]
    Ipvs(#[from] sluice_kernel::ipvs::IpvsError),
    /// One change of IPVS; the others were made.
    #[error(transparent)]
    IpvsRefused(#[from] Box<sluice_kernel::ipvs::Refused>),
    /// Links, addresses and routes.
    #[error(transparent)]
    Links(#[from] sluice_kernel::links::LinkError),
    /// Sysctls.
    #[error(transparent)]
    Sysctl(#[from] sluice_kernel::sysctl::SysctlError),
    /// The balancer in use could not be brought to the plan before another took its place: this says nothing of the other one.
    #[error(transparent)]
    BeforeSwitch(Box<Self>),
    /// After a successful write the kernel does not hold what was written.
    #[error("the kernel does not hold what was programmed: {0}")]
    NotHeld(Drift),
}

impl DataPlaneError {
    /// This kernel has no IPVS, or not what it takes: another try would not mend it.
    pub fn is_lack_of_ipvs(&self) -> bool {
        match self {
            Self::Ipvs(error) => matches!(error, IpvsError::Absent | IpvsError::NotPermitted),
            Self::IpvsRefused(refused) => {
                matches!(refused.cause, Cause::NoSuchFamily | Cause::NotPermitted)
            }
            Self::Links(error) => matches!(
                error,
                LinkError::NoDummyDevice { .. }
                    | LinkError::OtherKind { .. }
                    | LinkError::NotPermitted { .. }
            ),
            Self::Iptables(error) => matches!(
                error,
                IptablesError::Refused { .. } | IptablesError::Unsupported { .. }
            ),
            _ => false,
        }
    }

    /// This node lacks what the iptables variant takes, or the variant what our rules take: another try would not mend it.
    pub fn is_lack_of_variant(&self) -> bool {
        match self {
            Self::Iptables(error) => {
                error.is_lack() || matches!(error, IptablesError::Refused { .. })
            }
            _ => false,
        }
    }

    /// Rules use a set that was to be destroyed.
    pub fn is_set_in_use(&self) -> bool {
        matches!(self, Self::AddressSet(AddressSetError::InUse { .. }))
    }
}

/// The kernel side as the main loop sees it. All calls block.
pub trait DataPlane: Send {
    /// Who picks endpoints.
    fn mode(&self) -> ActiveMode;
    /// The families that are served: of others there are neither rules nor sets.
    fn families(&self) -> Vec<Family>;
    /// Puts another balancer in the place of the present one: programs it whole beside it, verifies it, gives it the new connections, and lets
    /// the old one keep those that it has. After an error [`mode`](Self::mode) tells who serves. Where that is the old one, nothing is left
    /// of the new; where it is the new one, [`reconcile`](Self::reconcile) ends what is left to do.
    fn switch(&mut self, mode: ActiveMode, plan: &Plan) -> Result<SyncReport, DataPlaneError>;
    /// Reads what of ours is in the kernel, and changes only what differs from `plan`. Serves start, and repair after drift or an error.
    fn reconcile(&mut self, plan: &Plan) -> Result<SyncReport, DataPlaneError>;
    /// Programs one change. `plan` is the plan after it. After an error, call [`reconcile`](Self::reconcile).
    fn apply(&mut self, plan: &Plan, change: &PlanChange) -> Result<SyncReport, DataPlaneError>;
    /// Lets go of what was kept for old connections only: of servers and of a whole balancer. Cheap enough for every few seconds.
    fn drain(&mut self, drain: Drain) -> Result<SyncReport, DataPlaneError>;
    /// Looks for drift by counts only: cheap enough for every few seconds.
    fn check(&mut self) -> Result<Vec<Drift>, DataPlaneError>;
    /// This was lost on the node. Where it is something that we need, the next check saves nothing.
    fn doubt(&mut self, _lost: &[RouteNotice]) {}
    /// Compares everything of ours in the kernel with what was programmed; writes nothing.
    fn verify(&mut self) -> Result<Vec<Drift>, DataPlaneError>;
    /// Sizes of what was programmed.
    fn programmed(&self) -> Programmed;
    /// What was counted since the last call, beside what the reports say.
    fn tally(&mut self) -> Tally;
    /// What is done otherwise than the settings ask, in sentences.
    fn conditions(&self) -> Vec<String>;
    /// IPVS has something of ours: it balances, or keeps old connections.
    fn uses_ipvs(&self) -> bool;
    /// Removes the rules of this iptables variant, and leaves what another variant's rules may share; goes on after errors.
    fn remove_rules(&mut self) -> Vec<DataPlaneError>;
    /// Removes everything of ours, and only that; goes on after errors and returns them all.
    fn remove(&mut self) -> Vec<DataPlaneError>;
}

/// When old connections have had their time.
#[derive(Debug, Clone, Copy)]
pub struct Drain {
    /// Now.
    pub now: Instant,
    /// How long a balancer that takes no new connections keeps its old ones; absent: until the last one ends.
    pub timeout: Option<Duration>,
}
