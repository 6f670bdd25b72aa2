//! Writing a netlink message: `nlmsghdr`, the header of the subsystem, attributes.

use netlink_packet_core::{
    NLA_F_NESTED, NLA_F_NET_BYTEORDER, NLA_HEADER_SIZE, NLM_F_ACK, NLM_F_REQUEST, NetlinkMessage,
    NetlinkSerializable,
};

use super::NETLINK_HEADER;
use super::attribute::ALIGNMENT;

/// One message on its way to the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    bytes: Vec<u8>,
}

impl Request {
    /// A message to `command` of a netfilter subsystem (`NFNL_SUBSYS_*`) that asks to be acknowledged.
    pub(crate) fn netfilter(subsystem: u8, command: u8, flags: u16, family: u8) -> Self {
        let message_type = u16::from(subsystem) << 8 | u16::from(command);
        Self::new(message_type, flags, [family, 0, 0, 0])
    }

    /// A message to `command` of a generic netlink family that asks to be acknowledged.
    pub(crate) fn generic(family: u16, command: u8, version: u8, flags: u16) -> Self {
        Self::new(family, flags, [command, version, 0, 0])
    }

    /// A message in the words of a codec, with its flags, that asks to be acknowledged.
    pub(crate) fn of<I: NetlinkSerializable>(mut message: NetlinkMessage<I>) -> Self {
        message.header.flags |= NLM_F_REQUEST | NLM_F_ACK;
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        Self { bytes }
    }

    /// A message about one link (`struct ifinfomsg`) that asks to be acknowledged. An index of 0 means that an attribute names it.
    pub(crate) fn link(message_type: u16, index: u32) -> Self {
        let mut request = Self::new(message_type, 0, [0; 4]);
        request.bytes.extend(index.to_ne_bytes());
        // Neither flags nor a mask of flags to change.
        request.bytes.extend([0; 8]);
        request
    }

    fn new(message_type: u16, flags: u16, header: [u8; 4]) -> Self {
        let mut bytes = vec![0; NETLINK_HEADER];
        bytes.splice(4..6, message_type.to_ne_bytes());
        bytes.splice(6..8, (flags | NLM_F_REQUEST | NLM_F_ACK).to_ne_bytes());
        bytes.extend(header);
        Self { bytes }
    }

    /// Bytes so far, headers included.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn u8(&mut self, kind: u16, value: u8) {
        self.bytes(kind, &[value]);
    }

    /// In network byte order, and flagged so.
    pub(crate) fn u16_be(&mut self, kind: u16, value: u16) {
        self.network_order(kind, &value.to_be_bytes());
    }

    /// In network byte order, and flagged so.
    pub(crate) fn u32_be(&mut self, kind: u16, value: u32) {
        self.network_order(kind, &value.to_be_bytes());
    }

    pub(crate) fn u16_host(&mut self, kind: u16, value: u16) {
        self.bytes(kind, &value.to_ne_bytes());
    }

    pub(crate) fn u32_host(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_ne_bytes());
    }

    /// Bytes that are in network byte order, and flagged so.
    pub(crate) fn network_order(&mut self, kind: u16, value: &[u8]) {
        self.bytes(kind | NLA_F_NET_BYTEORDER, value);
    }

    /// Text with a terminating zero.
    pub(crate) fn text(&mut self, kind: u16, value: &str) {
        let terminated: Vec<u8> = value.bytes().chain([0]).collect();
        self.bytes(kind, &terminated);
    }

    /// An attribute made of the attributes that `write` writes; together at most 65,531 bytes, as a length has 16 bits.
    pub(crate) fn nested<T>(&mut self, kind: u16, write: impl FnOnce(&mut Self) -> T) -> T {
        let start = self.bytes.len();
        self.header(0, kind | NLA_F_NESTED);
        let written = write(self);
        let length = self.bytes.len() - start;
        self.bytes.splice(start..start + 2, length_field(length));
        written
    }

    /// The finished message, without a sequence number.
    pub(crate) fn into_bytes(mut self) -> Vec<u8> {
        let length = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        self.bytes.splice(0..4, length.to_ne_bytes());
        self.bytes
    }

    /// Bytes as they are.
    pub(crate) fn bytes(&mut self, kind: u16, value: &[u8]) {
        self.header(NLA_HEADER_SIZE + value.len(), kind);
        self.bytes.extend_from_slice(value);
        let padded = self.bytes.len().next_multiple_of(ALIGNMENT);
        self.bytes.resize(padded, 0);
    }

    fn header(&mut self, length: usize, kind: u16) {
        self.bytes.extend_from_slice(&length_field(length));
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
    }
}

/// A length beyond the field is written as the largest there is: the kernel refuses such a message whole.
fn length_field(length: usize) -> [u8; 2] {
    u16::try_from(length).unwrap_or(u16::MAX).to_ne_bytes()
}
