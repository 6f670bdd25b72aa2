//! The kernel beside the whole of a plan.

use std::collections::HashSet;

use sluice_service_plan::plan::Plan;

use super::IpvsBalancer;
use super::desired::node_port_addresses;
use super::found::Found;
use super::steps::Steps;
use crate::data_plane::{DataPlaneError, Drift};

impl IpvsBalancer {
    /// By a ledger that somebody emptied nobody can tell what is ours.
    pub(super) fn count_or_compare(&mut self, plan: &Plan) -> Result<Vec<Drift>, DataPlaneError> {
        let drifts = self.count()?;
        if drifts.is_empty() {
            self.compare_all(plan)
        } else {
            Ok(drifts)
        }
    }

    /// What the kernel would have to be told, were it programmed anew.
    fn compare_all(&mut self, plan: &Plan) -> Result<Vec<Drift>, DataPlaneError> {
        let (mut found, others) = Found::read(&mut self.servers, &mut self.ledger)?;
        if !others.is_empty() {
            self.believe_kube_proxy()?;
        }
        let ours = found.addresses.clone();
        let node_ports = node_port_addresses(&plan.node, &plan.settings);
        self.see_others(plan, &node_ports, others);
        let mut needed = HashSet::new();
        let mut drifts = Vec::new();
        let mut steps = Steps::default();
        for service in plan.services.values() {
            let desired = self.desired(plan, &node_ports, [service.as_ref()]);
            found.compare(&desired, &mut self.servers, &mut steps)?;
            needed.extend(steps.needed_addresses());
            // These are conditions, and tried again with the next change of everything.
            steps
                .arrivals
                .retain(|change| !self.servers.has_refused(change));
            drifts.extend(std::mem::take(&mut steps).into_drifts());
        }
        found.compare_rest(&mut self.servers, &self.vips, &mut steps)?;
        needed.extend(steps.needed_addresses());
        drifts.extend(steps.into_drifts());
        drifts.extend(self.vips.verify(&needed, &ours)?);
        Ok(drifts)
    }
}
