//! What no kernel takes, told before it is sent.

use super::{Cause, Change, Destination, Forward, IpProtocol, Service, VirtualServer};

/// `IP_VS_SCHEDNAME_MAXLEN` less the terminator.
const MAX_SCHEDULER_NAME: usize = 15;

pub(super) fn check(change: &Change) -> Result<(), Cause> {
    check_server(&change.virtual_server())?;
    match change {
        Change::NewService(service) | Change::SetService(service) => check_service(service),
        Change::NewDestination(of, destination) | Change::SetDestination(of, destination) => {
            check_destination(of, destination)
        }
        Change::DeleteService(_) | Change::DeleteDestination(..) => Ok(()),
    }
}

fn check_server(server: &VirtualServer) -> Result<(), Cause> {
    match server {
        VirtualServer::Address { protocol, .. }
            if ![IpProtocol::TCP, IpProtocol::UDP, IpProtocol::SCTP].contains(protocol) =>
        {
            invalid("the protocol is none that IPVS balances: use TCP, UDP or SCTP")
        }
        _ => Ok(()),
    }
}

fn check_service(service: &Service) -> Result<(), Cause> {
    let name = &service.scheduler;
    if name.is_empty() || name.len() > MAX_SCHEDULER_NAME || name.contains('\0') {
        return Err(Cause::NoSuchScheduler(name.clone()));
    }
    let Some(persistence) = service.persistence else {
        return Ok(());
    };
    if persistence.clients.family() != service.server.family() {
        return invalid(
            "the mask of clients is of another family: use one of the virtual server's",
        );
    }
    match persistence.clients {
        super::ClientMask::V6(0 | 129..) => {
            invalid("the prefix length of clients is out of range: use 1 to 128")
        }
        _ => Ok(()),
    }
}

fn check_destination(of: &VirtualServer, destination: &Destination) -> Result<(), Cause> {
    let same_family = super::Family::of(destination.server.address) == of.family();
    if same_family || destination.forward == Forward::Tunnel {
        Ok(())
    } else {
        invalid(
            "the real server is of another family: use one of the virtual server's, or a tunnel",
        )
    }
}

fn invalid(what: &str) -> Result<(), Cause> {
    Err(Cause::Invalid(what.to_owned()))
}
