//! Counters of connection tracking.

use crate::netlink::{NETFILTER_HEADER, attributes};

// `enum ctattr_stats_cpu`, linux/netfilter/nfnetlink_conntrack.h
const INSERT_FAILED: u16 = 9;
const DROP: u16 = 10;
const EARLY_DROP: u16 = 11;

// `enum ctattr_stats_global`
const ENTRIES: u16 = 1;
const MAX_ENTRIES: u16 = 2;

/// What connection tracking counts in one network namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ConntrackStatistics {
    /// Entries now.
    pub entries: u32,
    /// Entries at most (`nf_conntrack_max`); absent on old kernels, which do not tell it.
    pub max_entries: Option<u32>,
    /// Packets dropped because their entry could not be inserted: another one took its tuple (all CPUs, since the namespace was made).
    pub insert_failed: u64,
    /// Packets dropped because there was no room or no memory for their entry (all CPUs, since the namespace was made).
    pub dropped: u64,
    /// Entries evicted to make room for new ones (all CPUs, since the namespace was made).
    pub early_dropped: u64,
}

impl ConntrackStatistics {
    /// Takes the counters of one CPU.
    pub(super) fn take_cpu(&mut self, payload: &[u8]) -> Result<(), String> {
        for attribute in attributes(payload.get(NETFILTER_HEADER..).unwrap_or_default()) {
            let attribute = attribute?;
            let counter = match attribute.kind {
                INSERT_FAILED => &mut self.insert_failed,
                DROP => &mut self.dropped,
                EARLY_DROP => &mut self.early_dropped,
                _ => continue,
            };
            *counter += u64::from(attribute.u32_be()?);
        }
        Ok(())
    }

    /// Takes what is told of the whole table.
    pub(super) fn take_table(&mut self, payload: &[u8]) -> Result<(), String> {
        for attribute in attributes(payload.get(NETFILTER_HEADER..).unwrap_or_default()) {
            let attribute = attribute?;
            match attribute.kind {
                ENTRIES => self.entries = attribute.u32_be()?,
                MAX_ENTRIES => self.max_entries = Some(attribute.u32_be()?),
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::ConntrackStatistics;
    use crate::netlink::{NETLINK_HEADER, NFPROTO_UNSPEC, Request};

    #[test]
    fn the_counters_of_all_cpus_are_added() {
        let mut statistics = ConntrackStatistics::default();
        for cpu in [1, 20] {
            let mut message = Request::netfilter(1, 4, 0, NFPROTO_UNSPEC);
            for (kind, count) in [(2, 1_000), (9, cpu), (10, 2 * cpu), (11, 3 * cpu)] {
                message.u32_be(kind, count);
            }
            let payload = message.into_bytes().split_off(NETLINK_HEADER);
            statistics.take_cpu(&payload).unwrap();
        }
        let expected = ConntrackStatistics {
            insert_failed: 21,
            dropped: 42,
            early_dropped: 63,
            ..ConntrackStatistics::default()
        };
        assert_eq!(statistics, expected);
    }
}
