//! Ports: the wires between network namespaces and bridges. A door for a program that lives for one question, so it needs no runtime and
//! asks for one link instead of all.

mod error;
mod memory;
mod message;
mod netlink;

pub use error::PortError;
pub use memory::MemoryPorts;
pub use netlink::NetlinkPorts;

/// A network interface, as far as it is an end of a wire, a port or a bridge.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Port {
    /// Interface index.
    pub index: u32,
    /// Name.
    pub name: String,
    /// `bridge`, `veth`, `openvswitch`, …; absent for real devices and `lo`.
    pub kind: Option<String>,
    /// Index of the bridge, bond or VRF that it belongs to.
    pub master: Option<u32>,
    /// Index of the other end of a veth pair, or of the device beneath, in the network namespace where that is.
    pub peer: Option<u32>,
    /// Somebody made it promiscuous (`IFF_PROMISC`); that somebody captures on it does not count.
    pub promiscuous: bool,
    /// Of a bridge's port: frames may leave by the port they came in.
    pub hairpin: Option<bool>,
    /// Of a bridge's port: it exchanges no frames with other isolated ports, itself among them.
    pub isolated: Option<bool>,
    /// Of a bridge: it tells VLANs apart.
    pub vlan_filtering: Option<bool>,
}

/// The door to ports.
pub trait Ports: Send {
    /// The interface of that name, if there is one.
    fn named(&mut self, name: &str) -> Result<Option<Port>, PortError>;
    /// The interface of that index, if there is one.
    fn at(&mut self, index: u32) -> Result<Option<Port>, PortError>;
    /// Switches the hairpin flag of a bridge's port. [`PortError::NotABridgePort`] where it is none.
    fn set_hairpin(&mut self, index: u32, on: bool) -> Result<(), PortError>;
}
