//! One change to the table.

use std::fmt;

use super::{Destination, RealServer, Service, VirtualServer};

/// One command of a batch.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Change {
    /// Creates a virtual server.
    NewService(Service),
    /// Sets everything of an existing virtual server, without a disturbance of its connections.
    SetService(Service),
    /// Deletes a virtual server with its real servers. Their connections stay, without service, until they expire.
    DeleteService(VirtualServer),
    /// Creates a real server.
    NewDestination(VirtualServer, Destination),
    /// Sets everything of an existing real server.
    SetDestination(VirtualServer, Destination),
    /// Deletes a real server. Its connections stay until they expire, their packets dropped meanwhile.
    DeleteDestination(VirtualServer, RealServer),
}

impl Change {
    /// The virtual server it is about.
    pub fn virtual_server(&self) -> VirtualServer {
        match self {
            Self::NewService(service) | Self::SetService(service) => service.server,
            Self::DeleteService(server)
            | Self::NewDestination(server, _)
            | Self::SetDestination(server, _)
            | Self::DeleteDestination(server, _) => *server,
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NewService(service) => write!(f, "create virtual server {}", service.server),
            Self::SetService(service) => write!(f, "set virtual server {}", service.server),
            Self::DeleteService(server) => write!(f, "delete virtual server {server}"),
            Self::NewDestination(of, destination) => {
                write!(f, "create real server {} of {of}", destination.server)
            }
            Self::SetDestination(of, destination) => {
                write!(f, "set real server {} of {of}", destination.server)
            }
            Self::DeleteDestination(of, server) => {
                write!(f, "delete real server {server} of {of}")
            }
        }
    }
}
