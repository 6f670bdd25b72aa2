//! Netlink as the doors of this crate need it: a question, or a batch of orders, is answered before the call returns.

mod attribute;
mod batch;
mod generic;
mod messages;
mod request;
mod socket;

pub(crate) use attribute::{Attribute, attributes};
pub(crate) use batch::{MAX_ORDERS, RefusedOrder};
pub(crate) use generic::{GENERIC_HEADER, family_id};
pub(crate) use messages::messages;
pub(crate) use request::Request;
pub(crate) use socket::{NetlinkError, NetlinkSocket, ReadAnswer, settled};

/// Bytes of `struct nlmsghdr`.
pub(crate) const NETLINK_HEADER: usize = 16;
/// Bytes of `struct nfgenmsg`.
pub(crate) const NETFILTER_HEADER: usize = 4;

/// `NFPROTO_UNSPEC`, `linux/netfilter.h`.
pub(crate) const NFPROTO_UNSPEC: u8 = 0;
/// `NFPROTO_IPV4`.
pub(crate) const NFPROTO_IPV4: u8 = 2;
/// `NFPROTO_IPV6`.
pub(crate) const NFPROTO_IPV6: u8 = 10;
