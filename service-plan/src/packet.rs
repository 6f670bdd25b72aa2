//! The first packet of a connection, and which side of the node it comes from.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::model::{LocalDetector, NodeFacts, Protocol, Settings};

/// Where a packet enters the node's network stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A process on the node itself sends it.
    Node,
    /// It arrives on an interface.
    Interface(String),
    /// It arrives, on an interface that is not known. Detectors by interface then take it for outside traffic.
    Elsewhere,
}

impl Origin {
    /// The origin that a source address alone tells: one of the node's own addresses means the node itself.
    pub fn of_source(source: IpAddr, node: &NodeFacts) -> Self {
        if source.is_loopback() || node.addresses.contains(&source) {
            Self::Node
        } else {
            Self::Elsewhere
        }
    }
}

/// The first packet of a connection, before any address translation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// Layer-4 protocol.
    pub protocol: Protocol,
    /// Source address.
    pub source: IpAddr,
    /// Destination address and port.
    pub destination: SocketAddr,
    /// Where it enters.
    pub origin: Origin,
    /// The class of the pod that sends it, one of [`Settings::pod_classes`].
    pub class: Option<Arc<str>>,
}

impl fmt::Display for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} -> {}/{}",
            self.source, self.destination, self.protocol
        )?;
        match &self.origin {
            Origin::Node => f.write_str(" from the node itself"),
            Origin::Interface(name) => write!(f, " arriving on {name}"),
            Origin::Elsewhere => Ok(()),
        }?;
        match &self.class {
            Some(class) => write!(f, " from a pod of class {class}"),
            None => Ok(()),
        }
    }
}

/// Which side of the node a packet comes from; it decides the pool of a frontend under `externalTrafficPolicy: Local`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// The node itself.
    Node,
    /// One of the pods that the local detector tells.
    Pod,
    /// Anything else.
    Outside,
}

impl Side {
    /// The side of a packet.
    pub fn of(packet: &Packet, settings: &Settings) -> Self {
        if packet.origin == Origin::Node {
            Self::Node
        } else if from_pods(packet, settings) {
            Self::Pod
        } else {
            Self::Outside
        }
    }

    /// Whether the frontend's inside pool serves it.
    pub fn is_inside(self) -> bool {
        self != Self::Outside
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Node => "the node itself",
            Self::Pod => "a pod",
            Self::Outside => "outside",
        })
    }
}

/// Whether the local detector takes a packet for one of this node's pods. Without a detector: never.
///
/// The node's own packets arrive on no interface, so that detectors by interface never take them for a pod's;
/// detectors by network judge them by their source address, as kube-proxy does.
pub fn from_pods(packet: &Packet, settings: &Settings) -> bool {
    match (&settings.detect_local, &packet.origin) {
        (LocalDetector::Cidrs(networks), _) => {
            networks.iter().any(|net| net.contains(&packet.source))
        }
        (LocalDetector::BridgeInterface(bridge), Origin::Interface(name)) => name == bridge,
        (LocalDetector::InterfaceNamePrefix(prefix), Origin::Interface(name)) => {
            name.starts_with(prefix.as_str())
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_detector_tells_pods_by_its_own_sign() {
        let cidrs = LocalDetector::Cidrs(vec!["10.1.0.0/16".parse().unwrap()]);
        let bridge = LocalDetector::BridgeInterface("cni0".into());
        let prefix = LocalDetector::InterfaceNamePrefix("veth".into());
        let on = |name: &str| Origin::Interface(name.into());
        let rows = [
            (&LocalDetector::None, "10.1.0.2", on("veth1"), Side::Outside),
            (&LocalDetector::None, "10.1.0.2", Origin::Node, Side::Node),
            (&cidrs, "10.1.0.2", Origin::Elsewhere, Side::Pod),
            (&cidrs, "10.2.0.2", on("veth1"), Side::Outside),
            (&cidrs, "10.1.0.1", Origin::Node, Side::Node),
            (&bridge, "10.1.0.2", on("cni0"), Side::Pod),
            (&bridge, "10.1.0.2", on("cni01"), Side::Outside),
            (&bridge, "10.1.0.2", Origin::Elsewhere, Side::Outside),
            (&prefix, "10.9.0.2", on("veth12ab"), Side::Pod),
            (&prefix, "10.1.0.2", on("eth0"), Side::Outside),
            (&prefix, "10.1.0.2", Origin::Node, Side::Node),
        ];
        for (detector, source, origin, want) in rows {
            let settings = Settings {
                detect_local: detector.clone(),
                ..Settings::default()
            };
            let packet = Packet {
                protocol: Protocol::Tcp,
                source: source.parse().unwrap(),
                destination: "10.96.0.1:80".parse().unwrap(),
                origin,
                class: None,
            };
            assert_eq!(Side::of(&packet, &settings), want, "{detector:?} {packet}");
        }
    }

    #[test]
    fn a_source_address_of_the_node_means_the_node_itself() {
        let node = NodeFacts {
            addresses: vec!["192.0.2.1".parse().unwrap()],
            ..NodeFacts::default()
        };
        let origin = |ip: &str| Origin::of_source(ip.parse().unwrap(), &node);
        assert_eq!(origin("192.0.2.1"), Origin::Node);
        assert_eq!(origin("127.0.0.5"), Origin::Node);
        assert_eq!(origin("192.0.2.2"), Origin::Elsewhere);
    }
}
