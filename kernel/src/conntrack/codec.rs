//! Conntrack entries as `NFNL_SUBSYS_CTNETLINK` tells them (`linux/netfilter/nfnetlink_conntrack.h`).

use std::net::IpAddr;

use netlink_packet_core::{DefaultNla, NLA_F_NET_BYTEORDER, NetlinkMessage, ParseableParametrized};
use netlink_packet_netfilter::conntrack::{
    ConntrackAttribute, ConntrackMessage, IPTuple, ProtoTuple, Protocol, Status, Tuple as TuplePart,
};
use netlink_packet_netfilter::{
    NetfilterHeader, NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily,
};

use super::{Family, Flow, IpProtocol, Tuple};
use crate::netlink::Request;

const CTA_ZONE: u16 = 18;
const CTA_TUPLE_ZONE: u16 = 3;

/// One direction as far as it was told.
#[derive(Debug, Clone, Copy, Default)]
struct Direction {
    protocol: Option<u8>,
    source: Option<IpAddr>,
    destination: Option<IpAddr>,
    source_port: Option<u16>,
    destination_port: Option<u16>,
    zone: Option<u16>,
}

impl Direction {
    fn read(parts: &[TuplePart]) -> Self {
        let mut read = Self::default();
        for part in parts {
            match part {
                TuplePart::Ip(addresses) => addresses.iter().for_each(|a| read.address(a)),
                TuplePart::Proto(ports) => ports.iter().for_each(|port| read.port(port)),
                TuplePart::Other(other) => read.zone = read.zone.or(zone(other, CTA_TUPLE_ZONE)),
                _ => {}
            }
        }
        read
    }

    fn address(&mut self, address: &IPTuple) {
        match address {
            IPTuple::SourceAddress(ip) => self.source = Some(*ip),
            IPTuple::DestinationAddress(ip) => self.destination = Some(*ip),
            _ => {}
        }
    }

    fn port(&mut self, port: &ProtoTuple) {
        match port {
            ProtoTuple::Protocol(protocol) => self.protocol = Some((*protocol).into()),
            ProtoTuple::SourcePort(port) => self.source_port = Some(*port),
            ProtoTuple::DestinationPort(port) => self.destination_port = Some(*port),
            _ => {}
        }
    }

    fn tuple(&self) -> Option<Tuple> {
        Some(Tuple {
            source: self.source?,
            destination: self.destination?,
            source_port: self.source_port?,
            destination_port: self.destination_port?,
        })
    }
}

fn zone(attribute: &DefaultNla, kind: u16) -> Option<u16> {
    use netlink_packet_core::Nla;

    let mut value = [0; 2];
    if attribute.kind() & !NLA_F_NET_BYTEORDER != kind || attribute.value_len() != value.len() {
        return None;
    }
    attribute.emit_value(&mut value);
    Some(u16::from_be_bytes(value))
}

/// The flow of one message of a dump; `None` for protocols other than TCP, UDP and SCTP.
pub(super) fn decode(message_type: u16, payload: &[u8]) -> Result<Option<Flow>, String> {
    let message = NetfilterMessage::parse_with_param(payload, message_type)
        .map_err(|error| error.to_string())?;
    let NetfilterMessageInner::Conntrack(ConntrackMessage::New(attributes)) = message.inner else {
        return Err(format!("a message of type {message_type:#x} in a dump"));
    };
    let (mut original, mut reply) = (Direction::default(), Direction::default());
    let (mut status, mut both_ways) = (Status::empty(), None);
    for attribute in &attributes {
        match attribute {
            ConntrackAttribute::CtaTupleOrig(parts) => original = Direction::read(parts),
            ConntrackAttribute::CtaTupleReply(parts) => reply = Direction::read(parts),
            ConntrackAttribute::CtaStatus(bits) => status = *bits,
            ConntrackAttribute::Other(other) => both_ways = both_ways.or(zone(other, CTA_ZONE)),
            _ => {}
        }
    }
    let protocol = IpProtocol(original.protocol.ok_or("an entry without protocol")?);
    if ![IpProtocol::TCP, IpProtocol::UDP, IpProtocol::SCTP].contains(&protocol) {
        return Ok(None);
    }
    let untold = || format!("an entry without addresses or ports: {original:?} {reply:?}");
    let (original_tuple, reply_tuple) = original.tuple().zip(reply.tuple()).ok_or_else(untold)?;
    Ok(Some(Flow {
        family: Family::of(original_tuple.source),
        protocol,
        original: original_tuple,
        reply: reply_tuple,
        zone: both_ways.or(original.zone).unwrap_or_default(),
        destination_translated: status.contains(Status::DstNat),
        source_translated: status.contains(Status::SrcNat),
    }))
}

/// The request to delete a flow, found by its original tuple and zone.
pub(super) fn delete(flow: &Flow) -> Request {
    let Tuple {
        source,
        destination,
        source_port,
        destination_port,
    } = flow.original;
    let tuple = vec![
        TuplePart::Ip(vec![
            IPTuple::SourceAddress(source),
            IPTuple::DestinationAddress(destination),
        ]),
        TuplePart::Proto(vec![
            ProtoTuple::Protocol(Protocol::from(flow.protocol.0)),
            ProtoTuple::SourcePort(source_port),
            ProtoTuple::DestinationPort(destination_port),
        ]),
    ];
    let zone = DefaultNla::new(
        CTA_ZONE | NLA_F_NET_BYTEORDER,
        flow.zone.to_be_bytes().to_vec(),
    );
    let attributes = vec![
        ConntrackAttribute::CtaTupleOrig(tuple),
        ConntrackAttribute::Other(zone),
    ];
    let family = match flow.family {
        Family::V4 => NetfilterProtoFamily::IPv4,
        Family::V6 => NetfilterProtoFamily::IPv6,
    };
    let message = NetfilterMessage::new(
        NetfilterHeader::new(family, 0, 0),
        ConntrackMessage::Delete(attributes),
    );
    Request::of(NetlinkMessage::from(message))
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::NetlinkPayload;
    use proptest::prelude::*;

    use super::{
        ConntrackAttribute, ConntrackMessage, DefaultNla, Family, Flow, IPTuple, IpAddr,
        IpProtocol, NetfilterMessage, NetfilterMessageInner, NetlinkMessage, ProtoTuple, Status,
        Tuple, TuplePart, decode, delete,
    };

    const NEW: u16 = 0x100;

    fn tuple(v6: bool) -> impl Strategy<Value = Tuple> {
        let ip = move || {
            if v6 {
                any::<[u8; 16]>().prop_map(IpAddr::from).boxed()
            } else {
                any::<[u8; 4]>().prop_map(IpAddr::from).boxed()
            }
        };
        (ip(), ip(), any::<u16>(), any::<u16>()).prop_map(
            |(source, destination, source_port, destination_port)| Tuple {
                source,
                destination,
                source_port,
                destination_port,
            },
        )
    }

    fn flow() -> impl Strategy<Value = Flow> {
        let protocol =
            prop::sample::select(vec![IpProtocol::TCP, IpProtocol::UDP, IpProtocol::SCTP]);
        let translated = any::<(bool, bool)>();
        (any::<bool>(), protocol, any::<u16>(), translated).prop_flat_map(
            |(v6, protocol, zone, (destination_translated, source_translated))| {
                (tuple(v6), tuple(v6)).prop_map(move |(original, reply)| Flow {
                    family: if v6 { Family::V6 } else { Family::V4 },
                    protocol,
                    original,
                    reply,
                    zone,
                    destination_translated,
                    source_translated,
                })
            },
        )
    }

    /// The kernel's answer for a flow, made of its own deletion: that holds the original tuple and the zone.
    fn told(flow: &Flow) -> Vec<u8> {
        let reversed = Flow {
            original: flow.reply,
            ..*flow
        };
        let [mut attributes, reply] = [flow, &reversed].map(|flow| {
            let bytes = delete(flow).into_bytes();
            let message = NetlinkMessage::<NetfilterMessage>::deserialize(&bytes).unwrap();
            let NetlinkPayload::InnerMessage(message) = message.payload else {
                panic!()
            };
            let NetfilterMessageInner::Conntrack(ConntrackMessage::Delete(attributes)) =
                message.inner
            else {
                panic!()
            };
            attributes
        });
        for attribute in reply {
            if let ConntrackAttribute::CtaTupleOrig(parts) = attribute {
                attributes.push(ConntrackAttribute::CtaTupleReply(parts));
            }
        }
        let mut status = Status::Confirmed | Status::SrcNatDone | Status::DstNatDone;
        status.set(Status::DstNat, flow.destination_translated);
        status.set(Status::SrcNat, flow.source_translated);
        attributes.push(ConntrackAttribute::CtaStatus(status));
        payload(attributes)
    }

    fn payload(attributes: Vec<ConntrackAttribute>) -> Vec<u8> {
        use netlink_packet_core::Emitable;

        let message = ConntrackMessage::New(attributes);
        let mut bytes = vec![0; 4 + message.buffer_len()];
        message.emit(&mut bytes[4..]);
        bytes
    }

    proptest! {
        #[test]
        fn a_flow_is_read_as_it_was_told(flow in flow()) {
            prop_assert_eq!(decode(NEW, &told(&flow)), Ok(Some(flow)));
        }

        #[test]
        fn any_bytes_are_decoded_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
            let _ = decode(NEW, &bytes);
        }
    }

    #[test]
    fn a_zone_of_the_original_direction_only_is_the_flows_zone() {
        let parts = |zone: Option<u16>| {
            let mut parts = vec![
                TuplePart::Ip(vec![
                    IPTuple::SourceAddress([10, 0, 0, 1].into()),
                    IPTuple::DestinationAddress([10, 0, 0, 2].into()),
                ]),
                TuplePart::Proto(vec![
                    ProtoTuple::Protocol(17.into()),
                    ProtoTuple::SourcePort(1),
                    ProtoTuple::DestinationPort(2),
                ]),
            ];
            let zone = zone.map(|zone| DefaultNla::new(3, zone.to_be_bytes().to_vec()));
            parts.extend(zone.map(TuplePart::Other));
            parts
        };
        let bytes = payload(vec![
            ConntrackAttribute::CtaTupleOrig(parts(Some(9))),
            ConntrackAttribute::CtaTupleReply(parts(None)),
        ]);
        assert_eq!(decode(NEW, &bytes).unwrap().unwrap().zone, 9);
    }

    #[test]
    fn an_entry_of_a_protocol_without_ports_is_passed_over() {
        let parts = vec![TuplePart::Proto(vec![ProtoTuple::Protocol(1.into())])];
        let bytes = payload(vec![
            ConntrackAttribute::CtaTupleOrig(parts.clone()),
            ConntrackAttribute::CtaTupleReply(parts),
        ]);
        assert_eq!(decode(NEW, &bytes), Ok(None));
    }
}
