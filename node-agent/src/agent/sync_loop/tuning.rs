//! What the node must have besides rules and servers: sysctls, and what IPVS needs.

use sluice_service_plan::model::NodeFacts;

use crate::agent::ipvs_host::{IpvsHost, NotReady};
use crate::agent::tunables::Tunables;
use crate::settings::NodeSettings;

/// See the module. Whether IPVS has something of ours decides what is asked for.
pub(super) struct Tuning {
    tunables: Tunables,
    ipvs_host: IpvsHost,
    /// Sysctls are to be set after the next sync.
    is_due: bool,
}

impl Tuning {
    pub(super) fn new(tunables: Tunables, ipvs_host: IpvsHost) -> Self {
        Self {
            tunables,
            ipvs_host,
            is_due: true,
        }
    }

    pub(super) fn is_due(&self) -> bool {
        self.is_due
    }

    pub(super) fn set_due(&mut self) {
        self.is_due = true;
    }

    /// IPVS needs modules and sysctls before its first connection. An error says why it cannot be used here.
    pub(super) fn make_ready_for_ipvs(&mut self, settings: &NodeSettings) -> Result<(), NotReady> {
        self.ipvs_host.make_ready(settings, &mut self.tunables)
    }

    /// Brings back sysctls that are no longer asked for; to be called before a sync.
    pub(super) fn release(&mut self, settings: &NodeSettings, uses_ipvs: bool) {
        let more = self.sysctls_of_ipvs(settings, uses_ipvs);
        self.tunables.release(settings, &more);
    }

    /// Sets sysctls that are asked for; to be called after a sync. Returns how many are not in force.
    pub(super) fn apply(&mut self, settings: &NodeSettings, uses_ipvs: bool) -> usize {
        self.is_due = false;
        let more = self.sysctls_of_ipvs(settings, uses_ipvs);
        self.tunables.apply(settings, &more)
    }

    /// What this kernel does not do as the settings, or Services, ask, in sentences.
    pub(super) fn conditions(
        &mut self,
        settings: &NodeSettings,
        node: &NodeFacts,
        uses_ipvs: bool,
    ) -> Vec<String> {
        let mut conditions = self.tunables.conditions(node);
        if uses_ipvs {
            conditions.extend(self.ipvs_host.conditions(settings));
        }
        conditions
    }

    fn sysctls_of_ipvs(&self, settings: &NodeSettings, uses_ipvs: bool) -> Vec<(String, String)> {
        if uses_ipvs {
            self.ipvs_host.sysctls(settings)
        } else {
            Vec::new()
        }
    }
}
