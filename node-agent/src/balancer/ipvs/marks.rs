//! Firewall marks: one for each service port whose inside clients have a pool of their own.

use std::collections::{HashMap, HashSet};
use std::num::NonZeroU32;

use sluice_kernel::address_set::{Entry, Family};
use sluice_service_plan::plan::{PortKey, PortPlan};

use super::names::mark_tag;
use super::server::Server;
use crate::ruleset::stable_hash;

/// Which service port has which mark. A mark is a hash of the port, so a restart finds the same; where two hashes meet, the
/// marks in the kernel say who has which.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// Number of the bit that means "masquerade".
    bit: u8,
    of: HashMap<PortKey, u32>,
    taken: HashSet<u32>,
}

impl Marks {
    /// Forgets all marks, and keeps this bit out of those to come.
    pub(super) fn restart(&mut self, mark_bit: u8) {
        self.bit = mark_bit;
        self.of.clear();
        self.taken.clear();
    }

    /// Gives a port a mark if it needs one: that of one of its frontends in `held`, where there is one.
    pub(super) fn assign(
        &mut self,
        port: &PortPlan,
        frontends: &[Entry],
        held: &HashMap<Entry, u32>,
    ) {
        if !needs_mark(port) || self.of.contains_key(&port.key) {
            return;
        }
        let usable = |mark: &u32| self.is_ours(*mark) && !self.taken.contains(mark);
        let former = frontends.iter().filter_map(|frontend| held.get(frontend));
        let former = former.copied().find(usable);
        let mark = former.unwrap_or_else(|| self.free_mark(&port.key));
        self.of.insert(port.key.clone(), mark);
        self.taken.insert(mark);
    }

    /// Takes the mark of a port back.
    pub(super) fn release(&mut self, port: &PortKey) {
        if let Some(mark) = self.of.remove(port) {
            self.taken.remove(&mark);
        }
    }

    /// The mark of a port's inside clients, and the one that they have where their packets are masqueraded too.
    pub(super) fn of(&self, port: &PortKey) -> Option<[NonZeroU32; 2]> {
        let mark = *self.of.get(port)?;
        Some([
            NonZeroU32::new(mark)?,
            NonZeroU32::new(mark | (1 << self.bit))?,
        ])
    }

    /// The virtual servers that a marked frontend leads to.
    pub(super) fn servers_of(&self, frontend: &Entry, mark: u32) -> Vec<Server> {
        let Entry::IpPort(ip, protocol, _) = frontend else {
            return Vec::new();
        };
        let marks = [mark, mark | (1 << self.bit)].into_iter();
        let marks = marks.filter_map(NonZeroU32::new);
        marks
            .map(|mark| Server::marked(*protocol, Family::of(*ip), mark))
            .collect()
    }

    fn is_ours(&self, mark: u32) -> bool {
        let (tag, mask) = mark_tag(self.bit);
        mark & mask == tag && mark & (1 << self.bit) == 0
    }

    fn free_mark(&self, port: &PortKey) -> u32 {
        let (tag, mask) = mark_tag(self.bit);
        let free_bits = !(mask | 1 << self.bit);
        let name = stable_hash(&[
            port.service.namespace.as_bytes(),
            port.service.name.as_bytes(),
            port.port.as_bytes(),
            port.protocol.as_str().as_bytes(),
            &[port.family as u8],
        ]);
        let [.., a, b, c, d] = name.to_be_bytes();
        let mut bits = u32::from_be_bytes([a, b, c, d]);
        // Where two hashes meet, the next that is free.
        loop {
            let mark = tag | (bits & free_bits);
            if !self.taken.contains(&mark) {
                return mark;
            }
            bits = bits.wrapping_add(1);
        }
    }
}

/// Some frontend leads inside clients elsewhere than outside ones.
pub(super) fn needs_mark(port: &PortPlan) -> bool {
    let mut frontends = port.frontends.iter();
    frontends.any(|frontend| frontend.inside != frontend.outside)
}
