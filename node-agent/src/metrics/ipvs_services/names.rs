//! Which service port a virtual server is of.

use std::collections::HashMap;
use std::net::IpAddr;

use sluice_kernel::address_set::{AddressSetError, AddressSets, Entry};
use sluice_kernel::ipvs::{Family, IpProtocol, VirtualServer};
use sluice_service_plan::plan::{FrontendAddress, PortKey, ServicePlan};

use crate::balancer::ipvs::names;
use crate::family::{kernel_family, kernel_protocol};

/// A frontend; without an address a node port, which each family has its own of.
type Frontend = (Family, Option<IpAddr>, IpProtocol, u16);

/// Service ports by the frontends that lead to them.
#[derive(Debug, Default)]
pub(super) struct Names {
    frontends: HashMap<Frontend, PortKey>,
    /// Number of the bit that a mark has where packets are masqueraded too.
    mark_bit: u8,
}

/// Frontends by the mark that their inside clients get.
#[derive(Debug, Default)]
pub(super) struct Marked(HashMap<(Family, u32), (IpAddr, IpProtocol, u16)>);

impl Names {
    pub(super) fn set_mark_bit(&mut self, mark_bit: u8) {
        self.mark_bit = mark_bit;
    }

    pub(super) fn learn(&mut self, service: &ServicePlan) {
        for (frontend, key) in frontends(service) {
            self.frontends.insert(frontend, key.clone());
        }
    }

    pub(super) fn forget(&mut self, service: &ServicePlan) {
        for (frontend, _) in frontends(service) {
            self.frontends.remove(&frontend);
        }
    }

    pub(super) fn of(&self, server: &VirtualServer, marked: &Marked) -> Option<&PortKey> {
        let family = server.family();
        let (address, protocol, port) = match *server {
            VirtualServer::Address {
                protocol,
                address,
                port,
            } => (address, protocol, port),
            VirtualServer::Mark { mark, .. } => {
                let plain = mark.get() & !(1 << self.mark_bit);
                *marked.0.get(&(family, plain))?
            }
        };
        let explicit = self.frontends.get(&(family, Some(address), protocol, port));
        explicit.or_else(|| self.frontends.get(&(family, None, protocol, port)))
    }
}

impl Marked {
    /// As the kernel's sets have it.
    pub(super) fn read(sets: &mut dyn AddressSets) -> Result<Self, AddressSetError> {
        let mut marked = HashMap::new();
        for family in sluice_service_plan::model::Family::ALL {
            let listed = match sets.list(&names::inside(family)) {
                Err(AddressSetError::NotFound { .. }) => continue,
                listed => listed?,
            };
            for found in listed {
                if let (Entry::IpPort(ip, protocol, port), Some(mark)) = (found.entry, found.mark) {
                    marked.insert((kernel_family(family), mark.value), (ip, protocol, port));
                }
            }
        }
        Ok(Self(marked))
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

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use sluice_kernel::address_set::{Mark, MemorySets, SetKind, SetSpec};
    use sluice_service_plan::model::{self, ObjectName, Protocol};

    use super::*;

    fn key(name: &str) -> PortKey {
        PortKey {
            service: ObjectName::new("shop", name),
            family: model::Family::V4,
            port: "http".into(),
            protocol: Protocol::Tcp,
        }
    }

    fn named(frontend: Frontend, name: &str) -> Names {
        Names {
            frontends: HashMap::from([(frontend, key(name))]),
            mark_bit: 14,
        }
    }

    #[test]
    fn a_node_port_has_the_name_of_its_service_on_every_address() {
        let names = named((Family::V4, None, IpProtocol::TCP, 30080), "web");
        let at = |ip: &str| VirtualServer::new(IpProtocol::TCP, ip.parse().unwrap(), 30080);
        let marked = Marked::default();
        assert_eq!(names.of(&at("192.0.2.10"), &marked), Some(&key("web")));
        assert_eq!(names.of(&at("2001:db8::1"), &marked), None);
    }

    #[test]
    fn a_virtual_server_by_mark_has_the_name_of_the_frontend_that_is_marked_with_it() {
        let external: IpAddr = "198.51.100.1".parse().unwrap();
        let names = named((Family::V4, Some(external), IpProtocol::TCP, 80), "web");
        let mut sets = MemorySets::new();
        let spec = SetSpec {
            name: names::inside(model::Family::V4),
            kind: SetKind::HashIpPort,
            family: Family::V4,
            max_entries: 16,
            expected_entries: 0,
            timeout_seconds: None,
            marks: true,
        };
        sets.create(&spec).unwrap();
        let mark = Mark {
            value: 0x5c00_0001,
            mask: u32::MAX,
        };
        let entry = Entry::IpPort(external, IpProtocol::TCP, 80);
        sets.add_marked(&spec, &[(entry, mark)]).unwrap();
        let marked = Marked::read(&mut sets).unwrap();
        let by = |family, mark| VirtualServer::Mark {
            family,
            mark: NonZeroU32::new(mark).unwrap(),
        };
        for mark in [0x5c00_0001, 0x5c00_4001] {
            assert_eq!(names.of(&by(Family::V4, mark), &marked), Some(&key("web")));
        }
        assert_eq!(names.of(&by(Family::V4, 0x5c00_0003), &marked), None);
        assert_eq!(names.of(&by(Family::V6, 0x5c00_0001), &marked), None);
    }
}
