//! What differs and is found without a plan: virtual servers of ours that somebody deleted, those to be taken over, and the ledger itself.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use sluice_kernel::ipvs::VirtualServer;

use sluice_service_plan::plan::Plan;

use super::IpvsBalancer;
use super::desired::node_port_addresses;
use super::steps::to_be_taken_over;
use crate::data_plane::{DataPlaneError, Drift};

/// After a listing of everything, rest so many times as long as it took: a thousandth of a core goes into it.
const REST: u32 = 1000;
/// But no longer than this.
const LONGEST_REST: Duration = Duration::from_secs(60);

impl IpvsBalancer {
    /// What is in the kernel no longer. Listing takes a while where there is much, so it is not done at every look.
    pub(super) fn losses(&mut self) -> Result<Vec<Drift>, DataPlaneError> {
        let start = Instant::now();
        if self.next_listing.is_some_and(|due| start < due) {
            return Ok(Vec::new());
        }
        let mut drifts = self.vips.lost()?;
        drifts.extend(self.lost_servers()?);
        drifts.extend(self.servers_to_take_over()?);
        let end = Instant::now();
        self.next_listing = Some(end + ((end - start) * REST).min(LONGEST_REST));
        Ok(drifts)
    }

    /// Virtual servers that are in the ledger only.
    fn lost_servers(&mut self) -> Result<Vec<Drift>, DataPlaneError> {
        let holdings = self.ledger.read()?;
        let listed = self.servers.list()?;
        let present: HashSet<VirtualServer> = listed.iter().map(|one| one.service.server).collect();
        let lost = holdings
            .servers
            .iter()
            .filter(|server| !present.contains(&server.key));
        Ok(lost
            .map(|server| Drift {
                object: format!("virtual server {}", server.key),
                what: "is gone".to_owned(),
            })
            .collect())
    }

    /// Contested virtual servers that kube-proxy has claimed since: it makes one before its sets name it.
    fn servers_to_take_over(&mut self) -> Result<Vec<Drift>, DataPlaneError> {
        let contested = self.servers.others.contested().clone();
        if contested.is_empty() || self.retired.is_some() {
            return Ok(Vec::new());
        }
        self.believe_kube_proxy()?;
        let mut drifts = Vec::new();
        for server in contested {
            if self.servers.claimed(&server)?.is_some() {
                drifts.push(to_be_taken_over(&server));
            }
        }
        Ok(drifts)
    }

    /// Where the ledger was emptied, what this run has made must not pass for another's.
    pub(super) fn restore_ledger(&mut self) -> Result<(), DataPlaneError> {
        let Some(former) = self.plan.take() else {
            return Ok(());
        };
        let restored = self.restore_ledger_by(&former);
        self.plan = Some(former);
        restored
    }

    fn restore_ledger_by(&mut self, former: &Plan) -> Result<(), DataPlaneError> {
        if self.ledger.check()?.is_empty() {
            return Ok(());
        }
        let mut servers = self.draining.servers();
        if let Some(left) = &self.retired {
            // It has made nothing of what came since.
            servers.extend(left);
        } else {
            let node_ports = node_port_addresses(&former.node, &former.settings);
            for service in former.services.values() {
                let desired = self.desired(former, &node_ports, [service.as_ref()]);
                let keys = desired.servers.into_keys();
                servers.extend(keys.filter(|server| !self.servers.others.contain(&server.key)));
            }
        }
        servers.sort_unstable();
        servers.dedup();
        self.ledger.add_servers(&servers)?;
        self.ledger.add_addresses(&self.vips.noted())?;
        Ok(())
    }
}
