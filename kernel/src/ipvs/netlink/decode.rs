//! Answers of IPVS.

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;

use super::super::{
    ClientMask, ConnectionCounts, Destination, Family, Forward, Info, IpProtocol,
    ListedDestination, ListedService, Persistence, RealServer, SchedulerFlags, Service, Statistics,
    Timeouts, VirtualServer,
};
use super::attributes::{
    AF_INET, AF_INET6, destination, flag, forward, info, service, statistics, top,
};
use crate::netlink::{Attribute, GENERIC_HEADER, attributes};

/// The attributes of a message, behind its generic header.
fn body(payload: &[u8]) -> Result<&[u8], String> {
    payload
        .get(GENERIC_HEADER..)
        .ok_or_else(|| "no generic netlink header".to_owned())
}

/// The attributes in the one nest that the message is.
fn nest(payload: &[u8], kind: u16) -> Result<&[u8], String> {
    attributes(body(payload)?)
        .find_map(|attribute| match attribute {
            Ok(found) if found.kind == kind => Some(Ok(found.value)),
            Ok(_) => None,
            Err(reason) => Some(Err(reason)),
        })
        .unwrap_or_else(|| Err(format!("no attribute {kind}")))
}

/// A virtual server as far as it was told.
#[derive(Default)]
struct ServiceParts<'a> {
    family: Option<Family>,
    protocol: Option<u16>,
    address: &'a [u8],
    port: Option<u16>,
    mark: Option<NonZeroU32>,
    scheduler: &'a str,
    flags: u32,
    timeout_seconds: u32,
    netmask: [u8; 4],
    statistics: Statistics,
}

/// A virtual server of a dump.
pub(super) fn listed_service(payload: &[u8]) -> Result<ListedService, String> {
    let mut parts = ServiceParts::default();
    let mut wide = None;
    for part in attributes(nest(payload, top::SERVICE)?) {
        let part = part?;
        match part.kind {
            service::AF => parts.family = Some(family(part)?),
            service::PROTOCOL => parts.protocol = Some(part.u16_host()?),
            service::ADDR => parts.address = part.value,
            service::PORT => parts.port = Some(part.u16_be()?),
            service::FWMARK => parts.mark = NonZeroU32::new(part.u32_host()?),
            service::SCHED_NAME => parts.scheduler = part.text()?,
            // `struct ip_vs_flags`: the flags, then a mask.
            service::FLAGS => parts.flags = u32::from_ne_bytes(first(part.value)?),
            service::TIMEOUT => parts.timeout_seconds = part.u32_host()?,
            service::NETMASK => parts.netmask = first(part.value)?,
            service::STATS => parts.statistics = counters(part.value)?,
            service::STATS64 => wide = Some(counters(part.value)?),
            _ => {}
        }
    }
    parts.statistics = wide.unwrap_or(parts.statistics);
    parts.listed()
}

impl ServiceParts<'_> {
    fn listed(self) -> Result<ListedService, String> {
        let family = self.family.ok_or("a virtual server without family")?;
        let flag = |bit| self.flags & bit != 0;
        Ok(ListedService {
            service: Service {
                server: self.server(family)?,
                scheduler: self.scheduler.to_owned(),
                scheduler_flags: SchedulerFlags {
                    flag_1: flag(flag::SCHEDULER_1),
                    flag_2: flag(flag::SCHEDULER_2),
                    flag_3: flag(flag::SCHEDULER_3),
                },
                one_packet: flag(flag::ONE_PACKET),
                persistence: if flag(flag::PERSISTENT) {
                    Some(self.persistence(family)?)
                } else {
                    None
                },
            },
            statistics: self.statistics,
        })
    }

    fn server(&self, family: Family) -> Result<VirtualServer, String> {
        if let Some(mark) = self.mark {
            return Ok(VirtualServer::Mark { family, mark });
        }
        let protocol = self.protocol.ok_or("a virtual server without protocol")?;
        let protocol =
            u8::try_from(protocol).map_err(|_| format!("{protocol} is no IP protocol"))?;
        Ok(VirtualServer::Address {
            protocol: IpProtocol(protocol),
            address: address(family, self.address)?,
            port: self.port.ok_or("a virtual server without port")?,
        })
    }

    fn persistence(&self, family: Family) -> Result<Persistence, String> {
        let clients = match family {
            Family::V4 => ClientMask::V4(Ipv4Addr::from(self.netmask)),
            Family::V6 => {
                let length = u32::from_ne_bytes(self.netmask);
                let length =
                    u8::try_from(length).map_err(|_| format!("{length} is no prefix length"))?;
                ClientMask::V6(length)
            }
        };
        Ok(Persistence {
            timeout_seconds: self.timeout_seconds,
            clients,
        })
    }
}

/// A real server of a dump; `family` is that of its virtual server, for kernels (before 3.18) that tell none.
pub(super) fn listed_destination(
    payload: &[u8],
    family: Family,
) -> Result<ListedDestination, String> {
    let (mut own_family, mut address, mut port) = (family, &[][..], None);
    let (mut method, mut weight, mut upper, mut lower) = (0, 0, 0, 0);
    let mut connections = ConnectionCounts::default();
    let (mut narrow, mut wide) = (Statistics::default(), None);
    for part in attributes(nest(payload, top::DEST)?) {
        let part = part?;
        match part.kind {
            destination::ADDR_FAMILY => own_family = self::family(part)?,
            destination::ADDR => address = part.value,
            destination::PORT => port = Some(part.u16_be()?),
            destination::FWD_METHOD => method = part.u32_host()?,
            destination::WEIGHT => weight = part.u32_host()?,
            destination::U_THRESH => upper = part.u32_host()?,
            destination::L_THRESH => lower = part.u32_host()?,
            destination::ACTIVE_CONNS => connections.active = part.u32_host()?,
            destination::INACT_CONNS => connections.inactive = part.u32_host()?,
            destination::PERSIST_CONNS => connections.persistent = part.u32_host()?,
            destination::STATS => narrow = counters(part.value)?,
            destination::STATS64 => wide = Some(counters(part.value)?),
            _ => {}
        }
    }
    Ok(ListedDestination {
        destination: Destination {
            server: RealServer {
                address: self::address(own_family, address)?,
                port: port.ok_or("a real server without port")?,
            },
            forward: forwarding(method)?,
            weight,
            upper_threshold: upper,
            lower_threshold: lower,
        },
        connections,
        statistics: wide.unwrap_or(narrow),
    })
}

fn forwarding(method: u32) -> Result<Forward, String> {
    match method {
        forward::MASQUERADE => Ok(Forward::Masquerade),
        forward::LOCAL => Ok(Forward::Local),
        forward::TUNNEL => Ok(Forward::Tunnel),
        forward::ROUTE => Ok(Forward::Route),
        forward::BYPASS => Ok(Forward::Bypass),
        other => Err(format!("{other} is no forwarding method")),
    }
}

fn family(attribute: Attribute<'_>) -> Result<Family, String> {
    match attribute.u16_host()? {
        AF_INET => Ok(Family::V4),
        AF_INET6 => Ok(Family::V6),
        other => Err(format!("{other} is no address family")),
    }
}

/// The kernel tells 16 bytes in either family (`union nf_inet_addr`).
fn address(family: Family, bytes: &[u8]) -> Result<IpAddr, String> {
    match family {
        Family::V4 => first::<4>(bytes).map(IpAddr::from),
        Family::V6 => first::<16>(bytes).map(IpAddr::from),
    }
}

fn first<const N: usize>(bytes: &[u8]) -> Result<[u8; N], String> {
    bytes
        .first_chunk()
        .copied()
        .ok_or_else(|| format!("{} bytes where {N} were expected", bytes.len()))
}

/// `IPVS_*_ATTR_STATS` has most of its numbers in 32 bits, `STATS64` has all in 64: each is read by its width.
fn counters(nested: &[u8]) -> Result<Statistics, String> {
    let mut counters = Statistics::default();
    for counter in attributes(nested) {
        let counter = counter?;
        let place = match counter.kind {
            statistics::CONNS => &mut counters.connections,
            statistics::INPKTS => &mut counters.packets_in,
            statistics::OUTPKTS => &mut counters.packets_out,
            statistics::INBYTES => &mut counters.bytes_in,
            statistics::OUTBYTES => &mut counters.bytes_out,
            statistics::CPS => &mut counters.connection_rate,
            statistics::INPPS => &mut counters.packet_rate_in,
            statistics::OUTPPS => &mut counters.packet_rate_out,
            statistics::INBPS => &mut counters.byte_rate_in,
            statistics::OUTBPS => &mut counters.byte_rate_out,
            _ => continue,
        };
        *place = match counter.u32_host() {
            Ok(narrow) => narrow.into(),
            Err(_) => counter.u64_host()?,
        };
    }
    Ok(counters)
}

/// The answer to the question for information.
pub(super) fn info(payload: &[u8]) -> Result<Info, String> {
    let (mut version, mut size) = (None, None);
    for attribute in attributes(body(payload)?) {
        let attribute = attribute?;
        match attribute.kind {
            info::VERSION => version = Some(attribute.u32_host()?),
            info::CONN_TAB_SIZE => size = Some(attribute.u32_host()?),
            _ => {}
        }
    }
    let [_, major, minor, patch] = version.ok_or("no version")?.to_be_bytes();
    Ok(Info {
        version: (major, minor, patch),
        connection_table_size: size.ok_or("no size of the connection table")?,
    })
}

/// The answer to the question for timeouts.
pub(super) fn timeouts(payload: &[u8]) -> Result<Timeouts, String> {
    let mut timeouts = Timeouts::default();
    for attribute in attributes(body(payload)?) {
        let attribute = attribute?;
        match attribute.kind {
            top::TIMEOUT_TCP => timeouts.tcp_seconds = attribute.u32_host()?,
            top::TIMEOUT_TCP_FIN => timeouts.tcp_fin_seconds = attribute.u32_host()?,
            top::TIMEOUT_UDP => timeouts.udp_seconds = attribute.u32_host()?,
            _ => {}
        }
    }
    Ok(timeouts)
}
