//! What IPVS counts of services, read at each scrape, for a bounded number of service ports.
//!
//! A scrape lists the virtual servers once (20,000: some 10 MB of netlink), and the real servers of those that are told of. Counters start
//! anew when a virtual server is made anew.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use sluice_kernel::ipvs::{IpProtocol, Ipvs, IpvsError, IpvsNetlink, VirtualServer};
use sluice_service_plan::plan::{FrontendAddress, PlanChange, PortKey, ServicePlan};

use super::labels::family_name;
use crate::family::{kernel_family, kernel_protocol};

/// A frontend; without an address a node port, which each family has its own of.
type Frontend = (sluice_kernel::ipvs::Family, Option<IpAddr>, IpProtocol, u16);

/// Which service ports frontends lead to, and which of these are told of.
#[derive(Debug)]
struct Known {
    most: usize,
    names: HashMap<Frontend, PortKey>,
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
            names: HashMap::new(),
            told: BTreeMap::new(),
        }));
        if most > 0 {
            let known = Arc::clone(&known);
            registry.register_collector(Box::new(ServiceCounters { known }));
        }
        Self { known }
    }

    /// The plan changed.
    pub fn follow(&self, change: &PlanChange) {
        let mut known = lock(&self.known);
        if known.most == 0 {
            return;
        }
        for service in &change.services {
            known.forget(service.before.as_deref());
            known.learn(service.after.as_deref());
        }
    }
}

impl Known {
    fn forget(&mut self, service: Option<&ServicePlan>) {
        for (frontend, key) in service.into_iter().flat_map(frontends) {
            self.names.remove(&frontend);
            self.told.remove(key);
        }
    }

    fn learn(&mut self, service: Option<&ServicePlan>) {
        for (frontend, key) in service.into_iter().flat_map(frontends) {
            self.names.insert(frontend, key.clone());
        }
    }

    fn name(&self, server: &VirtualServer) -> Option<&PortKey> {
        let VirtualServer::Address {
            protocol,
            address,
            port,
        } = *server
        else {
            return None;
        };
        let family = server.family();
        let explicit = self.names.get(&(family, Some(address), protocol, port));
        explicit.or_else(|| self.names.get(&(family, None, protocol, port)))
    }

    /// Counts what IPVS tells now. Room for new ones goes to those with the most connections.
    fn count(&mut self, ipvs: &mut dyn Ipvs) -> Result<(), IpvsError> {
        let mut counted: BTreeMap<PortKey, (Counts, Vec<VirtualServer>)> = BTreeMap::new();
        for listed in ipvs.services()? {
            let Some(key) = self.name(&listed.service.server) else {
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

fn frontends(service: &ServicePlan) -> impl Iterator<Item = (Frontend, &PortKey)> {
    service.ports.iter().flat_map(|port| {
        port.frontends.iter().map(|frontend| {
            let address = match frontend.address {
                FrontendAddress::Ip(ip) => Some(ip),
                FrontendAddress::NodePort => None,
            };
            let protocol = kernel_protocol(port.key.protocol);
            let family = kernel_family(port.key.family);
            ((family, address, protocol, frontend.port), &port.key)
        })
    })
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
        if let Err(error) = known.count(&mut ipvs) {
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
    use sluice_kernel::ipvs::{Change, MemoryIpvs, Service};
    use sluice_service_plan::model::{Family, ObjectName, Protocol};

    use super::*;

    fn key(name: &str) -> PortKey {
        PortKey {
            service: ObjectName::new("shop", name),
            family: Family::V4,
            port: "http".into(),
            protocol: Protocol::Tcp,
        }
    }

    #[test]
    fn a_service_port_that_is_told_of_stays_so_and_no_more_than_asked_are() {
        let address = |last: u8| -> IpAddr { [10, 96, 0, last].into() };
        let mut known = Known {
            most: 1,
            names: HashMap::new(),
            told: BTreeMap::new(),
        };
        let mut ipvs = MemoryIpvs::new();
        let add = |known: &mut Known, ipvs: &mut MemoryIpvs, last: u8, name: &str| {
            let family = sluice_kernel::ipvs::Family::V4;
            let frontend = (family, Some(address(last)), IpProtocol::TCP, 80);
            known.names.insert(frontend, key(name));
            let server = VirtualServer::new(IpProtocol::TCP, address(last), 80);
            let made = ipvs.apply(&[Change::NewService(Service::new(server, "rr"))]);
            assert!(made.unwrap().is_empty());
        };
        add(&mut known, &mut ipvs, 2, "second");
        known.count(&mut ipvs).unwrap();
        add(&mut known, &mut ipvs, 1, "first");
        known.count(&mut ipvs).unwrap();
        assert_eq!(known.told.keys().collect::<Vec<_>>(), [&key("second")]);
    }

    #[test]
    fn a_node_port_has_the_name_of_its_service_on_every_address() {
        let family = sluice_kernel::ipvs::Family::V4;
        let known = Known {
            most: 1,
            names: HashMap::from([((family, None, IpProtocol::TCP, 30080), key("web"))]),
            told: BTreeMap::new(),
        };
        let at = |ip: &str| VirtualServer::new(IpProtocol::TCP, ip.parse().unwrap(), 30080);
        assert_eq!(known.name(&at("192.0.2.10")), Some(&key("web")));
        assert_eq!(known.name(&at("2001:db8::1")), None);
    }
}
