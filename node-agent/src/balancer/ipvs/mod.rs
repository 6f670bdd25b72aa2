//! The kernel's IPVS picks the endpoint.
//!
//! [`desired`] says which virtual servers a plan asks for, [`found`] what of ours the kernel holds, [`steps`] how to get from the
//! one to the other. IPVS has no transactions: the steps are taken in an order in which each is right.

use std::collections::{BTreeSet, HashSet};
use std::time::{Duration, Instant};

use sluice_kernel::address_set::{AddressSets, Entry};
use sluice_kernel::ipvs::{Change, Ipvs, ListedDestination};
use sluice_kernel::links::{Links, RouteNotice};
use sluice_service_plan::model::{Family, IpvsSettings};
use sluice_service_plan::plan::Plan;

use super::{Balancer, Drained, Scope};
use crate::data_plane::{DataPlaneError, Drift, SyncReport};
use draining::Draining;
use ledger::Ledger;
use marks::Marks;
use server::Server;
use servers::Servers;
use vips::Vips;

mod comparison;
mod desired;
mod device;
mod draining;
mod found;
pub mod kube_proxy_left;
mod ledger;
mod losses;
mod marks;
pub mod names;
mod others;
mod own_connections;
mod program;
pub mod readback;
mod removal;
mod server;
mod servers;
mod steps;
mod vips;
mod write;

/// The kernel doors that the balancer writes through.
pub struct Doors {
    /// Virtual servers.
    pub ipvs: Box<dyn Ipvs>,
    /// The device, addresses and routes of services.
    pub links: Box<dyn Links>,
    /// The sets that tell what is ours.
    pub sets: Box<dyn AddressSets>,
}

/// See the module.
pub struct IpvsBalancer {
    servers: Servers,
    ledger: Ledger,
    vips: Vips,
    marks: Marks,
    draining: Draining,
    /// Services' own addresses, with the port, among those that serve node ports.
    explicit: HashSet<Entry>,
    /// What was programmed last.
    plan: Option<Plan>,
    /// Real servers that it asks for.
    real_servers: u64,
    /// What is left, since another balancer takes the new connections.
    retired: Option<BTreeSet<Server>>,
    /// Before it nothing is listed just to see that it is there.
    next_listing: Option<Instant>,
}

impl IpvsBalancer {
    /// A balancer of these families that writes through these doors. It writes nothing until it is told to.
    pub fn new(doors: Doors, families: &[Family]) -> Self {
        Self {
            servers: Servers::new(doors.ipvs),
            ledger: Ledger::new(doors.sets, families),
            vips: Vips::new(doors.links),
            marks: Marks::default(),
            draining: Draining::default(),
            explicit: HashSet::new(),
            plan: None,
            real_servers: 0,
            retired: None,
            next_listing: None,
        }
    }

    /// The virtual servers whose connections have ended. Flows without end are [`remove`](Balancer::remove)d with the rest.
    fn drain_retired(
        &mut self,
        left: &mut BTreeSet<Server>,
    ) -> Result<Vec<Server>, DataPlaneError> {
        let mut gone = Vec::new();
        for server in left.iter().filter(|server| server.lets_end()) {
            let listed = self.servers.destinations(&server.key)?.unwrap_or_default();
            let in_use = |found: &ListedDestination| {
                found.connections.active + found.connections.inactive > 0
            };
            if !listed.iter().any(in_use) {
                gone.push(*server);
            }
        }
        left.retain(|server| !gone.contains(server));
        Ok(gone)
    }
}

impl Balancer for IpvsBalancer {
    fn adopt(&mut self) -> Result<(), DataPlaneError> {
        self.ledger.open()?;
        Ok(self.vips.open()?)
    }

    fn take_note(&mut self, plan: &Plan) -> Result<(), DataPlaneError> {
        self.note_claimed(plan)
    }

    fn apply(&mut self, plan: &Plan, scope: Scope<'_>) -> Result<SyncReport, DataPlaneError> {
        // It is known again once all was written.
        let former = self.plan.take();
        let (report, plan) = match (scope, former) {
            (Scope::Change(change), Some(mut former))
                if !program::differs_everywhere(&former, plan) =>
            {
                let report = self.program_change(&former, plan, change)?;
                former.follow(plan, change);
                (report, former)
            }
            (_, former) => {
                self.plan = former;
                self.restore_ledger()?;
                self.plan = None;
                (self.program_all(plan)?, plan.clone())
            }
        };
        self.plan = Some(plan);
        Ok(report)
    }

    /// One that was retired is programmed with all that came meanwhile.
    fn activate(&mut self) -> Result<SyncReport, DataPlaneError> {
        match (self.retired.take(), self.plan.take()) {
            (Some(_), Some(plan)) => {
                let report = self.program_all(&plan)?;
                self.plan = Some(plan);
                Ok(report)
            }
            (_, plan) => {
                self.plan = plan;
                Ok(SyncReport::default())
            }
        }
    }

    /// New connections are kept away by others. From now on nothing is added, and what has no connections goes.
    fn deactivate(&mut self) -> Result<SyncReport, DataPlaneError> {
        if self.retired.is_none() {
            let holdings = self.ledger.read()?;
            self.ledger.note_sizes()?;
            if self.plan.is_none() {
                let claims = self.ledger.claims_of_kube_proxy()?;
                self.vips.resume(&holdings, &claims)?;
            }
            self.retired = Some(holdings.servers.into_iter().collect());
        }
        Ok(SyncReport::default())
    }

    fn drain(&mut self, now: Instant) -> Result<Drained, DataPlaneError> {
        let mut report = SyncReport::default();
        let grace = Duration::from_secs(self.settings().grace_seconds.into());
        let mut changes = Vec::new();
        let mut gone = BTreeSet::new();
        for server in self.draining.servers() {
            let listed = self.servers.destinations(&server.key)?;
            let late = |since| now.saturating_duration_since(since) >= grace;
            let ended = self.draining.look(server, listed.as_deref(), late, now);
            changes.extend(ended.changes);
            if let Some(addresses) = ended.server {
                gone.insert(server);
                for ip in addresses {
                    self.vips.release(ip);
                }
            }
        }
        let mut waiting = self.draining.waiting();
        if let Some(mut left) = self.retired.take() {
            left.retain(|server| !gone.contains(server));
            let ended = self.drain_retired(&mut left)?;
            waiting = left.iter().filter(|server| server.lets_end()).count();
            self.retired = Some(left);
            for server in &ended {
                changes.push(Change::DeleteService(server.key));
                let addresses = self.draining.remove(server);
                for ip in addresses {
                    self.vips.release(ip);
                }
            }
            gone.extend(ended);
        }
        report += self.let_go(&changes, &gone)?;
        report += self.bind_refused()?;
        Ok(Drained { report, waiting })
    }

    fn doubt(&mut self, lost: &[RouteNotice]) {
        if lost.iter().any(|notice| self.vips.needs(notice)) {
            self.next_listing = None;
        }
    }

    fn check(&mut self) -> Result<Vec<Drift>, DataPlaneError> {
        if self.plan.is_none() && self.retired.is_none() {
            return Ok(Vec::new());
        }
        let mut drifts = self.count()?;
        if drifts.is_empty() {
            drifts.extend(self.losses()?);
        }
        Ok(drifts)
    }

    /// One that was retired is not as its plan says.
    fn verify(&mut self) -> Result<Vec<Drift>, DataPlaneError> {
        if self.retired.is_some() {
            return self.check();
        }
        let Some(plan) = self.plan.take() else {
            return Ok(Vec::new());
        };
        let drifts = self.count_or_compare(&plan);
        self.plan = Some(plan);
        drifts
    }

    fn servers(&self) -> (u64, u64) {
        let draining = self.draining.waiting() as u64;
        (self.ledger.servers(), self.real_servers + draining)
    }

    fn conditions(&self) -> Vec<String> {
        let servers = self.servers.conditions();
        servers.chain(self.vips.conditions()).collect()
    }

    fn remove(&mut self) -> Vec<DataPlaneError> {
        self.remove_all()
    }
}

impl IpvsBalancer {
    fn count(&mut self) -> Result<Vec<Drift>, DataPlaneError> {
        let mut drifts = self.vips.check()?;
        drifts.extend(self.ledger.check()?);
        Ok(drifts)
    }

    fn settings(&self) -> IpvsSettings {
        let plan = self.plan.as_ref();
        plan.map(|plan| plan.settings.ipvs.clone())
            .unwrap_or_default()
    }
}
