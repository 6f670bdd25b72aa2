//! One entry on the wire: the attributes inside an `IPSET_ATTR_DATA`.

use std::net::IpAddr;

use ipnet::IpNet;

use super::super::{Attachment, Entry, IpProtocol, ListedEntry, Mark, SetKind};
use super::attributes::{address, entry as attribute};
use crate::netlink::{Attribute, Request, attributes};

/// An upper bound of the bytes of one entry: two IPv6 addresses of 24, six numbers of 8, a mark of 12, and the nest's 4.
pub(super) const MAX_BYTES: usize = 2 * 24 + 6 * 8 + 12 + 4;

/// The parts of an entry of any kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Parts {
    ip: Option<IpAddr>,
    prefix: Option<u8>,
    protocol: Option<u8>,
    port: Option<u16>,
    ip2: Option<IpAddr>,
    prefix2: Option<u8>,
}

impl From<Entry> for Parts {
    fn from(entry: Entry) -> Self {
        let ported = |IpProtocol(protocol), port| Self {
            protocol: Some(protocol),
            port: Some(port),
            ..Self::default()
        };
        let net = |net: IpNet| (Some(net.addr()), Some(net.prefix_len()));
        match entry {
            Entry::Ip(ip) => Self {
                ip: Some(ip),
                ..Self::default()
            },
            Entry::Net(network) => {
                let (ip, prefix) = net(network);
                Self {
                    ip,
                    prefix,
                    ..Self::default()
                }
            }
            Entry::IpPort(ip, protocol, port) => Self {
                ip: Some(ip),
                ..ported(protocol, port)
            },
            Entry::NetPort(network, protocol, port) => {
                let (ip, prefix) = net(network);
                Self {
                    ip,
                    prefix,
                    ..ported(protocol, port)
                }
            }
            Entry::IpPortIp(ip, protocol, port, ip2) => Self {
                ip: Some(ip),
                ip2: Some(ip2),
                ..ported(protocol, port)
            },
            Entry::IpPortNet(ip, protocol, port, network) => {
                let (ip2, prefix2) = net(network);
                Self {
                    ip: Some(ip),
                    ip2,
                    prefix2,
                    ..ported(protocol, port)
                }
            }
            Entry::Port(port) => Self {
                port: Some(port),
                ..Self::default()
            },
        }
    }
}

impl Parts {
    /// The entry of a set of this kind; `None` if a part is missing.
    fn entry(self, kind: SetKind) -> Option<Entry> {
        let protocol = self.protocol.map(IpProtocol);
        let net = |ip: Option<IpAddr>, prefix: Option<u8>| IpNet::new(ip?, prefix?).ok();
        Some(match kind {
            SetKind::HashIp => Entry::Ip(self.ip?),
            SetKind::HashNet => Entry::Net(net(self.ip, self.prefix)?),
            SetKind::HashIpPort => Entry::IpPort(self.ip?, protocol?, self.port?),
            SetKind::HashNetPort => {
                Entry::NetPort(net(self.ip, self.prefix)?, protocol?, self.port?)
            }
            SetKind::HashIpPortIp => Entry::IpPortIp(self.ip?, protocol?, self.port?, self.ip2?),
            SetKind::HashIpPortNet => Entry::IpPortNet(
                self.ip?,
                protocol?,
                self.port?,
                net(self.ip2, self.prefix2)?,
            ),
            SetKind::BitmapPort => Entry::Port(self.port?),
        })
    }
}

/// Writes an entry. An error of the kernel names it by `line`.
pub(super) fn encode(message: &mut Request, entry: Entry, attachment: Attachment, line: u32) {
    let parts = Parts::from(entry);
    if let Some(ip) = parts.ip {
        encode_address(message, attribute::IP, ip);
    }
    if let Some(prefix) = parts.prefix {
        message.u8(attribute::CIDR, prefix);
    }
    if let Some(port) = parts.port {
        message.u16_be(attribute::PORT, port);
    }
    if let Some(protocol) = parts.protocol {
        message.u8(attribute::PROTO, protocol);
    }
    if let Some(ip) = parts.ip2 {
        encode_address(message, attribute::IP2, ip);
    }
    if let Some(prefix) = parts.prefix2 {
        message.u8(attribute::CIDR2, prefix);
    }
    if let Some(seconds) = attachment.timeout_seconds {
        message.u32_be(attribute::TIMEOUT, seconds);
    }
    if let Some(Mark { value, mask }) = attachment.mark {
        let both = u64::from(value) << 32 | u64::from(mask);
        message.network_order(attribute::SKBMARK, &both.to_be_bytes());
    }
    message.u32_host(attribute::LINENO, line);
}

fn encode_address(message: &mut Request, kind: u16, ip: IpAddr) {
    message.nested(kind, |nest| match ip {
        IpAddr::V4(ip) => nest.network_order(address::IPV4, &ip.octets()),
        IpAddr::V6(ip) => nest.network_order(address::IPV6, &ip.octets()),
    });
}

/// Reads an entry of a set of this kind. What it does not know (counters, comments) is passed over.
pub(super) fn decode(kind: SetKind, data: &[u8]) -> Result<ListedEntry, String> {
    let mut parts = Parts::default();
    let (mut timeout_seconds, mut mark) = (None, None);
    for part in attributes(data) {
        let part = part?;
        match part.kind {
            attribute::IP => parts.ip = Some(decode_address(part)?),
            attribute::CIDR => parts.prefix = Some(part.u8()?),
            attribute::PORT => parts.port = Some(part.u16_be()?),
            attribute::PROTO => parts.protocol = Some(part.u8()?),
            attribute::IP2 => parts.ip2 = Some(decode_address(part)?),
            attribute::CIDR2 => parts.prefix2 = Some(part.u8()?),
            attribute::TIMEOUT => timeout_seconds = Some(part.u32_be()?),
            attribute::SKBMARK => mark = Some(decode_mark(part)?),
            _ => {}
        }
    }
    let entry = parts
        .entry(kind)
        .ok_or_else(|| format!("{parts:?} is no entry of {kind}"))?;
    Ok(ListedEntry {
        entry,
        timeout_seconds,
        mark,
    })
}

fn decode_mark(attribute: Attribute<'_>) -> Result<Mark, String> {
    let bytes = attribute.value;
    let (Some((value, _)), Some((_, mask))) = (
        bytes.split_first_chunk().filter(|_| bytes.len() == 8),
        bytes.split_last_chunk(),
    ) else {
        return Err(format!("a mark of {} bytes", bytes.len()));
    };
    Ok(Mark {
        value: u32::from_be_bytes(*value),
        mask: u32::from_be_bytes(*mask),
    })
}

fn decode_address(attribute: Attribute<'_>) -> Result<IpAddr, String> {
    let inner = attributes(attribute.value)
        .next()
        .ok_or("an address without value")??;
    match inner.kind {
        address::IPV4 => inner.ipv4().map(IpAddr::from),
        address::IPV6 => inner.ipv6().map(IpAddr::from),
        other => Err(format!("an address of family attribute {other}")),
    }
}
