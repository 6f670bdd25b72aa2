//! Address sets kept by the kernel's ipset, over nfnetlink (`NFNL_SUBSYS_IPSET`). No program is run.

mod attributes;
mod decode;
mod element;
mod encode;
mod kind;
mod refusal;
#[cfg(test)]
mod round_trip;

use std::collections::HashMap;

use netlink_sys::protocols::NETLINK_NETFILTER;

use self::attributes::{Command, PROTOCOL};
use self::decode::{Listing, Versions};
use self::refusal::Refusal;
use super::limits::{check_entry, check_name};
use super::{
    AddressSetError, AddressSets, Attachment, Entry, Family, ListedEntry, Mark, SetHeader, SetKind,
    SetSpec,
};
use crate::netlink::{NetlinkError, NetlinkSocket, ReadAnswer, Request, settled};

/// `EINVAL`: nfnetlink's answer for a subsystem that it lacks.
const EINVAL: i32 = 22;

/// The door to the kernel's ipset, in the network namespace of the thread that opened it.
pub struct IpsetNetlink {
    socket: NetlinkSocket,
    protocol: u8,
    revisions: HashMap<(SetKind, Family), u8>,
}

/// What a request was about, for its error.
#[derive(Clone, Copy)]
struct About<'a> {
    operation: &'static str,
    set: &'a str,
    second_set: Option<&'a str>,
    kind: Option<SetKind>,
}

impl IpsetNetlink {
    /// Opens a socket and agrees on a protocol version.
    ///
    /// # Errors
    /// [`AddressSetError::Unsupported`] where the kernel has no ipset, [`AddressSetError::NotPermitted`] without
    /// `CAP_NET_ADMIN`.
    pub fn open() -> Result<Self, AddressSetError> {
        let socket =
            NetlinkSocket::open(NETLINK_NETFILTER).map_err(|source| AddressSetError::Socket {
                operation: "open",
                source,
            })?;
        let mut door = Self {
            socket,
            protocol: PROTOCOL,
            revisions: HashMap::new(),
        };
        let about = About::set("ask for the protocol version", "");
        let answer = door.ask_versions(encode::protocol(PROTOCOL), decode::protocol, about);
        let versions = match answer {
            Err(AddressSetError::Kernel { code: EINVAL, .. }) => {
                return Err(AddressSetError::Unsupported);
            }
            other => other?,
        };
        door.protocol = versions
            .common(PROTOCOL)
            .ok_or(AddressSetError::Unsupported)?;
        Ok(door)
    }

    /// Netlink messages sent since it was opened.
    pub fn messages_sent(&self) -> u64 {
        self.socket.messages_sent()
    }

    /// The revision of a set type to create sets in.
    fn revision(&mut self, spec: &SetSpec) -> Result<u8, AddressSetError> {
        let key = (spec.kind, spec.family);
        if let Some(revision) = self.revisions.get(&key) {
            return Ok(*revision);
        }
        let about = About::of("ask for the set type", spec);
        let request = encode::revisions(self.protocol, spec);
        let versions = self.ask_versions(request, decode::revisions, about)?;
        let revision = versions
            .common(kind::newest_revision(spec.kind))
            .ok_or_else(|| {
                let (kind, module) = (spec.kind.to_string(), kind::module(spec.kind));
                AddressSetError::NoSuchKind { kind, module }
            })?;
        self.revisions.insert(key, revision);
        Ok(revision)
    }

    fn ask_versions(
        &mut self,
        request: Request,
        decode: impl Fn(&[u8]) -> Result<Versions, String>,
        about: About<'_>,
    ) -> Result<Versions, AddressSetError> {
        let mut versions = Versions::default();
        let mut read = |_, payload: &[u8]| decode(payload).map(|read| versions = read);
        self.ask(request, about, &mut read)?;
        Ok(versions)
    }

    fn ask(
        &mut self,
        request: Request,
        about: About<'_>,
        read: &mut ReadAnswer<'_>,
    ) -> Result<(), AddressSetError> {
        self.socket
            .ask(&mut request.into_bytes(), read)
            .map_err(|error| about.error(error, None))
    }

    /// Sends a request that is answered by yes or no.
    fn tell(&mut self, request: Request, about: About<'_>) -> Result<(), AddressSetError> {
        self.ask(request, about, &mut |_, _| Ok(()))
    }

    /// One message after the other, each when the one before was taken: so nothing follows an entry that was refused, and
    /// the kernel's quotations of refused messages cannot overflow the receive buffer.
    fn change(
        &mut self,
        command: Command,
        about: About<'_>,
        set: &SetSpec,
        entries: &(impl ExactSizeIterator<Item = (Entry, Attachment)> + Clone),
    ) -> Result<(), AddressSetError> {
        entries
            .clone()
            .try_for_each(|(entry, _)| check_entry(set, &entry))?;
        let mut rest = entries.clone().peekable();
        while rest.peek().is_some() {
            let taken = entries.len() - rest.len();
            let request = encode::batch(self.protocol, command, set, &mut rest);
            self.socket
                .ask(&mut request.into_bytes(), &mut |_, _| Ok(()))
                .map_err(|error| {
                    let line = refused_line(&error).and_then(|line| usize::try_from(line).ok());
                    let entry = line.and_then(|line| entries.clone().nth(taken + line - 1));
                    about.error(error, entry.map(|(entry, _)| entry))
                })?;
        }
        Ok(())
    }
}

impl AddressSets for IpsetNetlink {
    fn create(&mut self, spec: &SetSpec) -> Result<(), AddressSetError> {
        check_name(&spec.name)?;
        let revision = self.revision(spec)?;
        let request = encode::create(self.protocol, spec, revision);
        self.tell(request, About::of("create", spec))
    }

    fn destroy(&mut self, name: &str) -> Result<(), AddressSetError> {
        check_name(name)?;
        self.tell(
            encode::destroy(self.protocol, name),
            About::set("destroy", name),
        )
    }

    fn add(&mut self, set: &SetSpec, entries: &[Entry]) -> Result<(), AddressSetError> {
        let entries = entries.iter().map(|entry| (*entry, Attachment::default()));
        self.change(Command::Add, About::of("add", set), set, &entries)
    }

    fn add_with_timeout(
        &mut self,
        set: &SetSpec,
        entries: &[(Entry, u32)],
    ) -> Result<(), AddressSetError> {
        let entries = entries
            .iter()
            .map(|(entry, seconds)| (*entry, Attachment::lifetime(*seconds)));
        self.change(Command::Add, About::of("add", set), set, &entries)
    }

    fn add_marked(
        &mut self,
        set: &SetSpec,
        entries: &[(Entry, Mark)],
    ) -> Result<(), AddressSetError> {
        let entries = entries
            .iter()
            .map(|(entry, mark)| (*entry, Attachment::mark(*mark)));
        self.change(Command::Add, About::of("add", set), set, &entries)
    }

    fn delete(&mut self, set: &SetSpec, entries: &[Entry]) -> Result<(), AddressSetError> {
        let entries = entries.iter().map(|entry| (*entry, Attachment::default()));
        self.change(Command::Delete, About::of("delete", set), set, &entries)
    }

    fn swap(&mut self, one: &str, other: &str) -> Result<(), AddressSetError> {
        check_name(one)?;
        check_name(other)?;
        let about = About {
            second_set: Some(other),
            ..About::set("swap", one)
        };
        self.tell(encode::swap(self.protocol, one, other), about)
    }

    fn headers(&mut self, prefix: &str) -> Result<Vec<SetHeader>, AddressSetError> {
        settled(|| {
            let mut headers = Vec::new();
            let mut request = encode::list_headers(self.protocol).into_bytes();
            self.socket.ask(&mut request, &mut |_, payload| {
                headers.extend(decode::header(payload, prefix)?);
                Ok(())
            })?;
            Ok(headers)
        })
        .map_err(|error| About::set("list headers", prefix).error(error, None))
    }

    fn list(&mut self, name: &str) -> Result<Vec<ListedEntry>, AddressSetError> {
        check_name(name)?;
        settled(|| {
            let mut listing = Listing::default();
            let mut request = encode::list(self.protocol, name).into_bytes();
            self.socket
                .ask(&mut request, &mut |_, payload| listing.take(payload))?;
            Ok(listing.entries)
        })
        .map_err(|error| About::set("list", name).error(error, None))
    }
}

impl<'a> About<'a> {
    fn set(operation: &'static str, set: &'a str) -> Self {
        Self {
            operation,
            set,
            second_set: None,
            kind: None,
        }
    }

    fn of(operation: &'static str, spec: &'a SetSpec) -> Self {
        Self {
            kind: Some(spec.kind),
            ..Self::set(operation, &spec.name)
        }
    }

    fn error(self, error: NetlinkError, entry: Option<Entry>) -> AddressSetError {
        let Self {
            operation,
            set,
            second_set,
            kind,
        } = self;
        match error {
            NetlinkError::Socket { operation, source } => {
                AddressSetError::Socket { operation, source }
            }
            NetlinkError::Refused { code, .. } => Refusal {
                operation,
                set,
                second_set,
                kind,
                entry,
                code,
            }
            .into(),
            NetlinkError::Interrupted => AddressSetError::Malformed(format!(
                "sets changed all the time while they were listed ({operation} {set})"
            )),
            NetlinkError::Malformed(reason) => {
                AddressSetError::Malformed(format!("{operation} {set}: {reason}"))
            }
        }
    }
}

fn refused_line(error: &NetlinkError) -> Option<u32> {
    match error {
        NetlinkError::Refused { request, .. } => decode::refused_line(request),
        _ => None,
    }
}
