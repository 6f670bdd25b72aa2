//! `nodePortAddresses`, by what Sluice makes of each entry.

use std::net::{IpAddr, Ipv4Addr};

use sluice_crds::v1alpha1::NodePortAddress;

use super::config::{ConfigError, Section};

const FIELD: &str = "nodePortAddresses";
/// What the word `localhost` of kube-proxy stands for, over IPv4.
const LOOPBACK: &str = "127.0.0.0/8";

/// Those of one configuration, each once.
#[derive(Debug, Default)]
pub(super) struct NodePortEntries {
    /// There are some.
    pub(super) told: bool,
    /// The word `all`: every address, whatever else is named.
    pub(super) all: bool,
    /// Networks of the nodes' addresses, or `primary`.
    pub(super) addresses: Vec<NodePortAddress>,
    /// Loopback networks with 127.0.0.1, as they are written and as they are.
    pub(super) localhost: Vec<(String, NodePortAddress)>,
    /// Other loopback networks, which serve nothing.
    other_loopback: Vec<String>,
    /// Words of other versions.
    pub(super) unknown: Vec<String>,
}

impl NodePortEntries {
    pub(super) fn take(root: &mut Section) -> Result<Self, ConfigError> {
        let mut entries = Self::default();
        for text in root.take::<Vec<String>>(FIELD)?.unwrap_or_default() {
            entries.told = true;
            match text.as_str() {
                "all" => entries.all = true,
                "localhost" => entries.add(root, LOOPBACK, text.clone())?,
                _ if is_word(&text) => entries.unknown.push(text),
                network => entries.add(root, network, text.clone())?,
            }
        }
        Ok(entries)
    }

    fn add(&mut self, root: &Section, network: &str, text: String) -> Result<(), ConfigError> {
        let address = network
            .parse()
            .map_err(|error| root.wrong(FIELD, format!("{error}")))?;
        if !is_loopback(&address) {
            if !self.addresses.contains(&address) {
                self.addresses.push(address);
            }
        } else if !holds_localhost(&address) {
            self.other_loopback.push(text);
        } else if !self.localhost.iter().any(|(_, known)| *known == address) {
            self.localhost.push((text, address));
        }
        Ok(())
    }

    /// The addresses of a policy, where node ports can be on 127.0.0.1 or cannot, and what is left out of them.
    pub(super) fn settled(&self, localhost_can_be: bool) -> (Vec<NodePortAddress>, Vec<&str>) {
        let mut left_out: Vec<&str> = self.other_loopback.iter().map(String::as_str).collect();
        let mut addresses = self.addresses.clone();
        let stands_alone = !self.all && addresses.contains(&NodePortAddress::Primary);
        if localhost_can_be && !stands_alone {
            addresses.extend(self.localhost.iter().map(|(_, address)| *address));
        } else {
            left_out.extend(self.localhost.iter().map(|(text, _)| text.as_str()));
        }
        if self.all {
            addresses.clear();
        }
        (addresses, left_out)
    }
}

pub(super) fn holds_localhost(address: &NodePortAddress) -> bool {
    let localhost = &IpAddr::from(Ipv4Addr::LOCALHOST);
    matches!(address, NodePortAddress::Cidr(cidr) if cidr.net().contains(localhost))
}

fn is_loopback(address: &NodePortAddress) -> bool {
    matches!(address, NodePortAddress::Cidr(cidr) if !cidr.is_everything() && cidr.net().addr().is_loopback())
}

/// No network, well or badly written.
fn is_word(text: &str) -> bool {
    text != "primary"
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphabetic() || byte == b'-')
}
