//! A service that changes with every scene: a node that serves it as it is now has taken in all that the API server was told before.
//!
//! Services and slices come to a proxy by watches of their own, each in the order of its changes. So each of the two changes: the
//! service has another port, its slices another target port.

use std::net::{IpAddr, SocketAddr};

use sluice_e2e::lab::places::{A1, SERVED_PORTS};
use sluice_e2e::packets::build::{cluster_ip, ready, service};
use sluice_service_plan::model::{Family, Protocol};

use crate::objects::{self, Object};

/// The last part of its cluster IPs.
const HOST: u8 = 250;
const FIRST_PORT: u16 = 1000;

/// One of its states.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Marker {
    number: u16,
}

impl Marker {
    pub(crate) fn first() -> Self {
        Self { number: 0 }
    }

    pub(crate) fn next(self) -> Self {
        Self {
            number: self.number + 1,
        }
    }

    /// Where it is served,
    pub(crate) fn address(self, family: Family) -> SocketAddr {
        let ip: IpAddr = cluster_ip(family, HOST);
        SocketAddr::new(ip, FIRST_PORT + self.number)
    }

    /// and on which port of its endpoint that arrives.
    pub(crate) fn target_port(self) -> u16 {
        SERVED_PORTS[usize::from(self.number % 2)]
    }

    /// UDP, because the node's own UDP sender hears of a refusal at once, by whichever means.
    pub(crate) const PROTOCOL: Protocol = Protocol::Udp;

    pub(crate) fn objects(self) -> Vec<Object> {
        let port = FIRST_PORT + self.number;
        let built = Family::ALL
            .into_iter()
            .fold(service("marker"), |service, family| {
                service.cluster_ip(cluster_ip(family, HOST))
            })
            .port("", Self::PROTOCOL, port);
        let slices = Family::ALL.map(|family| {
            let mut slice = built.slice(family, &[ready(A1)]);
            for port in &mut slice.ports {
                port.port = self.target_port();
            }
            objects::slice(&slice)
        });
        let service = objects::service(&built.clone().build());
        [service].into_iter().chain(slices).collect()
    }
}
