//! What IPVS counts of services, read at each scrape, for a bounded number of service ports.
//!
//! A scrape lists the virtual servers once (20,000: some 10 MB of netlink), and the real servers of those that are told of. Counters start
//! anew when a virtual server is made anew.

mod names;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use sluice_kernel::address_set::IpsetNetlink;
use sluice_kernel::ipvs::{Ipvs, IpvsError, IpvsNetlink, VirtualServer};
use sluice_service_plan::plan::{PlanChange, PortKey};

use super::labels::family_name;
use names::{Marked, Names};

/// Which service ports there are, and which of these are told of.
#[derive(Debug, Default)]
struct Known {
    most: usize,
    names: Names,
    /// Those that are told of stay told of while they exist: a series that comes and goes is of no use.
    told: BTreeMap<PortKey, Counts>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counts {
    connections: u64,
    bytes_in: u64,
    bytes_out: u64,
    active: u64,
    inactive: u64,
}

/// Metrics of services in IPVS.
#[derive(Debug)]
pub struct IpvsServiceMetrics {
    known: Arc<Mutex<Known>>,
}

#[derive(Debug, Clone, EncodeLabelSet)]
struct PortLabels {
    namespace: String,
    service: String,
    port: String,
    protocol: &'static str,
    ip_family: &'static str,
}

impl IpvsServiceMetrics {
    pub(super) fn register(registry: &mut Registry, most: usize) -> Self {
        let known = Arc::new(Mutex::new(Known {
            most,
            ..Known::default()
        }));
        if most > 0 {
            let known = Arc::clone(&known);
            registry.register_collector(Box::new(ServiceCounters { known }));
        }
        Self { known }
    }

    /// The plan changed. `mark_bit` is the number of the bit that means masquerade.
    pub fn follow(&self, change: &PlanChange, mark_bit: u8) {
        let mut known = lock(&self.known);
        if known.most == 0 {
            return;
        }
        known.names.set_mark_bit(mark_bit);
        // All of these first: a frontend may go from one service to another in one change.
        for before in change.services.iter().filter_map(|s| s.before.as_ref()) {
            known.names.forget(before);
        }
        for service in &change.services {
            let before = service.before.iter().flat_map(|plan| &plan.ports);
            let after = service.after.iter().flat_map(|plan| &plan.ports);
            for gone in before.filter(|port| after.clone().all(|one| one.key != port.key)) {
                known.told.remove(&gone.key);
            }
            if let Some(after) = &service.after {
                known.names.learn(after);
            }
        }
    }
}

impl Known {
    /// Counts what IPVS tells now. Room for new ones goes to those with the most connections.
    fn count(&mut self, ipvs: &mut dyn Ipvs, marked: &Marked) -> Result<(), IpvsError> {
        let mut counted: BTreeMap<PortKey, (Counts, Vec<VirtualServer>)> = BTreeMap::new();
        for listed in ipvs.services()? {
            let Some(key) = self.names.of(&listed.service.server, marked) else {
                continue;
            };
            let (counts, servers) = counted.entry(key.clone()).or_default();
            counts.connections += listed.statistics.connections;
            counts.bytes_in += listed.statistics.bytes_in;
            counts.bytes_out += listed.statistics.bytes_out;
            servers.push(listed.service.server);
        }
        self.told.retain(|key, _| counted.contains_key(key));
        let room = self.most.saturating_sub(self.told.len());
        if room > 0 {
            let fresh = counted
                .iter()
                .filter(|(key, _)| !self.told.contains_key(key));
            let mut fresh: Vec<_> = fresh
                .map(|(key, (counts, _))| (counts.connections, key))
                .collect();
            fresh.sort_by(|one, other| other.0.cmp(&one.0).then(one.1.cmp(other.1)));
            let chosen: Vec<PortKey> = fresh
                .into_iter()
                .take(room)
                .map(|(_, key)| key.clone())
                .collect();
            self.told
                .extend(chosen.into_iter().map(|key| (key, Counts::default())));
        }
        for (key, told) in &mut self.told {
            let Some((counts, servers)) = counted.get(key) else {
                continue;
            };
            *told = *counts;
            for server in servers {
                let listed = match ipvs.destinations(server) {
                    Ok(listed) => listed,
                    Err(IpvsError::NotFound { .. }) => continue,
                    Err(error) => return Err(error),
                };
                for real in listed {
                    told.active += u64::from(real.connections.active);
                    told.inactive += u64::from(real.connections.inactive);
                }
            }
        }
        Ok(())
    }
}

#[derive(Debug)]
struct ServiceCounters {
    known: Arc<Mutex<Known>>,
}

impl Collector for ServiceCounters {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut known = lock(&self.known);
        // Without IPVS there is nothing to tell.
        let Ok(mut ipvs) = IpvsNetlink::open() else {
            return Ok(());
        };
        let marked = IpsetNetlink::open().and_then(|mut sets| Marked::read(&mut sets));
        let marked = marked.unwrap_or_else(|error| {
            tracing::debug!(%error, "virtual servers by mark are not counted");
            Marked::default()
        });
        if let Err(error) = known.count(&mut ipvs, &marked) {
            tracing::debug!(%error, "IPVS connections cannot be counted");
            return Ok(());
        }
        write(&known.told, &mut encoder)
    }
}

type Value = fn(&Counts) -> u64;

const COUNTERS: [(&str, &str, Value); 3] = [
    (
        "sluice_ipvs_service_connections",
        "Connections that IPVS has scheduled for a service port",
        |counts| counts.connections,
    ),
    (
        "sluice_ipvs_service_received_bytes",
        "Bytes from clients to a service port through IPVS",
        |counts| counts.bytes_in,
    ),
    (
        "sluice_ipvs_service_sent_bytes",
        "Bytes to clients of a service port through IPVS",
        |counts| counts.bytes_out,
    ),
];

const GAUGES: [(&str, &str, Value); 2] = [
    (
        "sluice_ipvs_service_active_connections",
        "Established connections of a service port in IPVS",
        |counts| counts.active,
    ),
    (
        "sluice_ipvs_service_inactive_connections",
        "Other connections of a service port in IPVS: on their way up or down, all of UDP",
        |counts| counts.inactive,
    ),
];

fn write(
    told: &BTreeMap<PortKey, Counts>,
    encoder: &mut DescriptorEncoder<'_>,
) -> Result<(), fmt::Error> {
    for (name, help, value) in COUNTERS {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (key, counts) in told {
            let counter = ConstCounter::new(value(counts));
            counter.encode(family.encode_family(&labels(key))?)?;
        }
    }
    for (name, help, value) in GAUGES {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (key, counts) in told {
            let gauge = ConstGauge::new(i64::try_from(value(counts)).unwrap_or(i64::MAX));
            gauge.encode(family.encode_family(&labels(key))?)?;
        }
    }
    Ok(())
}

fn labels(key: &PortKey) -> PortLabels {
    PortLabels {
        namespace: key.service.namespace.to_string(),
        service: key.service.name.to_string(),
        port: key.port.to_string(),
        protocol: key.protocol.as_str(),
        ip_family: family_name(key.family),
    }
}

fn lock(known: &Mutex<Known>) -> MutexGuard<'_, Known> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use sluice_kernel::ipvs::{Change, IpProtocol, MemoryIpvs, Service};
    use sluice_service_plan::catalog::Catalog;
    use sluice_service_plan::model::{
        self, NodeFacts, ObjectName, Protocol, ServicePort, Settings,
    };

    use super::*;

    struct World {
        catalog: Catalog,
        ipvs: MemoryIpvs,
        metrics: IpvsServiceMetrics,
    }

    impl World {
        fn telling_of(most: usize) -> Self {
            let known = Known {
                most,
                ..Known::default()
            };
            Self {
                catalog: Catalog::new(NodeFacts::default(), Settings::default()),
                ipvs: MemoryIpvs::new(),
                metrics: IpvsServiceMetrics {
                    known: Arc::new(Mutex::new(known)),
                },
            }
        }

        fn set(&mut self, name: &str, last: u8, affinity_seconds: Option<u32>) {
            let address = address(last);
            self.catalog.set_service(model::Service {
                cluster_ips: vec![address],
                affinity_seconds,
                ports: vec![ServicePort {
                    name: "http".into(),
                    protocol: Protocol::Tcp,
                    port: 80,
                    node_port: None,
                }],
                ..model::Service::new(ObjectName::new("shop", name))
            });
            self.metrics.follow(&self.catalog.take_changes(), 14);
            let server = VirtualServer::new(IpProtocol::TCP, address, 80);
            let made = self
                .ipvs
                .apply(&[Change::NewService(Service::new(server, "rr"))]);
            // One that is there already is refused.
            made.unwrap();
        }

        fn told(&mut self) -> Vec<String> {
            let mut known = lock(&self.metrics.known);
            known.count(&mut self.ipvs, &Marked::default()).unwrap();
            let names = known.told.keys().map(|key| key.service.name.to_string());
            names.collect()
        }
    }

    fn address(last: u8) -> IpAddr {
        [10, 96, 0, last].into()
    }

    #[test]
    fn a_service_port_that_is_told_of_stays_so_and_no_more_than_asked_are() {
        let mut world = World::telling_of(1);
        world.set("second", 2, None);
        assert_eq!(world.told(), ["second"]);
        world.set("first", 1, None);
        assert_eq!(world.told(), ["second"]);
        world.set("second", 2, Some(60));
        assert_eq!(world.told(), ["second"], "also when it changes");
    }

    #[test]
    fn a_frontend_that_goes_to_another_service_counts_for_that_one() {
        let mut world = World::telling_of(2);
        world.set("older", 1, None);
        assert_eq!(world.told(), ["older"]);
        // Of equal age, it goes by the name.
        world.set("heir", 1, None);
        assert_eq!(world.told(), ["heir"]);
    }
}
