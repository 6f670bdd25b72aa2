//! Which objects of IPVS do a step of a trace; none in another mode.

use std::net::IpAddr;
use std::num::NonZeroU32;

use sluice_kernel::ipvs::{Family, VirtualServer};
use sluice_service_plan::packet::Packet;

use super::snapshot::{Object, Snapshot};
use crate::balancer::ipvs::names;
use crate::balancer::ipvs::readback::ServerKey;
use crate::family::{kernel_protocol, plan_family};

/// Real servers that are shown; the others look the same.
const FEW: usize = 3;

pub(super) struct IpvsObjects<'a> {
    pub(super) packet: &'a Packet,
    pub(super) programmed: &'a Snapshot,
}

impl IpvsObjects<'_> {
    /// What takes the packet to IPVS.
    pub(super) fn frontend(&self) -> Vec<String> {
        let ip = self.packet.destination.ip();
        let bound = self.lines(&Object::Vip(ip)).first();
        let bound = bound.map(|line| format!("service address: {line}"));
        let server = self.lines(&self.server()).first();
        let server = server.map(|line| format!("virtual server: {line}"));
        bound.into_iter().chain(server).collect()
    }

    /// Who picks the endpoint, for a client whose side has a pool of its own or for any.
    pub(super) fn pool(&self, apart: bool) -> Vec<String> {
        let mark = if apart { self.inside_mark() } else { None };
        let Some((entry, mark)) = mark else {
            return self.real_servers(&self.server());
        };
        let set = names::inside(plan_family(self.family()));
        let mut found = vec![format!("set {set}: {entry}")];
        found.extend(self.real_servers(&self.key(VirtualServer::Mark {
            family: self.family(),
            mark,
        })));
        found
    }

    /// What makes a client stay.
    pub(super) fn persistence(&self) -> Vec<String> {
        let server = self.lines(&self.server()).first();
        let persistent = server.filter(|line| line.contains(" -p "));
        persistent
            .map(|line| format!("virtual server: {line}"))
            .into_iter()
            .collect()
    }

    fn real_servers(&self, of: &Object) -> Vec<String> {
        let real = self.lines(of).iter().skip(1).take(FEW);
        real.map(|line| format!("real server: {line}")).collect()
    }

    /// The entry that marks inside clients, and the mark.
    fn inside_mark(&self) -> Option<(String, NonZeroU32)> {
        let name = names::inside(plan_family(self.family()));
        let (ip, port) = (self.packet.destination.ip(), self.packet.destination.port());
        let start = format!("add {name} {ip},{}:{port} skbmark ", self.packet.protocol);
        let lines = self.lines(&Object::Set { name: name.clone() });
        let line = lines.iter().find(|line| line.starts_with(&start))?;
        let value = line.strip_prefix(&start)?.split('/').next()?;
        let mark = u32::from_str_radix(value.trim_start_matches("0x"), 16).ok()?;
        let entry = line.strip_prefix(&format!("add {name} "))?;
        Some((entry.to_owned(), NonZeroU32::new(mark)?))
    }

    fn server(&self) -> Object {
        let protocol = kernel_protocol(self.packet.protocol);
        let (ip, port) = (self.packet.destination.ip(), self.packet.destination.port());
        self.key(VirtualServer::new(protocol, ip, port))
    }

    fn key(&self, server: VirtualServer) -> Object {
        Object::VirtualServer(ServerKey {
            server,
            protocol: kernel_protocol(self.packet.protocol),
        })
    }

    fn family(&self) -> Family {
        match self.packet.destination.ip() {
            IpAddr::V4(_) => Family::V4,
            IpAddr::V6(_) => Family::V6,
        }
    }

    fn lines(&self, object: &Object) -> &[String] {
        let lines = self.programmed.objects().get(object);
        lines.map_or(&[], Vec::as_slice)
    }
}
