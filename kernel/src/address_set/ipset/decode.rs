//! Answers of ipset.

use super::super::limits::ALL_PORTS;
use super::super::{Family, ListedEntry, SetHeader, SetKind, SetSpec};
use super::attributes::{WITH_SKBINFO, command, set};
use super::{element, kind};
use crate::netlink::{NETFILTER_HEADER, NETLINK_HEADER, NFPROTO_IPV6, attributes};

/// Lowest and highest of what the kernel speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Versions {
    pub(super) min: u8,
    pub(super) max: u8,
}

impl Versions {
    /// The highest that the kernel and a client which knows those up to `known` both speak.
    pub(super) fn common(self, known: u8) -> Option<u8> {
        Some(self.max.min(known)).filter(|version| *version >= self.min)
    }
}

/// The attributes of an answer, after its `nfgenmsg`.
fn body(payload: &[u8]) -> Result<&[u8], String> {
    payload
        .get(NETFILTER_HEADER..)
        .ok_or_else(|| "no netfilter header".to_owned())
}

/// Answer to the question for protocol versions.
pub(super) fn protocol(payload: &[u8]) -> Result<Versions, String> {
    versions(payload, command::PROTOCOL, command::PROTOCOL_MIN)
}

/// Answer to the question for the revisions of a set type.
pub(super) fn revisions(payload: &[u8]) -> Result<Versions, String> {
    versions(payload, command::REVISION, command::REVISION_MIN)
}

fn versions(payload: &[u8], max: u16, min: u16) -> Result<Versions, String> {
    let (mut lowest, mut highest) = (None, None);
    for attribute in attributes(body(payload)?) {
        let attribute = attribute?;
        if attribute.kind == max {
            highest = Some(attribute.u8()?);
        } else if attribute.kind == min {
            lowest = Some(attribute.u8()?);
        }
    }
    let max = highest.ok_or("no version in the answer")?;
    Ok(Versions {
        min: lowest.unwrap_or(max),
        max,
    })
}

/// The header of a set; `None` for a set whose name does not start with `prefix`, or of a type not spoken here.
pub(super) fn header(payload: &[u8], prefix: &str) -> Result<Option<SetHeader>, String> {
    let (mut name, mut set_kind, mut family, mut data) = ("", None, Family::V4, &[][..]);
    for attribute in attributes(body(payload)?) {
        let attribute = attribute?;
        match attribute.kind {
            command::SETNAME => name = attribute.text()?,
            command::TYPENAME => set_kind = kind::named(attribute.text()?),
            command::FAMILY if attribute.u8()? == NFPROTO_IPV6 => family = Family::V6,
            command::DATA => data = attribute.value,
            _ => {}
        }
    }
    let Some(set_kind) = set_kind.filter(|_| name.starts_with(prefix)) else {
        return Ok(None);
    };
    let size = if set_kind == SetKind::BitmapPort {
        ALL_PORTS
    } else {
        0
    };
    let mut header = SetHeader {
        spec: SetSpec {
            name: name.to_owned(),
            kind: set_kind,
            family,
            max_entries: size,
            expected_entries: size,
            timeout_seconds: None,
            marks: false,
        },
        entries: 0,
        references: 0,
    };
    for attribute in attributes(data) {
        let attribute = attribute?;
        match attribute.kind {
            set::HASHSIZE => header.spec.expected_entries = attribute.u32_be()?,
            set::MAXELEM => header.spec.max_entries = attribute.u32_be()?,
            set::TIMEOUT => header.spec.timeout_seconds = Some(attribute.u32_be()?),
            set::CADT_FLAGS => header.spec.marks = attribute.u32_be()? & WITH_SKBINFO != 0,
            set::ELEMENTS => header.entries = attribute.u32_be()?,
            set::REFERENCES => header.references = attribute.u32_be()?,
            _ => {}
        }
    }
    Ok(Some(header))
}

/// The entries of one set, gathered from the parts of its dump.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// Told by the first part only.
    kind: Option<SetKind>,
    pub(super) entries: Vec<ListedEntry>,
}

impl Listing {
    /// Takes one part.
    pub(super) fn take(&mut self, payload: &[u8]) -> Result<(), String> {
        for attribute in attributes(body(payload)?) {
            let attribute = attribute?;
            match attribute.kind {
                command::TYPENAME => {
                    let name = attribute.text()?;
                    let unknown = || format!("a set of type {name}, which is none of ours");
                    self.kind = Some(kind::named(name).ok_or_else(unknown)?);
                }
                command::ADT => {
                    let kind = self.kind.ok_or("entries before the type of their set")?;
                    for data in attributes(attribute.value) {
                        self.entries.push(element::decode(kind, data?.value)?);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// The line that a refused batch failed at: the kernel writes it into the request, which it quotes.
pub(super) fn refused_line(request: &[u8]) -> Option<u32> {
    attributes(request.get(NETLINK_HEADER + NETFILTER_HEADER..)?)
        .map_while(Result::ok)
        .find(|attribute| attribute.kind == command::LINENO)
        .and_then(|attribute| attribute.u32_host().ok())
        .filter(|line| *line > 0)
}
