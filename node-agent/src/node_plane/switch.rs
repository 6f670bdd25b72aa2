//! From one balancer to the other, with no connection lost.
//!
//! The new one is programmed whole beside the old one and verified. Then one transaction of the glue leads new connections to it. Connections
//! that were translated by rules need none of them any more: connection tracking remembers. Those of IPVS need their virtual servers and
//! addresses, so IPVS keeps these until they end.

use sluice_crds::v1alpha1::ActiveMode;
use sluice_service_plan::plan::Plan;

use super::balanced_flows::BalancedFlows;
use super::{NodePlane, log_left_behind};
use crate::balancer::{Balancer, Scope};
use crate::data_plane::{DataPlane, DataPlaneError, Drain, SyncReport};
use crate::glue::{Glue, IpvsPart};

impl NodePlane {
    pub(super) fn switch_to(
        &mut self,
        mode: ActiveMode,
        plan: &Plan,
    ) -> Result<SyncReport, DataPlaneError> {
        // What is verified later must not lag behind in anything that the two share.
        let synced = self.sync(plan, Scope::All, false);
        let mut report = synced.map_err(|error| DataPlaneError::BeforeSwitch(Box::new(error)))?;
        if self.mode == mode {
            return Ok(report);
        }
        let old = std::mem::replace(&mut self.mode, mode);
        let kept = self.glue.ipvs_part();
        match self.sync(plan, Scope::All, true) {
            Ok(more) => report += more,
            // It serves. What is left to do is the next sync's.
            Err(error) if self.has_taken_over() => return Err(error),
            Err(error) => {
                self.mode = old;
                log_left_behind(&self.undo(kept));
                return Err(error);
            }
        }
        Ok(report)
    }

    /// The kernel must hold the new balancer before it gets a connection.
    pub(super) fn verify_or_fail(&mut self) -> Result<(), DataPlaneError> {
        match self.verify()?.into_iter().next() {
            Some(drift) => Err(DataPlaneError::NotHeld(drift)),
            None => Ok(()),
        }
    }

    /// Leads new connections to the balancer in use, whoever got them before.
    pub(super) fn lead_new_connections(&mut self) -> Result<SyncReport, DataPlaneError> {
        match self.mode {
            ActiveMode::IPVS => self.glue.set_ipvs_part(IpvsPart::New),
            ActiveMode::IPTables => self.iptables.activate(),
        }
    }

    fn has_taken_over(&self) -> bool {
        match self.mode {
            ActiveMode::IPVS => self.glue.ipvs_part() == IpvsPart::New,
            ActiveMode::IPTables => self.iptables.is_active(),
        }
    }

    /// Removes the balancer that is not in use, or lets it keep its connections.
    pub(super) fn retire_the_other(&mut self) -> Result<SyncReport, DataPlaneError> {
        if self.mode == ActiveMode::IPVS {
            self.retired_since = None;
            self.flows_moved = false;
            // Its connections do not need it any more.
            let errors = if self.iptables.is_present()? {
                self.iptables.remove()
            } else {
                Vec::new()
            };
            // A set that rules of the other variant use goes with a later full sync, when they are gone.
            let mut errors = errors.into_iter().filter(|error| !error.is_set_in_use());
            return errors.next().map_or_else(|| Ok(SyncReport::default()), Err);
        }
        let Some(ipvs) = &mut self.ipvs else {
            return self.glue.set_ipvs_part(IpvsPart::None);
        };
        let mut report = self.glue.set_ipvs_part(IpvsPart::Old)?;
        report += ipvs.deactivate()?;
        Ok(report)
    }

    /// Takes the new balancer away. `kept` is the part that IPVS had before.
    fn undo(&mut self, kept: IpvsPart) -> Vec<DataPlaneError> {
        if self.mode == ActiveMode::IPVS {
            return self.iptables.remove();
        }
        // Where rules may lead to it still, it has to stay.
        if let Err(error) = self.glue.set_ipvs_part(kept) {
            return vec![error];
        }
        match &mut self.ipvs {
            Some(ipvs) if kept == IpvsPart::Old => ipvs.deactivate().err().into_iter().collect(),
            _ => self.remove_ipvs(),
        }
    }

    pub(super) fn let_go(&mut self, drain: Drain) -> Result<SyncReport, DataPlaneError> {
        let Some(ipvs) = &mut self.ipvs else {
            return Ok(SyncReport::default());
        };
        let drained = ipvs.drain(drain.now)?;
        let mut report = drained.report;
        if self.mode == ActiveMode::IPVS {
            return Ok(report);
        }
        let since = *self.retired_since.get_or_insert(drain.now);
        let over = drain
            .timeout
            .is_some_and(|timeout| drain.now.duration_since(since) >= timeout);
        if drained.waiting > 0 && !over {
            return Ok(report);
        }
        // While IPVS is there, an answer that is under way at this moment still finds its client; with the next look it goes.
        report.flows_deleted += self.move_flows()?;
        if std::mem::replace(&mut self.flows_moved, true) {
            tracing::info!(
                connections_cut = drained.waiting > 0,
                "removing what is ours of IPVS: its connections have ended, or had their time"
            );
            report += self.give_up_ipvs()?;
        }
        Ok(report)
    }

    /// Whoever sends steadily to IPVS has no new connection by itself: without its entry in connection tracking, it is led by rules.
    fn move_flows(&mut self) -> Result<u64, DataPlaneError> {
        let flows = BalancedFlows::of_services(self.plan.services.values().map(AsRef::as_ref));
        Ok(flows.delete(&self.plan.node, self.conntrack.as_mut())? as u64)
    }

    fn give_up_ipvs(&mut self) -> Result<SyncReport, DataPlaneError> {
        let mut report = self.glue.set_ipvs_part(IpvsPart::None)?;
        if let Some(error) = self.remove_ipvs().into_iter().next() {
            return Err(error);
        }
        self.retired_since = None;
        self.flows_moved = false;
        report.flows_deleted += self.move_flows()?;
        self.glue.note_references()?;
        Ok(report)
    }

    pub(super) fn remove_ipvs(&mut self) -> Vec<DataPlaneError> {
        let mut ipvs = match self.ipvs.take() {
            Some(ipvs) => ipvs,
            None => match self.ipvs_door.is_left() {
                Ok(false) => return Vec::new(),
                Ok(true) => match self.ipvs_door.open() {
                    Ok(ipvs) => ipvs,
                    Err(error) => return vec![error],
                },
                Err(error) => return vec![error],
            },
        };
        let errors = ipvs.remove();
        if !errors.is_empty() {
            self.ipvs = Some(ipvs);
        }
        errors
    }
}
