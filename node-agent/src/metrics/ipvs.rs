//! IPVS as a whole, read from the kernel at each scrape. Nothing where the kernel has no IPVS (now).

use std::fmt;
use std::fs;
use std::sync::{Mutex, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::Registry;

use sluice_kernel::ipvs::{Ipvs, IpvsNetlink};

use super::ipvs_table::TableLoad;
use super::scraped::{counter, gauge};

/// Of the calling thread's network namespace.
const STATISTICS: &str = "/proc/thread-self/net/ip_vs_stats";

#[derive(Debug, Default)]
struct IpvsTotals {
    table: Mutex<TableLoad>,
}

pub(super) fn register(registry: &mut Registry) {
    registry.register_collector(Box::new(IpvsTotals::default()));
}

impl Collector for IpvsTotals {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some(totals) = fs::read_to_string(STATISTICS)
            .ok()
            .as_deref()
            .and_then(Totals::read)
        else {
            return Ok(());
        };
        let counters = [
            (
                "sluice_ipvs_connections",
                "Connections that IPVS has scheduled, whosever its virtual servers are",
                totals.connections,
            ),
            (
                "sluice_ipvs_packets_in",
                "Packets from clients through IPVS",
                totals.packets_in,
            ),
            (
                "sluice_ipvs_packets_out",
                "Packets to clients through IPVS",
                totals.packets_out,
            ),
            (
                "sluice_ipvs_received_bytes",
                "Bytes from clients through IPVS",
                totals.bytes_in,
            ),
            (
                "sluice_ipvs_sent_bytes",
                "Bytes to clients through IPVS",
                totals.bytes_out,
            ),
        ];
        for (name, help, value) in counters {
            counter(&mut encoder, name, help, value)?;
        }
        let Ok(info) = IpvsNetlink::open().and_then(|mut door| door.info()) else {
            return Ok(());
        };
        gauge(
            &mut encoder,
            "sluice_ipvs_connection_table_buckets",
            "Buckets of the table of IPVS connections",
            f64::from(info.connection_table_size),
        )?;
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let Ok(connections) = table.connections() else {
            return Ok(());
        };
        gauge(
            &mut encoder,
            "sluice_ipvs_connection_table_entries",
            "Connections that IPVS remembers, active ones or not, affinity's own entries left out",
            connections as f64,
        )
    }
}

/// Since the network namespace was made.
#[derive(Debug, PartialEq, Eq)]
struct Totals {
    connections: u64,
    packets_in: u64,
    packets_out: u64,
    bytes_in: u64,
    bytes_out: u64,
}

impl Totals {
    /// The third line, five hexadecimal numbers (`ip_vs_stats_show`).
    fn read(text: &str) -> Option<Self> {
        let line = text.lines().nth(2)?;
        let mut numbers = line
            .split_whitespace()
            .map(|word| u64::from_str_radix(word, 16).ok());
        let mut next = || numbers.next()?;
        Some(Self {
            connections: next()?,
            packets_in: next()?,
            packets_out: next()?,
            bytes_in: next()?,
            bytes_out: next()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_totals_are_read() {
        let text = "   Total Incoming Outgoing         Incoming         Outgoing\n   \
                    Conns  Packets  Packets            Bytes            Bytes\n      \
                    1F       A0       8C             5DC0            1A2B3\n\n \
                    Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s\n";
        let totals = Totals {
            connections: 31,
            packets_in: 160,
            packets_out: 140,
            bytes_in: 24_000,
            bytes_out: 107_187,
        };
        assert_eq!(Totals::read(text), Some(totals));
        assert_eq!(Totals::read("one line"), None);
    }
}
