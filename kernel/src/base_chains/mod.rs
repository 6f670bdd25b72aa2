//! The base chains of `nf_tables`: where packets enter the rules of whatever program.

use std::io;

use netlink_packet_core::NLM_F_DUMP;
use netlink_sys::protocols::NETLINK_NETFILTER;

use crate::netlink::{NFPROTO_UNSPEC, NetlinkError, NetlinkSocket, Request, settled};
use crate::ruleset_events::TableFamily;

mod message;
mod rule;

/// `NFNL_SUBSYS_NFTABLES` of `nfnetlink.h`.
const SUBSYSTEM: u8 = 10;
/// `NFT_MSG_GETCHAIN` of `nf_tables.h`.
const GET_CHAIN: u8 = 4;
/// `NFT_MSG_GETRULE`
const GET_RULE: u8 = 7;
const EPERM: i32 = 1;
/// What a kernel without `nf_tables` says.
const EINVAL: i32 = 22;

/// Where a chain of the families for IP is hooked in: `NF_INET_*` of `netfilter.h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hook(pub u32);

impl Hook {
    /// What is delivered to the node itself.
    pub const INPUT: Self = Self(1);
    /// What passes through the node.
    pub const FORWARD: Self = Self(2);
}

/// A base chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseChain {
    /// Of its table.
    pub family: TableFamily,
    /// Its table.
    pub table: String,
    /// Its name.
    pub name: String,
    /// Where it is hooked in.
    pub hook: Hook,
    /// Chains of a lower one see a packet earlier.
    pub priority: i32,
    /// What no rule decides is dropped.
    pub drops: bool,
}

/// Errors of [`base_chains`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BaseChainsError {
    /// Not root in this network namespace (`EPERM`).
    #[error("listing chains of nf_tables needs CAP_NET_ADMIN")]
    NotPermitted,
    /// The netlink socket failed.
    #[error("chains of nf_tables: the socket failed")]
    Socket(#[source] io::Error),
    /// The kernel's answer.
    #[error("chains of nf_tables cannot be listed: {0}")]
    Answer(String),
}

impl From<NetlinkError> for BaseChainsError {
    fn from(error: NetlinkError) -> Self {
        match error {
            NetlinkError::Refused { code: EPERM, .. } => Self::NotPermitted,
            NetlinkError::Socket { source, .. } => Self::Socket(source),
            other => Self::Answer(format!("{other:?}")),
        }
    }
}

/// All of the network namespace that the calling thread is in; none where the kernel has no `nf_tables`.
pub fn base_chains() -> Result<Vec<BaseChain>, BaseChainsError> {
    let mut socket = NetlinkSocket::open(NETLINK_NETFILTER).map_err(BaseChainsError::Socket)?;
    let request = Request::netfilter(SUBSYSTEM, GET_CHAIN, NLM_F_DUMP, NFPROTO_UNSPEC);
    let mut request = request.into_bytes();
    let listed = settled(|| {
        let mut chains = Vec::new();
        socket.ask(&mut request, &mut |_, payload| {
            chains.extend(message::base_chain(payload)?);
            Ok(())
        })?;
        Ok(chains)
    });
    match listed {
        Err(NetlinkError::Refused { code: EINVAL, .. }) => Ok(Vec::new()),
        listed => Ok(listed?),
    }
}

/// What no earlier rule of the chain decides, its last one drops or rejects.
pub fn ends_refusing(chain: &BaseChain) -> Result<bool, BaseChainsError> {
    let mut socket = NetlinkSocket::open(NETLINK_NETFILTER).map_err(BaseChainsError::Socket)?;
    let mut request = Request::netfilter(SUBSYSTEM, GET_RULE, NLM_F_DUMP, chain.family.0);
    request.text(rule::TABLE, &chain.table);
    request.text(rule::CHAIN, &chain.name);
    let mut request = request.into_bytes();
    Ok(settled(|| {
        let mut last_refuses = false;
        socket.ask(&mut request, &mut |_, payload| {
            let rule = rule::rule(payload)?;
            // An old kernel lists more than it was asked for.
            if rule.table == chain.table && rule.chain == chain.name {
                last_refuses = rule.refuses_all;
            }
            Ok(())
        })?;
        Ok(last_refuses)
    })?)
}
