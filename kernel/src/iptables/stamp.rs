//! Proof that no rule of the nft variant changed between two moments.

use std::fmt::{self, Write as _};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;

use netlink_packet_core::NLM_F_DUMP;
use netlink_sys::protocols::NETLINK_NETFILTER;

use crate::netlink::{
    NETFILTER_HEADER, NFPROTO_UNSPEC, NetlinkError, NetlinkSocket, Request, attributes, settled,
};

/// `NFNL_SUBSYS_NFTABLES` of `nfnetlink.h`.
const SUBSYSTEM: u8 = 10;
// `NFT_MSG_*` of `nf_tables.h`.
const GET_TABLE: u8 = 1;
const GET_GENERATION: u8 = 16;
/// `NFTA_GEN_ID`
const GENERATION_ID: u16 = 1;
// `NFTA_TABLE_*`
const TABLE_NAME: u16 = 1;
const TABLE_USE: u16 = 3;
const TABLE_HANDLE: u16 = 4;
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
const NAMESPACE: &str = "/proc/thread-self/ns/net";

/// A moment of the `nf_tables` rule set of one network namespace. Two equal stamps: nobody committed anything between them.
///
/// The kernel counts every commit in a namespace (`NFTA_GEN_ID`). The rest tells namespaces apart: the boot, the number of the
/// namespace, and, because a number is given again to a later namespace, the tables with their handles and sizes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    generation: u32,
    namespace: String,
    tables: String,
}

/// Errors of [`Stamp::read`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StampError {
    /// A file of `/proc`.
    #[error("cannot read {path}")]
    Unreadable {
        /// Which.
        path: &'static str,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// The netlink socket, or the kernel's answer.
    #[error("nf_tables does not tell its generation: {0}")]
    Netlink(String),
}

impl From<NetlinkError> for StampError {
    fn from(error: NetlinkError) -> Self {
        Self::Netlink(format!("{error:?}"))
    }
}

impl Stamp {
    /// Reads the stamp of the network namespace that the calling thread is in.
    pub fn read() -> Result<Self, StampError> {
        let unreadable = |path| move |source| StampError::Unreadable { path, source };
        let boot = fs::read_to_string(BOOT_ID).map_err(unreadable(BOOT_ID))?;
        let namespace = fs::metadata(NAMESPACE).map_err(unreadable(NAMESPACE))?;
        let mut socket = NetlinkSocket::open(NETLINK_NETFILTER)
            .map_err(|error| StampError::Netlink(error.to_string()))?;
        // In this order: what is committed between the two is not yet in the stamp.
        let generation = generation(&mut socket)?;
        Ok(Self {
            generation,
            namespace: format!("{}:{}:{}", boot.trim(), namespace.dev(), namespace.ino()),
            tables: tables(&mut socket)?,
        })
    }

    /// A stamp of no kernel: for twins.
    pub(super) fn made_up(generation: u32) -> Self {
        Self {
            generation,
            namespace: String::new(),
            tables: String::new(),
        }
    }

    /// Between `earlier` and this, so many transactions were committed and no more.
    pub fn is_after(&self, earlier: &Self, transactions: u32) -> bool {
        self.namespace == earlier.namespace
            && self.generation == earlier.generation.wrapping_add(transactions)
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}{}", self.generation, self.namespace, self.tables)
    }
}

fn generation(socket: &mut NetlinkSocket) -> Result<u32, StampError> {
    let request = Request::netfilter(SUBSYSTEM, GET_GENERATION, 0, NFPROTO_UNSPEC);
    let mut generation = None;
    socket.ask(&mut request.into_bytes(), &mut |_, payload| {
        for attribute in attributes(payload.get(NETFILTER_HEADER..).unwrap_or_default()) {
            let attribute = attribute?;
            if attribute.kind == GENERATION_ID {
                generation = Some(attribute.u32_be()?);
            }
        }
        Ok(())
    })?;
    generation.ok_or_else(|| StampError::Netlink("the answer has none".to_owned()))
}

/// Family, name, handle and number of chains and sets of each table.
fn tables(socket: &mut NetlinkSocket) -> Result<String, StampError> {
    let request = Request::netfilter(SUBSYSTEM, GET_TABLE, NLM_F_DUMP, NFPROTO_UNSPEC);
    let mut request = request.into_bytes();
    Ok(settled(|| {
        let mut tables = String::new();
        socket.ask(&mut request, &mut |_, payload| {
            let Some((head, body)) = payload.split_first_chunk::<NETFILTER_HEADER>() else {
                return Err("the answer is cut off".to_owned());
            };
            let _ = write!(tables, " {}", head[0]);
            for attribute in attributes(body) {
                let attribute = attribute?;
                match attribute.kind {
                    TABLE_NAME => {
                        let _ = write!(tables, ":{}", attribute.text()?);
                    }
                    TABLE_USE | TABLE_HANDLE => {
                        tables.push(':');
                        for byte in attribute.value {
                            let _ = write!(tables, "{byte:02x}");
                        }
                    }
                    _ => {}
                }
            }
            Ok(())
        })?;
        Ok(tables)
    })?)
}
