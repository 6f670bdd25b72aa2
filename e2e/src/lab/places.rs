//! Who is where in a lab, and under which addresses.
//!
//! ```text
//!   client 192.0.2.100-.131   neighbour 192.0.2.200
//!        |                         |
//!   =====+=========== LAN =========+======+======= 192.0.2.0/24, 2001:db8::/64; router .1
//!                      |                  |
//!            node 192.0.2.10, .11     remote 192.0.2.20
//!            cni0 10.244.0.1/24       b1 b2 b3  10.244.1.11-.13
//!            a1 a2 a3  10.244.0.11-.13
//! ```
//!
//! The clients' default route is the node, so whatever they send to a service address meets the node; everything that the
//! remote node and the router send goes through the node too, so replies to connections that kept their source come back.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sluice_service_plan::model::Family;

/// Somebody with an address in each family: a pod, a node, a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[must_use]
pub struct Place {
    /// Name, which its servers tell.
    pub name: &'static str,
    /// IPv4 address.
    pub v4: Ipv4Addr,
    /// IPv6 address.
    pub v6: Ipv6Addr,
    /// The namespace it lives in.
    pub home: Home,
}

/// The namespaces of a lab.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Home {
    /// Outside client.
    Client,
    /// Another outside client: a neighbour on the node's LAN.
    Neighbour,
    /// The node under test.
    Node,
    /// One of the pods on the node under test, by its index in [`LOCAL_PODS`].
    Pod(usize),
    /// The other node with its pods.
    Remote,
    /// The router.
    Router,
}

impl Place {
    /// Its address in a family.
    pub const fn ip(&self, family: Family) -> IpAddr {
        match family {
            Family::V4 => IpAddr::V4(self.v4),
            Family::V6 => IpAddr::V6(self.v6),
        }
    }

    /// The same host under another address: `offset` further in both families.
    pub const fn shifted(self, offset: u8) -> Self {
        let v4 = self.v4.to_bits() + offset as u32;
        let v6 = self.v6.to_bits() + offset as u128;
        Self {
            v4: Ipv4Addr::from_bits(v4),
            v6: Ipv6Addr::from_bits(v6),
            ..self
        }
    }
}

/// A number whose hexadecimal digits are the decimal digits of `n`: 192.0.2.100 goes with `2001:db8::100`.
const fn spelled(n: u8) -> u16 {
    let n = n as u16;
    n / 100 * 0x100 + n / 10 % 10 * 0x10 + n % 10
}

const fn on_lan(name: &'static str, host: u8, home: Home) -> Place {
    Place {
        name,
        v4: Ipv4Addr::new(192, 0, 2, host),
        v6: Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, spelled(host)),
        home,
    }
}

const fn pod(name: &'static str, node: u8, host: u8, home: Home) -> Place {
    Place {
        name,
        v4: Ipv4Addr::new(10, 244, node, host),
        v6: Ipv6Addr::new(0xfd00, 0x10, 0x244, node as u16, 0, 0, 0, spelled(host)),
        home,
    }
}

/// The node under test; endpoints with this address are host-network pods.
pub const NODE: Place = on_lan("node", 10, Home::Node);
/// The node's second address on the LAN.
pub const NODE_SECOND: Place = on_lan("node", 11, Home::Node);
/// The node's address on the pod bridge, which a masqueraded packet to a local pod has.
pub const NODE_BRIDGE: Place = pod("node", 0, 1, Home::Node);
/// The node's loopback.
pub const NODE_LOOPBACK: Place = Place {
    name: "node",
    v4: Ipv4Addr::LOCALHOST,
    v6: Ipv6Addr::LOCALHOST,
    home: Home::Node,
};
/// The other node.
pub const REMOTE_NODE: Place = on_lan("remote", 20, Home::Remote);
/// The node's default route. Whatever should be routed further its own server answers, on every port and under this name:
/// so a packet that the node dropped and one that it let pass untouched are told apart.
pub const ROUTER: Place = on_lan("beyond", 1, Home::Router);
/// A client outside; it holds [`CLIENT_ADDRESSES`] addresses, `CLIENT.shifted(0..)`.
pub const CLIENT: Place = on_lan("client", 100, Home::Client);
/// How many addresses the client holds.
pub const CLIENT_ADDRESSES: u8 = 32;
/// Another client outside, on whose routing table 127.0.0.0/8 leads to the node: it can send what a hostile neighbour
/// would (CVE-2020-8558), and has no IPv4 loopback of its own.
pub const NEIGHBOUR: Place = on_lan("neighbour", 200, Home::Neighbour);
/// First pod of the node under test.
pub const A1: Place = pod("a1", 0, 11, Home::Pod(0));
/// Second pod of the node under test.
pub const A2: Place = pod("a2", 0, 12, Home::Pod(1));
/// Third pod of the node under test.
pub const A3: Place = pod("a3", 0, 13, Home::Pod(2));
/// First pod of the other node.
pub const B1: Place = pod("b1", 1, 11, Home::Remote);
/// Second pod of the other node.
pub const B2: Place = pod("b2", 1, 12, Home::Remote);
/// Third pod of the other node.
pub const B3: Place = pod("b3", 1, 13, Home::Remote);

/// The pods on the node under test.
pub const LOCAL_PODS: [Place; 3] = [A1, A2, A3];
/// The pods on the other node.
pub const REMOTE_PODS: [Place; 3] = [B1, B2, B3];

/// The ports on which every pod, and each node's host-network pod, serves TCP, UDP and SCTP.
pub const SERVED_PORTS: [u16; 2] = [8080, 8081];
/// A TCP port on which a daemon of the node answers on every address, as sshd would.
pub const DAEMON_PORT: u16 = 2222;
/// What that daemon calls itself.
pub const DAEMON_NAME: &str = "daemon";
/// The pod bridge of the node under test.
pub const POD_BRIDGE: &str = "cni0";
/// The node's interface on the LAN.
pub const LAN_INTERFACE: &str = "eth0";
