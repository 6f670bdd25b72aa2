//! The kernel's own load balancer, IPVS: virtual servers, and the real servers behind them.
//!
//! Terms are those of `linux/ip_vs.h` and ipvsadm(8). [`VirtualServer`] and [`RealServer`] say which; [`Service`] and
//! [`Destination`] say how. There is no transaction: apply changes in an order that is safe at every step. Nothing here
//! flushes: virtual servers have no owner tag, and others may have theirs.

mod change;
mod check;
mod connections;
mod error;
mod memory;
mod netlink;
mod scheduler;
mod server;
mod statistics;

pub use crate::address_set::{Family, IpProtocol};
pub use change::Change;
pub use connections::Connection;
pub use error::{Cause, IpvsError, Refused};
pub use memory::MemoryIpvs;
pub use netlink::IpvsNetlink;
pub use scheduler::{SCHEDULERS, scheduler_modules};
pub use server::{
    ClientMask, Destination, Forward, Persistence, RealServer, SchedulerFlags, Service,
    VirtualServer,
};
pub use statistics::{
    ConnectionCounts, Info, ListedDestination, ListedService, Statistics, Timeouts, Traffic,
};

/// The door to IPVS in one network namespace.
pub trait Ipvs: Send {
    /// All virtual servers, in no particular order. What others change meanwhile may be there or not.
    fn services(&mut self) -> Result<Vec<ListedService>, IpvsError>;

    /// The real servers of one virtual server. [`IpvsError::NotFound`] when there is no such virtual server.
    fn destinations(&mut self, of: &VirtualServer) -> Result<Vec<ListedDestination>, IpvsError>;

    /// All virtual servers with their real servers: one dump of the former, and one of the latter for each.
    fn list(&mut self) -> Result<Vec<(ListedService, Vec<ListedDestination>)>, IpvsError> {
        let mut all = Vec::new();
        for listed in self.services()? {
            match self.destinations(&listed.service.server) {
                Ok(destinations) => all.push((listed, destinations)),
                // Deleted by someone since.
                Err(IpvsError::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(all)
    }

    /// Makes the changes in their order, many in one send. One that is refused does not keep the others: the answer tells
    /// all that were refused, in order; empty when every change was made. An error means that the conversation broke off:
    /// what was made of the changes is then unknown.
    fn apply(&mut self, changes: &[Change]) -> Result<Vec<Refused>, IpvsError>;

    /// Lifetimes of idle connections.
    fn timeouts(&mut self) -> Result<Timeouts, IpvsError>;

    /// Sets lifetimes; each that is 0 stays as it is. Connections that exist get them with their next packet.
    fn set_timeouts(&mut self, timeouts: &Timeouts) -> Result<(), IpvsError>;

    /// Version, and size of the connection table.
    fn info(&mut self) -> Result<Info, IpvsError>;

    /// Calls `visit` for every connection, persistence templates included. What is made or ends meanwhile may be missed.
    fn connections(&mut self, visit: &mut dyn FnMut(&Connection)) -> Result<(), IpvsError>;

    /// What was sent since the door was opened.
    fn traffic(&self) -> Traffic;
}
