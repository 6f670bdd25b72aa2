//! What a pod is given at its attachment.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// What the agent says a pod shall have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Treatment {
    /// The pod class that matched; absent where none did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// How the pod reaches itself through a service.
    pub hairpin: HairpinMode,
    /// Sets of kind `hash:ip` that shall hold the pod's addresses of their family. Empty: the node's default source-NAT.
    #[serde(default)]
    pub sets: Vec<SetName>,
    /// Tunables of the pod's network namespace.
    #[serde(default)]
    pub sysctls: Vec<Sysctl>,
}

impl Treatment {
    /// Names of the sets that hold this address.
    pub fn sets_of(&self, address: IpAddr) -> impl Iterator<Item = &SetName> {
        let family = Family::of(address);
        self.sets.iter().filter(move |set| set.family == family)
    }
}

/// `hairpin.mode` of a policy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum HairpinMode {
    /// The pod's port of the bridge gives back what came in by it.
    #[default]
    HairpinVeth,
    /// Left as the main plugin made it.
    None,
}

/// A set of addresses.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SetName {
    /// Which of a pod's addresses it holds.
    pub family: Family,
    /// Name in the kernel.
    pub name: String,
}

/// Of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Family {
    /// IPv4
    V4,
    /// IPv6
    V6,
}

impl Family {
    /// Of this address.
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

/// A tunable and its value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Sysctl {
    /// Dotted name, `net.…`.
    pub name: String,
    /// As it is written to the kernel.
    pub value: String,
}
