//! From one balancer to the other, with no connection lost.
//!
//! The new one is programmed whole beside the old one and verified. Then one transaction of the glue leads new connections to it. Connections
//! that were translated by rules need none of them any more: connection tracking remembers. Those of IPVS need their virtual servers and
//! addresses, so IPVS keeps these until they end.

use sluice_crds::v1alpha1::ActiveMode;
use sluice_service_plan::plan::Plan;

use super::NodePlane;
use crate::balancer::{Balancer, Scope};
use crate::data_plane::{DataPlane, DataPlaneError, Drain, SyncReport};
use crate::glue::{Glue, IpvsPart};
use crate::stale_flows::StaleFlows;

impl NodePlane {
    pub(super) fn switch_to(
        &mut self,
        mode: ActiveMode,
        plan: &Plan,
    ) -> Result<SyncReport, DataPlaneError> {
        let old = std::mem::replace(&mut self.mode, mode);
        if old == mode {
            return self.sync(plan, Scope::All, false);
        }
        let result = self.sync(plan, Scope::All, true);
        if result.is_err() {
            self.mode = old;
            for error in self.undo() {
                tracing::warn!(%error, "what a switch that failed left behind is removed later");
            }
        }
        result
    }

    /// The kernel must hold the new balancer before it gets a connection.
    pub(super) fn verify_or_fail(&mut self) -> Result<(), DataPlaneError> {
        match self.verify()?.into_iter().next() {
            Some(drift) => Err(DataPlaneError::NotHeld(drift)),
            None => Ok(()),
        }
    }

    /// Leads new connections to the balancer in use, whoever got them before.
    pub(super) fn take_over(&mut self) -> Result<SyncReport, DataPlaneError> {
        let mut report = SyncReport::default();
        match self.mode {
            ActiveMode::IPVS => {
                report += self.glue.set_ipvs_part(IpvsPart::New)?;
                self.retired_since = None;
                // Its connections do not need it any more.
                if self.iptables.is_present()?
                    && let Some(error) = self.iptables.remove().into_iter().next()
                {
                    return Err(error);
                }
            }
            ActiveMode::IPTables => {
                report += self.iptables.activate()?;
                let part = if self.ipvs.is_some() {
                    IpvsPart::Old
                } else {
                    IpvsPart::None
                };
                report += self.glue.set_ipvs_part(part)?;
            }
        }
        Ok(report)
    }

    /// Takes the new balancer away; the old one was not touched.
    fn undo(&mut self) -> Vec<DataPlaneError> {
        match self.mode {
            ActiveMode::IPTables => {
                let part = self.glue.set_ipvs_part(IpvsPart::None);
                let mut errors: Vec<_> = part.err().into_iter().collect();
                errors.extend(self.remove_ipvs());
                errors
            }
            ActiveMode::IPVS => self.iptables.remove(),
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
        if drained.waiting == 0 || over {
            tracing::info!(
                connections_cut = drained.waiting > 0,
                "IPVS has no connection left: removing what is ours of it"
            );
            report += self.give_up_ipvs()?;
        }
        Ok(report)
    }

    /// A steady UDP sender has no new connection by itself: its entry in connection tracking must go with its virtual server.
    fn give_up_ipvs(&mut self) -> Result<SyncReport, DataPlaneError> {
        let mut report = self.glue.set_ipvs_part(IpvsPart::None)?;
        if let Some(error) = self.remove_ipvs().into_iter().next() {
            return Err(error);
        }
        self.retired_since = None;
        let flows = StaleFlows::of_services(self.plan.services.values().map(AsRef::as_ref));
        report.flows_deleted +=
            flows.delete_balanced_by_ipvs(&self.plan.node, self.conntrack.as_mut())? as u64;
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
