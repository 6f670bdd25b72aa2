//! Virtual and real servers to try.

use std::num::NonZeroU32;

use sluice_kernel::ipvs::{
    Change, Destination, Family, IpProtocol, Ipvs, RealServer, Refused, Service, VirtualServer,
};

/// `10.96.0.1:80`, `[fd00::1]:80`.
pub(crate) fn at(protocol: IpProtocol, address_and_port: &str) -> VirtualServer {
    let socket: std::net::SocketAddr = address_and_port.parse().unwrap();
    VirtualServer::new(protocol, socket.ip(), socket.port())
}

pub(crate) fn tcp(address_and_port: &str) -> VirtualServer {
    at(IpProtocol::TCP, address_and_port)
}

pub(crate) fn marked(family: Family, mark: u32) -> VirtualServer {
    let mark = NonZeroU32::new(mark).unwrap();
    VirtualServer::Mark { family, mark }
}

pub(crate) fn real(address_and_port: &str) -> RealServer {
    let socket: std::net::SocketAddr = address_and_port.parse().unwrap();
    RealServer::new(socket.ip(), socket.port())
}

/// With weight 1.
pub(crate) fn destination(address_and_port: &str) -> Destination {
    Destination::new(real(address_and_port), 1)
}

/// A plain virtual server with the scheduler that every kernel has.
pub(crate) fn plain(server: VirtualServer) -> Service {
    Service::new(server, "rr")
}

/// Makes changes that nothing may be wrong with.
pub(crate) fn make(ipvs: &mut dyn Ipvs, changes: &[Change]) {
    let refused = ipvs.apply(changes).unwrap();
    assert!(refused.is_empty(), "{refused:?}");
}

/// Makes one change that must be refused.
pub(crate) fn refused(ipvs: &mut dyn Ipvs, change: Change) -> Refused {
    let changes = [change];
    let mut refused = ipvs.apply(&changes).unwrap();
    assert_eq!(refused.len(), 1, "{changes:?}: {refused:?}");
    let refused = refused.remove(0);
    assert_eq!((refused.position, &refused.change), (0, &changes[0]));
    refused
}
