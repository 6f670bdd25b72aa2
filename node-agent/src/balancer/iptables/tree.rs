//! Which chain holds which frontends: a radix tree over address, protocol and port.
//!
//! The shape is a function of the set of keys alone, so two agents (or one before and after a restart) that hold the same
//! frontends have the same chains. A subtree with at most [`LEAF`] frontends is one chain, a leaf; a larger one is a chain
//! that tells its parts apart, [`STRIDE`] bits at a time, bits that all its keys share left out.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sluice_service_plan::model::Protocol;

use crate::ruleset::short_hash;

/// Most frontends of a leaf. More make fewer chains (iptables-nft is quadratic in their number) and longer walks.
pub(super) const LEAF: usize = 12;

/// Most bits that one inner chain decides on: at most 16 comparisons a level.
const STRIDE: u8 = 4;

const MAX_BYTES: usize = 19;
const PROTOCOL_BITS: u8 = 8;
const PORT_BITS: u8 = 16;

/// What a tree looks up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Space {
    /// IPv4 address, protocol, port.
    V4,
    /// IPv6 address, protocol, port.
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

    /// The chain that the walk starts in.
    const fn root_name(self) -> &'static str {
        match self {
            Self::V4 | Self::V6 => "SLUICE-FRONTENDS",
            Self::Ports => "SLUICE-NODEPORTS",
        }
    }
}

/// Address, protocol and port, most significant bit first, zeroes behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key([u8; MAX_BYTES]);

impl Key {
    /// The key of a frontend; without an address, that of a node port.
    pub(super) fn new(address: Option<IpAddr>, protocol: Protocol, port: u16) -> Self {
        let mut bytes = [0; MAX_BYTES];
        let at = match address {
            None => 0,
            Some(IpAddr::V4(ip)) => {
                bytes[..4].copy_from_slice(&ip.octets());
                4
            }
            Some(IpAddr::V6(ip)) => {
                bytes[..16].copy_from_slice(&ip.octets());
                16
            }
        };
        bytes[at] = number(protocol);
        bytes[at + 1..at + 3].copy_from_slice(&port.to_be_bytes());
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
    /// The chain that the rule leads to; longer than `at` where all keys share more bits.
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
        let protocols = self.space.address_bits();
        if prefix.len == protocols {
            for protocol in Protocol::ALL {
                let mut bytes = prefix.key.0;
                bytes[usize::from(protocols / 8)] = number(protocol);
                self.split(
                    Prefix {
                        key: Key(bytes),
                        len: protocols + PROTOCOL_BITS,
                    },
                    0,
                    &mut parts,
                );
            }
        } else {
            let end = if prefix.len < protocols {
                protocols
            } else {
                self.bits()
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
        if self.space == Space::V4 && prefix.len <= 32 {
            return format!("SLUICE-T-{}-{}", prefix.v4(), prefix.len);
        }
        format!(
            "SLUICE-T-{}",
            short_hash(&[&[self.space as u8], &prefix.key.0, &[prefix.len]])
        )
    }

    /// The match that tells a prefix's packets from others.
    pub(super) fn matches(&self, prefix: Prefix) -> String {
        let address_bits = self.space.address_bits();
        let address = match self.space {
            Space::V4 => format!("-d {}/{}", prefix.v4(), prefix.len.min(32)),
            Space::V6 => format!("-d {}/{}", prefix.v6(), prefix.len.min(128)),
            Space::Ports => String::new(),
        };
        if prefix.len <= address_bits {
            return address;
        }
        let at = usize::from(address_bits / 8);
        let gap = if address.is_empty() { "" } else { " " };
        let protocol = name_of(prefix.key.0[at]);
        let ports = prefix.len - address_bits - PROTOCOL_BITS;
        if ports == 0 {
            return format!("{address}{gap}-p {protocol}");
        }
        let first = u16::from_be_bytes([prefix.key.0[at + 1], prefix.key.0[at + 2]]);
        let last = u32::from(first) + (1u32 << (PORT_BITS - ports)) - 1;
        if last == u32::from(first) {
            return format!("{address}{gap}-p {protocol} -m {protocol} --dport {first}");
        }
        format!("{address}{gap}-p {protocol} -m {protocol} --dport {first}:{last}")
    }

    const fn bits(&self) -> u8 {
        self.space.address_bits() + PROTOCOL_BITS + PORT_BITS
    }

    fn split(&self, prefix: Prefix, depth: u8, parts: &mut Vec<Part>) {
        if self.range(prefix).next().is_none() {
            return;
        }
        // The prefix that a chain splits is never small itself, so it does not become its own part.
        if self.is_small(prefix) {
            parts.push(Part {
                at: prefix,
                node: prefix,
            });
        } else if depth == 0 {
            parts.push(Part {
                at: prefix,
                node: self.shared(prefix),
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

    /// The longest prefix that all keys below share, never ending inside the protocol.
    fn shared(&self, prefix: Prefix) -> Prefix {
        let (Some((first, _)), Some((last, _))) =
            (self.range(prefix).next(), self.range(prefix).next_back())
        else {
            return prefix;
        };
        let protocols = self.space.address_bits();
        let mut len = first.common_bits(*last).max(prefix.len);
        if len > protocols && len < protocols + PROTOCOL_BITS {
            len = protocols;
        }
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
    fn covers(self, key: Key) -> bool {
        key.cut(self.len, false) == self.key
    }

    fn v4(self) -> Ipv4Addr {
        let [a, b, c, d, ..] = self.key.0;
        Ipv4Addr::new(a, b, c, d)
    }

    fn v6(self) -> Ipv6Addr {
        let mut octets = [0; 16];
        octets.copy_from_slice(&self.key.0[..16]);
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
