//! Takes the steps.

use std::collections::BTreeSet;

use sluice_kernel::address_set::Family;
use sluice_kernel::ipvs::Change;

use super::IpvsBalancer;
use super::server::Server;
use super::steps::{Steps, address};
use crate::data_plane::{DataPlaneError, SyncReport};

impl IpvsBalancer {
    /// Takes these steps. Addresses that nobody needs after them stay until things are [settled](Self::settle).
    pub(super) fn carry_out(&mut self, mut steps: Steps) -> Result<SyncReport, DataPlaneError> {
        let commands = self.servers.written();
        let mut report = SyncReport::default();
        report.set_entries += self.ledger.add_servers(&steps.created)?;
        report.set_entries += self.ledger.add_servers(&steps.taken_over)?;
        self.servers.others.were_taken_over(&steps.taken_over);
        let foreign = self.servers.write_services(&steps.services)?;
        if !foreign.is_empty() {
            let is_foreign = |server: &&Server| foreign.contains(&server.key);
            let others: BTreeSet<Server> =
                steps.created.iter().filter(is_foreign).copied().collect();
            let others_list: Vec<Server> = others.iter().copied().collect();
            report.set_entries += self.ledger.delete_servers(&others_list)?;
            steps.leave_alone(&others);
        }
        self.servers.write_arrivals(&steps.arrivals)?;
        steps.needed_addresses().for_each(|ip| self.vips.claim(ip));
        report += self.bind()?;
        report.set_entries += self.ledger.mark(&steps.marked)?;
        report.set_entries += self.ledger.remark(&steps.remarked)?;
        report.set_entries += self.ledger.unmark(&steps.unmarked)?;
        self.servers.write_departures(&steps.departures)?;

        for leaving in &steps.leaving {
            for ip in self.draining.put(leaving) {
                self.vips.release(ip);
            }
        }
        for (entry, mark) in &steps.unmarked {
            let Some(ip) = address(entry) else { continue };
            // Connections that came by the mark go on; their packets still have to be the node's.
            for server in self.marks.servers_of(entry, *mark) {
                if self.draining.keep_address(&server, ip) {
                    self.vips.claim(ip);
                }
            }
            self.vips.release(ip);
        }
        let mut gone = steps.deleted;
        let addresses = gone.iter().filter_map(Server::address);
        addresses.for_each(|ip| self.vips.release(ip));
        gone.extend(steps.struck);
        if let Some(left) = &mut self.retired {
            left.retain(|server| !gone.contains(server));
        }
        report.set_entries += self.ledger.delete_servers(&gone)?;
        report.ipvs_commands += self.servers.written() - commands;
        Ok(report)
    }

    /// Binds what is to be bound, and lets go of what nobody needs.
    pub(super) fn settle(&mut self) -> Result<SyncReport, DataPlaneError> {
        let mut report = self.bind()?;
        report += self.unbind()?;
        Ok(report)
    }

    /// Writes the end of some connections: changes, and the virtual servers that went with them.
    pub(super) fn let_go(
        &mut self,
        changes: &[Change],
        gone: &BTreeSet<Server>,
    ) -> Result<SyncReport, DataPlaneError> {
        self.servers.write_departures(changes)?;
        let addresses = gone.iter().filter_map(Server::address);
        addresses.for_each(|ip| self.vips.release(ip));
        let mut report = self.unbind()?;
        let gone: Vec<Server> = gone.iter().copied().collect();
        report.set_entries += self.ledger.delete_servers(&gone)?;
        report.ipvs_commands += changes.len() as u64;
        Ok(report)
    }

    /// Of virtual servers by mark nobody knows any more over which addresses their connections come: it may be any of these.
    pub(super) fn keep_addresses(&mut self) {
        let addresses = self.vips.only_kept();
        for server in self.draining.without_addresses() {
            for ip in &addresses {
                let same_family = Family::of(*ip) == server.key.family();
                if same_family && self.draining.keep_address(&server, *ip) {
                    self.vips.claim(*ip);
                }
            }
        }
    }

    /// Tries again to bind what the kernel refused.
    pub(super) fn bind_refused(&mut self) -> Result<SyncReport, DataPlaneError> {
        self.vips.touch_refused();
        self.bind()
    }

    fn bind(&mut self) -> Result<SyncReport, DataPlaneError> {
        let addresses = self.vips.to_bind();
        let new = self.vips.note(&addresses);
        Ok(SyncReport {
            set_entries: self.ledger.add_addresses(&new)?,
            bindings: self.vips.bind(&addresses)?,
            ..SyncReport::default()
        })
    }

    fn unbind(&mut self) -> Result<SyncReport, DataPlaneError> {
        let (addresses, bindings) = self.vips.unbind()?;
        Ok(SyncReport {
            set_entries: self.ledger.delete_addresses(&addresses)?,
            bindings,
            ..SyncReport::default()
        })
    }
}
