//! Which chain holds which frontends: a radix tree over protocol, port and address.
//!
//! The port comes first: clusters use few, so most leaves are of one port, and their rules need not tell it. That is a third of what the
//! kernel checks whenever a table of iptables-legacy is replaced.
//!
//! The shape is a function of the set of keys alone, so two agents (or one before and after a restart) that hold the same
//! frontends have the same chains. A subtree with at most [`LEAF`] frontends is one chain, a leaf; a larger one is a chain
//! that tells its parts apart, [`STRIDE`] bits at a time, bits that all its keys share left out.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sluice_service_plan::model::Protocol;

use crate::ruleset::short_hash;

/// Most frontends of a leaf. More make fewer chains (iptables-nft is quadratic in their number) and longer walks.
pub(super) const LEAF: usize = 12;

/// Most bits that one inner chain decides on: at most 16 comparisons a level.
const STRIDE: u8 = 4;

/// Protocol, port, IPv6 address.
const MAX_BYTES: usize = ADDRESS_AT + 16;
const PROTOCOL_BITS: u8 = 8;
/// A prefix of so many bits tells protocol and port.
const PORT_KNOWN: u8 = PROTOCOL_BITS + 16;
const ADDRESS_AT: usize = 3;
/// Longest name that iptables takes (`XT_EXTENSION_MAXNAMELEN` in `x_tables.h`, less the byte that ends it).
const LONGEST_NAME: usize = 28;

/// What a tree looks up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Space {
    /// Protocol, port, IPv4 address.
    V4,
    /// Protocol, port, IPv6 address.
    V6,
    /// Protocol, port.
    Ports,
}

impl Space {
    const fn address_bits(self) -> u8 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
            Self::Ports => 0,
        }
    }

    /// What names of its chains begin with, after ours: both spaces share a table.
    const fn letter(self) -> char {
        match self {
            Self::V4 | Self::V6 => 'T',
            Self::Ports => 'N',
        }
    }

    /// The chain that the walk starts in.
    const fn root_name(self) -> &'static str {
        match self {
            Self::V4 | Self::V6 => "SLUICE-FRONTENDS",
            Self::Ports => "SLUICE-NODEPORTS",
        }
    }
}

/// Protocol, port and address, most significant bit first, zeroes behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key([u8; MAX_BYTES]);

impl Key {
    /// The key of a frontend; without an address, that of a node port.
    pub(super) fn new(address: Option<IpAddr>, protocol: Protocol, port: u16) -> Self {
        let mut bytes = [0; MAX_BYTES];
        bytes[0] = number(protocol);
        bytes[1..ADDRESS_AT].copy_from_slice(&port.to_be_bytes());
        match address {
            None => {}
            Some(IpAddr::V4(ip)) => bytes[ADDRESS_AT..][..4].copy_from_slice(&ip.octets()),
            Some(IpAddr::V6(ip)) => bytes[ADDRESS_AT..].copy_from_slice(&ip.octets()),
        }
        Self(bytes)
    }

    /// Keeps the first `len` bits, fills the rest with `ones`.
    fn cut(self, len: u8, ones: bool) -> Self {
        let mut bytes = self.0;
        for (i, byte) in bytes.iter_mut().enumerate() {
            let kept = usize::from(len).saturating_sub(i * 8).min(8);
            let mask = 0xff_u8
                .checked_shr(u32::try_from(kept).unwrap_or(8))
                .map_or(0xff, |rest| !rest);
            *byte = (*byte & mask) | if ones { !mask } else { 0 };
        }
        Self(bytes)
    }

    fn common_bits(self, other: Self) -> u8 {
        let mut bits = 0;
        for (a, b) in self.0.iter().zip(other.0) {
            let same = (a ^ b).leading_zeros();
            bits += same;
            if same < 8 {
                break;
            }
        }
        u8::try_from(bits).unwrap_or(u8::MAX)
    }
}

/// All keys that start with these bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Prefix {
    key: Key,
    len: u8,
}

/// A part of a prefix, as its chain tells it apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    /// What the rule matches.
    pub(super) at: Prefix,
    /// The chain that the rule leads to; longer than `at` where all keys share more bits, but of those it tells the port.
    pub(super) node: Prefix,
}

/// What a chain of the tree holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    /// The rules of its frontends.
    Leaf,
    /// Jumps to its parts.
    Inner(Vec<Part>),
}

/// The tree.
#[derive(Debug)]
pub(super) struct Tree<T> {
    space: Space,
    items: BTreeMap<Key, T>,
}

impl<T> Tree<T> {
    pub(super) fn new(space: Space) -> Self {
        Self {
            space,
            items: BTreeMap::new(),
        }
    }

    pub(super) fn insert(&mut self, key: Key, item: T) {
        self.items.insert(key, item);
    }

    pub(super) fn get(&self, key: &Key) -> Option<&T> {
        self.items.get(key)
    }

    pub(super) fn remove(&mut self, key: &Key) {
        self.items.remove(key);
    }

    pub(super) fn clear(&mut self) {
        self.items.clear();
    }

    pub(super) fn root() -> Prefix {
        Prefix {
            key: Key([0; MAX_BYTES]),
            len: 0,
        }
    }

    /// Name of the root's chain.
    pub(super) fn root_name(&self) -> &'static str {
        self.space.root_name()
    }

    /// It looks up node ports.
    pub(super) fn is_of_ports(&self) -> bool {
        self.space == Space::Ports
    }

    /// What the chain of `prefix` holds.
    pub(super) fn node(&self, prefix: Prefix) -> Node {
        if self.is_small(prefix) {
            return Node::Leaf;
        }
        let mut parts = Vec::new();
        if prefix.len == 0 {
            for protocol in Protocol::ALL {
                let mut key = prefix.key;
                key.0[0] = number(protocol);
                let len = PROTOCOL_BITS;
                self.split(Prefix { key, len }, 0, &mut parts);
            }
        } else {
            let end = if prefix.tells_port() {
                self.bits()
            } else {
                PORT_KNOWN
            };
            self.split(prefix, STRIDE.min(end - prefix.len), &mut parts);
        }
        Node::Inner(parts)
    }

    /// The chains from the root to the leaf in which `key` is, or would be.
    pub(super) fn path(&self, key: Key) -> Vec<Prefix> {
        let mut path = vec![Self::root()];
        let mut at = Self::root();
        while let Node::Inner(parts) = self.node(at) {
            let Some(part) = parts.iter().find(|part| part.node.covers(key)) else {
                break;
            };
            at = part.node;
            path.push(at);
        }
        path
    }

    /// The frontends below a prefix, in order.
    pub(super) fn below(&self, prefix: Prefix) -> impl Iterator<Item = &T> {
        self.range(prefix).map(|(_, item)| item)
    }

    /// Name of a prefix's chain.
    pub(super) fn name(&self, prefix: Prefix) -> String {
        if prefix.len == 0 {
            return self.space.root_name().to_owned();
        }
        let (kind, (first, last)) = (self.space.letter(), prefix.ports());
        let mut name = format!("SLUICE-{kind}-{}", prefix.protocol());
        if prefix.tells_port() {
            let _ = write!(name, "-{first}");
        } else if prefix.len > PROTOCOL_BITS {
            let _ = write!(name, "-{first}-{last}");
        }
        if prefix.len > PORT_KNOWN {
            let _ = write!(name, "-{}-{}", prefix.v4(), prefix.len - PORT_KNOWN);
        }
        if name.len() <= LONGEST_NAME && (self.space != Space::V6 || prefix.len <= PORT_KNOWN) {
            return name;
        }
        format!(
            "SLUICE-T-{}",
            short_hash(&[&[self.space as u8], &prefix.key.0, &[prefix.len]])
        )
    }

    /// The match that tells a part's packets from others in its chain.
    pub(super) fn matches(&self, part: &Part) -> String {
        let at = part.at;
        if at.len > PORT_KNOWN {
            let len = at.len - PORT_KNOWN;
            return match self.space {
                Space::V6 => format!("-d {}/{len}", at.v6()),
                Space::V4 | Space::Ports => format!("-d {}/{len}", at.v4()),
            };
        }
        let (protocol, (first, last)) = (at.protocol(), at.ports());
        if at.tells_port() {
            format!("-p {protocol} -m {protocol} --dport {first}")
        } else if at.len > PROTOCOL_BITS {
            format!("-p {protocol} -m {protocol} --dport {first}:{last}")
        } else {
            format!("-p {protocol}")
        }
    }

    const fn bits(&self) -> u8 {
        PORT_KNOWN + self.space.address_bits()
    }

    fn split(&self, prefix: Prefix, depth: u8, parts: &mut Vec<Part>) {
        if self.range(prefix).next().is_none() {
            return;
        }
        // The prefix that a chain splits is never small itself, so it does not become its own part.
        let is_small = self.is_small(prefix);
        if is_small || depth == 0 {
            let shared = self.shared(prefix);
            let known = if shared.tells_port() && !prefix.tells_port() {
                shared.cut(PORT_KNOWN)
            } else {
                prefix
            };
            parts.push(Part {
                at: known,
                node: if is_small { known } else { shared },
            });
        } else {
            for ones in [false, true] {
                let mut key = prefix.key;
                if ones {
                    key.0[usize::from(prefix.len / 8)] |= 0x80 >> (prefix.len % 8);
                }
                self.split(
                    Prefix {
                        key,
                        len: prefix.len + 1,
                    },
                    depth - 1,
                    parts,
                );
            }
        }
    }

    /// The longest prefix that all keys below share.
    fn shared(&self, prefix: Prefix) -> Prefix {
        let (Some((first, _)), Some((last, _))) =
            (self.range(prefix).next(), self.range(prefix).next_back())
        else {
            return prefix;
        };
        let len = first.common_bits(*last).min(self.bits());
        Prefix {
            key: first.cut(len, false),
            len,
        }
    }

    fn is_small(&self, prefix: Prefix) -> bool {
        self.range(prefix).nth(LEAF).is_none()
    }

    fn range(&self, prefix: Prefix) -> impl DoubleEndedIterator<Item = (&Key, &T)> {
        self.items
            .range(prefix.key..=prefix.key.cut(prefix.len, true))
    }
}

impl Prefix {
    /// All its keys are of one protocol and port, and its chain is reached by those only.
    pub(super) const fn tells_port(self) -> bool {
        self.len >= PORT_KNOWN
    }

    fn covers(self, key: Key) -> bool {
        key.cut(self.len, false) == self.key
    }

    fn cut(self, len: u8) -> Self {
        Self {
            key: self.key.cut(len, false),
            len,
        }
    }

    fn protocol(self) -> &'static str {
        name_of(self.key.0[0])
    }

    /// First and last.
    fn ports(self) -> (u16, u16) {
        let port = |key: Key| u16::from_be_bytes([key.0[1], key.0[2]]);
        (port(self.key), port(self.key.cut(self.len, true)))
    }

    fn v4(self) -> Ipv4Addr {
        let [.., a, b, c, d] = self.key.0[..ADDRESS_AT + 4] else {
            return Ipv4Addr::UNSPECIFIED;
        };
        Ipv4Addr::new(a, b, c, d)
    }

    fn v6(self) -> Ipv6Addr {
        let mut octets = [0; 16];
        octets.copy_from_slice(&self.key.0[ADDRESS_AT..]);
        octets.into()
    }
}

const fn number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
        Protocol::Sctp => 132,
    }
}

const fn name_of(number: u8) -> &'static str {
    match number {
        6 => "tcp",
        17 => "udp",
        _ => "sctp",
    }
}

#[cfg(test)]
mod tests;
