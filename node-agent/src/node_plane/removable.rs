//! iptables for who removes: a table that this node lacks holds nothing.

use sluice_kernel::iptables::{
    Family, Iptables, IptablesError, IptablesPrograms, Listed, Stamp, Table, Variant,
};

/// See the module.
pub(super) struct Removable(pub(super) IptablesPrograms);

impl Iptables for Removable {
    fn variant(&self) -> Variant {
        self.0.variant()
    }

    fn restore(&mut self, family: Family, input: &str) -> Result<(), IptablesError> {
        self.0.restore(family, input)
    }

    fn list(
        &mut self,
        family: Family,
        table: Table,
        on_item: &mut dyn FnMut(Listed<'_>),
    ) -> Result<(), IptablesError> {
        match self.0.list(family, table, on_item) {
            Err(error) if error.is_lack() => Ok(()),
            listed => listed,
        }
    }

    fn stamp(&mut self) -> Option<Stamp> {
        self.0.stamp()
    }

    fn programs_started(&self) -> u64 {
        self.0.programs_started()
    }

    fn bytes_written(&self) -> u64 {
        self.0.bytes_written()
    }
}
