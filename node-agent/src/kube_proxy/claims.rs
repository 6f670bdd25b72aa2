//! What kube-proxy's IPVS mode says is its own. IPVS knows no owners; but kube-proxy writes each frontend that it makes a virtual
//! server for, and each address that it binds, into its address sets: they are its ledger, as ours are ours.
//!
//! While it runs it makes every virtual server on those frontends its own, whoever made it, so a name in its sets tells the owner. Not
//! so once it has ended: a virtual server of another program may have come since. Its real servers tell then ([`could_have_made`]).

use std::collections::HashSet;
use std::net::IpAddr;

use sluice_kernel::address_set::{AddressSetError, AddressSets, Entry, Family, IpProtocol};
use sluice_kernel::ipvs::{Destination, Forward, VirtualServer};

use super::names;

/// Its address sets, read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claims {
    frontends: HashSet<(IpProtocol, IpAddr, u16)>,
    /// On every address of the node's own.
    node_ports: HashSet<(Family, IpProtocol, u16)>,
    bound: HashSet<IpAddr>,
}

impl Claims {
    /// Reads them; where there is no set of its, nothing is claimed.
    pub fn read(sets: &mut dyn AddressSets) -> Result<Self, AddressSetError> {
        let mut claims = Self::default();
        for header in sets.headers(names::SETS_START)? {
            let name = header.spec.name;
            let Some((family, kind)) = names::set(&name) else {
                continue;
            };
            if !names::TELLING_SETS.contains(&kind) {
                continue;
            }
            let listed = match sets.list(&name) {
                Ok(listed) => listed,
                // It went since.
                Err(AddressSetError::NotFound { .. }) => continue,
                Err(error) => return Err(error),
            };
            for one in listed {
                match one.entry {
                    Entry::IpPort(ip, protocol, port) => {
                        claims.frontends.insert((protocol, ip, port));
                    }
                    Entry::Port(port) => {
                        let protocol = names::protocol_of_ports(kind);
                        claims
                            .node_ports
                            .extend(protocol.map(|protocol| (family, protocol, port)));
                    }
                    Entry::Ip(ip) => {
                        claims.bound.insert(ip);
                    }
                    _ => {}
                }
            }
        }
        Ok(claims)
    }

    /// Whether they name the frontend of this virtual server. `own` are the node's own addresses.
    pub fn name(&self, server: &VirtualServer, own: &HashSet<IpAddr>) -> bool {
        match *server {
            VirtualServer::Address {
                protocol,
                address,
                port,
            } => {
                let node_port = (Family::of(address), protocol, port);
                self.frontends.contains(&(protocol, address, port))
                    || own.contains(&address) && self.node_ports.contains(&node_port)
            }
            // It makes none by mark.
            VirtualServer::Mark { .. } => false,
        }
    }

    /// Whether they name this address as bound.
    pub fn name_address(&self, ip: &IpAddr) -> bool {
        self.bound.contains(ip)
    }
}

/// Whether these may be real servers that kube-proxy made: translated to, with weight 1, or 0 for one that leaves.
pub fn could_have_made<'a>(real_servers: impl IntoIterator<Item = &'a Destination>) -> bool {
    real_servers.into_iter().all(|one| {
        one.forward == Forward::Masquerade
            && one.weight <= 1
            && (one.upper_threshold, one.lower_threshold) == (0, 0)
    })
}

#[cfg(test)]
mod tests {
    use sluice_kernel::address_set::{MemorySets, SetKind, SetSpec};
    use sluice_kernel::ipvs::RealServer;

    use super::*;

    fn put(sets: &mut MemorySets, name: &str, kind: SetKind, family: Family, entry: Entry) {
        let spec = SetSpec {
            name: name.to_owned(),
            kind,
            family,
            max_entries: 100,
            expected_entries: 0,
            timeout_seconds: None,
            marks: false,
        };
        sets.create(&spec).unwrap();
        sets.add(&spec, &[entry]).unwrap();
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn its_sets_name_frontends_node_ports_and_addresses_and_no_others_do() {
        let mut sets = MemorySets::default();
        let tcp = IpProtocol::TCP;
        let at = |ip_of: &str, port| Entry::IpPort(ip(ip_of), tcp, port);
        for (name, entry) in [
            ("KUBE-CLUSTER-IP", at("10.96.0.1", 80)),
            ("KUBE-LOAD-BALANCER-FW", at("10.96.0.1", 81)),
            ("KUBE-OF-OTHERS", at("10.96.0.1", 82)),
        ] {
            put(&mut sets, name, SetKind::HashIpPort, Family::V4, entry);
        }
        let (bitmap, port) = (SetKind::BitmapPort, Entry::Port(30_080));
        put(&mut sets, "KUBE-6-NODE-PORT-TCP", bitmap, Family::V4, port);
        let address = Entry::Ip(ip("10.96.0.1"));
        put(
            &mut sets,
            "KUBE-IPVS-IPS",
            SetKind::HashIp,
            Family::V4,
            address,
        );
        let claims = Claims::read(&mut sets).unwrap();
        let own = HashSet::from([ip("2001:db8::10"), ip("192.0.2.10")]);
        let named = |protocol, address: &str, port| {
            claims.name(&VirtualServer::new(protocol, ip(address), port), &own)
        };
        assert!(named(tcp, "10.96.0.1", 80));
        assert!(!named(IpProtocol::UDP, "10.96.0.1", 80));
        assert!(!named(tcp, "10.96.0.1", 81) && !named(tcp, "10.96.0.1", 82));
        assert!(named(tcp, "2001:db8::10", 30_080));
        assert!(!named(tcp, "192.0.2.10", 30_080), "of the other family");
        assert!(!named(tcp, "2001:db8::11", 30_080), "not the node's own");
        assert!(claims.name_address(&ip("10.96.0.1")) && !claims.name_address(&ip("10.96.0.2")));
    }

    #[test]
    fn it_makes_no_real_servers_but_plain_ones() {
        let plain = Destination::new(RealServer::new(ip("10.1.0.1"), 8080), 1);
        assert!(could_have_made(&[
            plain,
            Destination { weight: 0, ..plain }
        ]));
        for other in [
            Destination { weight: 2, ..plain },
            Destination {
                forward: Forward::Route,
                ..plain
            },
            Destination {
                upper_threshold: 1,
                ..plain
            },
        ] {
            assert!(!could_have_made(&[plain, other]), "{other:?}");
        }
    }
}
