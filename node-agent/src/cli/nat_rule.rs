//! A rule of our nat chains, read back.

use std::net::SocketAddr;
use std::ops::RangeInclusive;

use ipnet::IpNet;

/// What of a rule matters to those who follow a packet.
#[derive(Debug)]
pub(super) struct Rule<'a> {
    pub(super) destination: Option<IpNet>,
    pub(super) protocol: Option<&'a str>,
    ports: RangeInclusive<u16>,
    pub(super) probability: f64,
    /// Only for clients inside this node.
    pub(super) of_inside: bool,
    /// Only for clients that are remembered.
    pub(super) of_known_clients: bool,
    pub(super) leads_to: Option<&'a str>,
    pub(super) translates_to: Option<SocketAddr>,
}

impl<'a> Rule<'a> {
    /// Reads it as `iptables-save` writes it, without its chain.
    pub(super) fn read(text: &'a str) -> Self {
        let mut rule = Self {
            destination: None,
            protocol: None,
            ports: 0..=u16::MAX,
            probability: 1.0,
            of_inside: false,
            of_known_clients: false,
            leads_to: None,
            translates_to: None,
        };
        let mut words = text.split(' ');
        while let Some(option) = words.next() {
            let mut value = || words.next().unwrap_or_default();
            match option {
                "-d" => rule.destination = value().parse().ok(),
                "-p" => rule.protocol = Some(value()),
                "--dport" => rule.ports = ports(value()).unwrap_or(rule.ports),
                "--probability" => rule.probability = value().parse().unwrap_or(1.0),
                "-i" | "--src-type" => {
                    value();
                    rule.of_inside = true;
                }
                "--match-set" => {
                    let (set, sides) = (value(), value());
                    rule.of_known_clients |= set.contains("-A-") && sides == "src";
                    rule.of_inside |= set.ends_with("-PODS");
                }
                "-g" => rule.leads_to = Some(value()),
                "--to-destination" => rule.translates_to = value().parse().ok(),
                _ => {}
            }
        }
        rule
    }

    /// The one destination port of its packets.
    pub(super) fn port(&self) -> Option<u16> {
        let (first, last) = (self.ports.start(), self.ports.end());
        (first == last).then_some(*first)
    }

    /// Whether a packet to this destination can meet it; clients are not looked at.
    pub(super) fn is_for(&self, protocol: &str, destination: SocketAddr) -> bool {
        self.destination
            .is_none_or(|net| net.contains(&destination.ip()))
            && self.protocol.is_none_or(|own| own == protocol)
            && self.ports.contains(&destination.port())
    }
}

fn ports(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once(':').unwrap_or((text, text));
    Some(first.parse().ok()?..=last.parse().ok()?)
}
