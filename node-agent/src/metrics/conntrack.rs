//! Connection tracking, read from the kernel at each scrape.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::Registry;

use sluice_kernel::conntrack::ConntrackNetlink;

use super::scraped::{counter, gauge};

#[derive(Debug)]
struct Conntrack;

pub(super) fn register(registry: &mut Registry) {
    registry.register_collector(Box::new(Conntrack));
}

impl Collector for Conntrack {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let read = ConntrackNetlink::open().and_then(|mut door| door.statistics());
        let now = match read {
            Ok(now) => now,
            Err(error) => {
                tracing::debug!(%error, "connection tracking cannot be counted");
                return Ok(());
            }
        };
        let gauges = [
            (
                "sluice_conntrack_entries",
                "Tracked connections",
                Some(now.entries),
            ),
            (
                "sluice_conntrack_entries_limit",
                "Tracked connections at most",
                now.max_entries,
            ),
        ];
        for (name, help, value) in gauges {
            let Some(value) = value else { continue };
            gauge(&mut encoder, name, help, f64::from(value))?;
        }
        let counters = [
            (
                "sluice_conntrack_insert_failed",
                "Packets dropped because another connection took their tuple",
                now.insert_failed,
            ),
            (
                "sluice_conntrack_dropped",
                "Packets dropped because there was no room for their connection",
                now.dropped,
            ),
            (
                "sluice_conntrack_early_dropped",
                "Connections evicted to make room for new ones",
                now.early_dropped,
            ),
        ];
        for (name, help, value) in counters {
            counter(&mut encoder, name, help, value)?;
        }
        Ok(())
    }
}
