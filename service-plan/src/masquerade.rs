//! When a packet gets a source address of the node.

use std::net::IpAddr;

use crate::model::Settings;
use crate::packet::{Origin, Packet, from_pods};
use crate::plan::Masquerade;

impl Masquerade {
    /// Whether the rule holds for a packet, before hairpin and [`keeps_source`] are asked about the endpoint.
    pub fn applies(self, packet: &Packet, settings: &Settings) -> bool {
        match self {
            Self::Never => false,
            Self::Outside => !from_pods(packet, settings),
            Self::FromNode => packet.origin == Origin::Node,
            Self::Always => true,
        }
    }
}

/// Whether traffic to an endpoint is excluded from masquerading. Hairpin traffic is masqueraded all the same:
/// its answer would never come back through the node.
pub fn keeps_source(endpoint: IpAddr, settings: &Settings) -> bool {
    settings
        .exclude_destinations
        .iter()
        .any(|net| net.contains(&endpoint))
}
