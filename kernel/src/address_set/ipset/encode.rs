//! Requests to ipset.

use std::iter::Peekable;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL};

use super::super::limits::hash_size;
use super::super::{Attachment, Entry, SetKind, SetSpec};
use super::attributes::{Command, LIST_HEADER, SUBSYSTEM, WITH_SKBINFO, command, set};
use super::{element, kind};
use crate::netlink::{NFPROTO_UNSPEC, Request};

/// Entries of one message. Beyond this nothing gets faster.
const BATCH_ENTRIES: u32 = 1_000;
/// Bytes of one message: what its nest of entries has room for with its 16-bit length.
const BATCH_BYTES: usize = 65_000;

/// A request in the form common to all: every one tells the protocol version.
fn request(protocol: u8, command: Command, flags: u16, family: u8) -> Request {
    let mut message = Request::netfilter(SUBSYSTEM, command as u8, flags, family);
    message.u8(command::PROTOCOL, protocol);
    message
}

/// Asks which protocol versions the kernel speaks.
pub(super) fn protocol(protocol: u8) -> Request {
    request(protocol, Command::Protocol, 0, NFPROTO_UNSPEC)
}

/// Asks which revisions of a set type the kernel has.
pub(super) fn revisions(protocol: u8, spec: &SetSpec) -> Request {
    let family = kind::protocol_family(spec.kind, spec.family);
    let mut message = request(protocol, Command::Type, 0, family);
    message.text(command::TYPENAME, &spec.kind.to_string());
    message.u8(command::FAMILY, family);
    message
}

/// Creates a set; refused if there is one of that name.
pub(super) fn create(protocol: u8, spec: &SetSpec, revision: u8) -> Request {
    let family = kind::protocol_family(spec.kind, spec.family);
    let mut message = request(protocol, Command::Create, NLM_F_CREATE | NLM_F_EXCL, family);
    message.text(command::SETNAME, &spec.name);
    message.text(command::TYPENAME, &spec.kind.to_string());
    message.u8(command::REVISION, revision);
    message.u8(command::FAMILY, family);
    message.nested(command::DATA, |data| {
        if spec.kind == SetKind::BitmapPort {
            data.u16_be(set::PORT_FROM, 0);
            data.u16_be(set::PORT_TO, u16::MAX);
        } else {
            data.u32_be(set::HASHSIZE, hash_size(spec));
            data.u32_be(set::MAXELEM, spec.max_entries);
        }
        if let Some(seconds) = spec.timeout_seconds {
            data.u32_be(set::TIMEOUT, seconds);
        }
        if spec.marks {
            data.u32_be(set::CADT_FLAGS, WITH_SKBINFO);
        }
    });
    message
}

/// Destroys a set. With `NLM_F_EXCL`: else a missing set is no error on newer kernels.
pub(super) fn destroy(protocol: u8, name: &str) -> Request {
    let mut message = request(protocol, Command::Destroy, NLM_F_EXCL, NFPROTO_UNSPEC);
    message.text(command::SETNAME, name);
    message
}

/// Exchanges two sets.
pub(super) fn swap(protocol: u8, one: &str, other: &str) -> Request {
    let mut message = request(protocol, Command::Swap, 0, NFPROTO_UNSPEC);
    message.text(command::SETNAME, one);
    message.text(command::SETNAME2, other);
    message
}

/// Dumps the headers of all sets, no entries.
pub(super) fn list_headers(protocol: u8) -> Request {
    let mut message = request(protocol, Command::List, NLM_F_DUMP, NFPROTO_UNSPEC);
    message.u32_be(command::FLAGS, LIST_HEADER);
    message
}

/// Dumps one set with its entries.
pub(super) fn list(protocol: u8, name: &str) -> Request {
    let mut message = request(protocol, Command::List, NLM_F_DUMP, NFPROTO_UNSPEC);
    message.text(command::SETNAME, name);
    message
}

/// Adds or deletes as many of `entries` as one message takes. The first is line 1. Without `NLM_F_EXCL`: to add what is
/// there, or to delete what is not, is no error then and does not end the batch.
pub(super) fn batch(
    protocol: u8,
    command: Command,
    spec: &SetSpec,
    entries: &mut Peekable<impl Iterator<Item = (Entry, Attachment)>>,
) -> Request {
    let family = kind::protocol_family(spec.kind, spec.family);
    let mut message = request(protocol, command, 0, family);
    message.text(command::SETNAME, &spec.name);
    message.u32_host(command::LINENO, 0);
    message.nested(command::ADT, |nest| {
        let mut lines = 1..=BATCH_ENTRIES;
        while nest.len() + element::MAX_BYTES <= BATCH_BYTES
            && let Some(line) = lines.next()
            && let Some((entry, attachment)) = entries.next()
        {
            nest.nested(command::DATA, |data| {
                element::encode(data, entry, attachment, line);
            });
        }
    });
    message
}
