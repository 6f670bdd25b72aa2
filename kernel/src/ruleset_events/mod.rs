//! Notices of changes to the `nf_tables` rule set, so of everything that `iptables-nft`, `nft` and other programs change.
//! The legacy variant of iptables gives none.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::time::Duration;

use netlink_sys::Socket;
use netlink_sys::protocols::NETLINK_NETFILTER;
use socket2::{SockFilter, SockRef};

use crate::multicast::{MulticastSocket, Received, wait_any};

mod message;

use message::{Message, NEW_GENERATION, messages};

/// `NFNLGRP_NFTABLES` of `nfnetlink.h`.
const GROUP: u32 = 7;
const EPERM: i32 = 1;
/// Tables told of one commit; no known program has as many.
const MAX_TABLES: usize = 256;

/// `NFPROTO_*` of `netfilter.h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableFamily(pub u8);

impl TableFamily {
    /// `inet`: both IPv4 and IPv6.
    pub const INET: Self = Self(1);
    /// `ip`, where `iptables-nft` keeps its tables.
    pub const IPV4: Self = Self(2);
    /// `ip6`, where `ip6tables-nft` keeps its tables.
    pub const IPV6: Self = Self(10);
}

/// A table with a changed table, chain or rule; changed sets and their elements do not count.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChangedTable {
    /// Family.
    pub family: TableFamily,
    /// Name.
    pub name: String,
}

/// One committed transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// The rule set's generation after it.
    pub generation: u32,
    /// Who did it: process id as the host sees it (that may differ from what a container sees), 0 if not told.
    pub process_id: u32,
    /// Who did it: the first 15 bytes of the program's name (`iptables-nft-re` for `iptables-nft-restore`).
    pub process_name: String,
    /// Tables whose chains or rules it changed. `None`: it changed too much to be told.
    pub tables: Option<BTreeSet<ChangedTable>>,
}

/// What was heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// A transaction.
    Commit(Commit),
    /// There were more transactions than could be told: anything may have changed.
    Overrun,
}

/// Errors of [`RulesetEvents`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RulesetEventsError {
    /// Not root in this network namespace (`EPERM`).
    #[error("listening to rule set changes needs CAP_NET_ADMIN")]
    NotPermitted,
    /// The netlink socket failed.
    #[error("rule set events: {operation}")]
    Socket {
        /// What was tried.
        operation: &'static str,
        /// Cause.
        #[source]
        source: io::Error,
    },
}

/// Hears of every transaction in the network namespace of the thread that opened it.
///
/// Two sockets, because a transaction of ten thousand rules is told in ten thousand messages and overruns any socket: one
/// takes only the message that ends each transaction, and so knows of all of them and who did them; the other takes the
/// rest, and may overrun, at the cost of [`Commit::tables`].
#[derive(Debug)]
pub struct RulesetEvents {
    commits: MulticastSocket,
    objects: MulticastSocket,
    /// Tables by the low 16 bits of the generation, for commits whose end has not been read yet.
    pending: HashMap<u16, BTreeSet<ChangedTable>>,
    /// Some of the messages before the next commit's end were lost.
    incomplete: bool,
}

impl RulesetEvents {
    /// Begins to listen. Look at the rules after this, not before, and no change is missed.
    pub fn open() -> Result<Self, RulesetEventsError> {
        let listen = |prepare: fn(&Socket) -> io::Result<()>| {
            MulticastSocket::open(NETLINK_NETFILTER, &[GROUP], prepare).map_err(|source| {
                match source.raw_os_error() {
                    Some(EPERM) => RulesetEventsError::NotPermitted,
                    _ => RulesetEventsError::Socket {
                        operation: "listen",
                        source,
                    },
                }
            })
        };
        let objects = listen(|_| Ok(()))?;
        let commits = listen(only_ends_of_transactions)?;
        Ok(Self {
            commits,
            objects,
            pending: HashMap::new(),
            incomplete: false,
        })
    }

    /// Waits up to `timeout` and gives what was committed meanwhile, oldest first; nothing if there was nothing.
    pub fn wait(&mut self, timeout: Duration) -> Result<Vec<Notice>, RulesetEventsError> {
        let failed = |operation| move |source| RulesetEventsError::Socket { operation, source };
        if !wait_any(&[&self.commits, &self.objects], timeout).map_err(failed("wait"))? {
            return Ok(Vec::new());
        }
        // In this order: the objects of a transaction are told before its end, so they are there once its end was read.
        let (mut commits, overrun) =
            read_commits(&mut self.commits).map_err(failed("read transactions"))?;
        self.read_objects().map_err(failed("read objects"))?;
        for commit in &mut commits {
            let tables = self
                .pending
                .remove(&low_bits(commit.generation))
                .unwrap_or_default();
            commit.tables = (!self.incomplete && tables.len() <= MAX_TABLES).then_some(tables);
        }
        if overrun {
            self.pending.clear();
        }
        if overrun || !commits.is_empty() {
            self.incomplete = false;
        }
        let lost = overrun.then_some(Notice::Overrun);
        Ok(lost
            .into_iter()
            .chain(commits.into_iter().map(Notice::Commit))
            .collect())
    }

    fn read_objects(&mut self) -> io::Result<()> {
        loop {
            match self.objects.receive()? {
                Received::Nothing => return Ok(()),
                Received::Overrun => self.incomplete = true,
                Received::Datagram(datagram) => {
                    for message in messages(datagram) {
                        if let Message::Object {
                            generation,
                            family,
                            table,
                        } = message
                        {
                            note(self.pending.entry(generation).or_default(), family, table);
                        }
                    }
                }
            }
        }
    }
}

/// Most messages tell of a table that is known already; those cost nothing.
fn note(tables: &mut BTreeSet<ChangedTable>, family: u8, name: &str) {
    let known = |t: &ChangedTable| t.family.0 == family && t.name == name;
    if tables.len() <= MAX_TABLES && !tables.iter().any(known) {
        tables.insert(ChangedTable {
            family: TableFamily(family),
            name: name.to_owned(),
        });
    }
}

fn read_commits(socket: &mut MulticastSocket) -> io::Result<(Vec<Commit>, bool)> {
    let mut commits = Vec::new();
    let mut overrun = false;
    loop {
        match socket.receive()? {
            Received::Nothing => return Ok((commits, overrun)),
            Received::Overrun => overrun = true,
            Received::Datagram(datagram) => {
                commits.extend(messages(datagram).filter_map(|m| match m {
                    Message::End(commit) => Some(commit),
                    Message::Object { .. } => None,
                }));
            }
        }
    }
}

/// Objects carry no more of it (`res_id` of `nfgenmsg`).
fn low_bits(generation: u32) -> u16 {
    let [.., high, low] = generation.to_be_bytes();
    u16::from_be_bytes([high, low])
}

/// The kernel drops everything else before it counts against the socket's buffer.
fn only_ends_of_transactions(socket: &Socket) -> io::Result<()> {
    // Codes of bpf_common.h; a load turns the bytes from network order, but netlink has them in the host's.
    const LOAD_HALF_WORD: u16 = 0x28;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    const TYPE_OFFSET: u32 = 4;
    let wanted = u32::from(u16::from_be_bytes(NEW_GENERATION.to_ne_bytes()));
    SockRef::from(socket).attach_filter(&[
        SockFilter::new(LOAD_HALF_WORD, 0, 0, TYPE_OFFSET),
        SockFilter::new(JUMP_IF_EQUAL, 0, 1, wanted),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
        SockFilter::new(RETURN, 0, 0, 0),
    ])
}
