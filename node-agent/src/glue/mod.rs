//! What surrounds a balancer: masquerade, hairpin, source ranges, reject and drop, isolation of service addresses.

use sluice_service_plan::plan::Plan;

use crate::balancer::Scope;
use crate::data_plane::{DataPlaneError, Drift, SyncReport};

pub mod iptables;
pub mod membership;
pub mod pod_classes;
pub mod role;
pub mod sets;

/// What IPVS has to do with packets, as far as rules around it must know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IpvsPart {
    /// Nothing.
    #[default]
    None,
    /// It serves the connections that it has; new ones are another balancer's.
    Old,
    /// It takes new connections.
    New,
}

/// A data plane's half that is the same whoever balances. One change goes `prepare`, balancer, `finish`.
pub trait Glue: Send {
    /// Reads what of ours the kernel holds, so that only differences are written.
    fn adopt(&mut self) -> Result<(), DataPlaneError>;
    /// The part that IPVS has by the rules in force, as far as they are known.
    fn ipvs_part(&self) -> IpvsPart;
    /// IPVS is about to hold addresses and connections, where it had no part: the next [`prepare`](Self::prepare) puts in what these need.
    fn admit_ipvs(&mut self);
    /// Gives IPVS this part: one transaction in which the rules that lead packets to it come or go. Its address sets must be there.
    fn set_ipvs_part(&mut self, part: IpvsPart) -> Result<SyncReport, DataPlaneError>;
    /// Puts in place what must stand before the balancer changes.
    fn prepare(&mut self, plan: &Plan, scope: Scope<'_>) -> Result<SyncReport, DataPlaneError>;
    /// Takes away what had to stand until the balancer had changed.
    fn finish(&mut self) -> Result<SyncReport, DataPlaneError>;
    /// Looks for drift by counts.
    fn check(&mut self) -> Result<Vec<Drift>, DataPlaneError>;
    /// Compares everything of ours with `plan`, which was programmed.
    fn verify(&mut self, plan: &Plan) -> Result<Vec<Drift>, DataPlaneError>;
    /// Removes the rules, not the sets, which other rules may use; goes on after errors.
    fn remove_rules(&mut self) -> Vec<DataPlaneError>;
    /// Removes everything of ours; goes on after errors.
    fn remove(&mut self) -> Vec<DataPlaneError>;
}
