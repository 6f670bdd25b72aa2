//! The node's end of a pod's link.

use sluice_kernel::ports::{NetlinkPorts, Port, PortError, Ports};

use crate::cni::{Code, Coded, PreviousResult};
use crate::sandbox::{Sandbox, SandboxError};

/// Of a device, in bytes: `IFNAMSIZ` of linux/if.h less the final zero.
const LONGEST_NAME: usize = 15;

/// What leads to the pod.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum HostSide {
    /// A port of a bridge.
    Bridged { port: Port, bridge: Port },
    /// A link of its own, for which the node routes.
    Routed { port: Port },
    /// No link that ends on the node: the pod's interface is of this kind.
    NoWire { kind: String },
}

/// Errors of [`find`].
#[derive(Debug, thiserror::Error)]
pub(crate) enum HostSideError {
    #[error(transparent)]
    Port(#[from] PortError),
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    #[error("the sandbox has no interface {0}: the plugins before this one have not made it")]
    NoInterface(String),
    #[error(
        "prevResult names several links of the node ({}), and none is the other end of {interface}: sluice-cni cannot tell \
         which leads to the pod",
        names.join(", ")
    )]
    Several {
        interface: String,
        names: Vec<String>,
    },
    #[error(
        "the other end of {0} is not in the node's network namespace, and prevResult does not name it"
    )]
    ElsewhereEnding(String),
    #[error(
        "{port} belongs to an Open vSwitch bridge, whose ports have no hairpin flag: set the hairpin mode to None and let its \
         flows send packets back"
    )]
    OpenVSwitch { port: String },
    #[error(
        "{port} belongs to a device of kind {kind}, not to a bridge: set the hairpin mode to None"
    )]
    OtherMaster { port: String, kind: String },
    #[error(
        "prevResult names bridge {bridge}, and {port} is not a port of any: the main plugin has not finished or was undone"
    )]
    NotAPort { port: String, bridge: String },
    #[error(
        "prevResult names {missing}, which the node does not have, and {port} is not a port of any bridge"
    )]
    NoBridge { port: String, missing: String },
}

impl Coded for HostSideError {
    fn code(&self) -> Code {
        match self {
            Self::Sandbox(error) => error.code(),
            Self::NoInterface(_) | Self::ElsewhereEnding(_) => Code::Sandbox,
            _ => Code::Hairpin,
        }
    }
}

/// The interface of that name in the sandbox.
pub(crate) fn inside(sandbox: &Sandbox, interface: &str) -> Result<Option<Port>, HostSideError> {
    Ok(sandbox.run(|| NetlinkPorts::open()?.named(interface))??)
}

/// Finds it among the interfaces that the plugins before named; where these do not tell, by the kernel's word on the other end of the pod's
/// interface, which `inside` looks up in the sandbox.
pub(crate) fn find(
    result: &PreviousResult,
    interface: &str,
    node: &mut dyn Ports,
    inside: impl FnOnce() -> Result<Option<Port>, HostSideError>,
) -> Result<HostSide, HostSideError> {
    let mut named = Named::default();
    for name in result.host_interfaces() {
        named.sort_in(name, node.named(name)?);
    }
    let port = match <[Port; 1]>::try_from(std::mem::take(&mut named.wires)) {
        Ok([only]) => only,
        Err(wires) => match other_end(interface, node, inside)? {
            OtherEnd::Port(port) => port,
            OtherEnd::NoWire { kind } if wires.is_empty() => return Ok(HostSide::NoWire { kind }),
            OtherEnd::Elsewhere if wires.is_empty() => {
                return Err(HostSideError::ElsewhereEnding(interface.to_owned()));
            }
            OtherEnd::NoWire { .. } | OtherEnd::Elsewhere => {
                return Err(HostSideError::Several {
                    interface: interface.to_owned(),
                    names: wires.into_iter().map(|wire| wire.name).collect(),
                });
            }
        },
    };
    named.side_of(port, node)
}

/// What `prevResult` names on the node.
#[derive(Default)]
struct Named {
    wires: Vec<Port>,
    bridge: Option<Port>,
    missing: Option<String>,
}

impl Named {
    fn sort_in(&mut self, name: &str, found: Option<Port>) {
        match found {
            // Some plugins keep books by names that no device can have (Amazon's, for pods with security groups of their own).
            None if name.len() > LONGEST_NAME => {}
            None => self.missing = Some(name.to_owned()),
            Some(port) if is_wire(&port) => {
                if !self.wires.iter().any(|wire| wire.index == port.index) {
                    self.wires.push(port);
                }
            }
            Some(port) if port.kind.as_deref() == Some("bridge") => self.bridge = Some(port),
            // The device beneath a VLAN, an uplink: not the pod's.
            Some(_) => {}
        }
    }

    fn side_of(self, port: Port, node: &mut dyn Ports) -> Result<HostSide, HostSideError> {
        let Some(master) = port.master else {
            let port_name = port.name.clone();
            return match (self.bridge, self.missing) {
                (Some(bridge), _) => Err(HostSideError::NotAPort {
                    port: port_name,
                    bridge: bridge.name,
                }),
                (None, Some(missing)) => Err(HostSideError::NoBridge {
                    port: port_name,
                    missing,
                }),
                (None, None) => Ok(HostSide::Routed { port }),
            };
        };
        let master = match self.bridge.filter(|bridge| bridge.index == master) {
            Some(bridge) => bridge,
            None => node.at(master)?.unwrap_or_default(),
        };
        match master.kind.as_deref() {
            Some("bridge") => Ok(HostSide::Bridged {
                port,
                bridge: master,
            }),
            Some("vrf") => Ok(HostSide::Routed { port }),
            Some("openvswitch") => Err(HostSideError::OpenVSwitch { port: port.name }),
            other => Err(HostSideError::OtherMaster {
                port: port.name,
                kind: other.unwrap_or("unknown").to_owned(),
            }),
        }
    }
}

/// Has an end on the node for each pod: a veth, or the tap of a virtual machine.
fn is_wire(port: &Port) -> bool {
    matches!(port.kind.as_deref(), Some("veth" | "netkit" | "tun"))
}

enum OtherEnd {
    Port(Port),
    NoWire { kind: String },
    Elsewhere,
}

fn other_end(
    interface: &str,
    node: &mut dyn Ports,
    inside: impl FnOnce() -> Result<Option<Port>, HostSideError>,
) -> Result<OtherEnd, HostSideError> {
    let port = inside()?.ok_or_else(|| HostSideError::NoInterface(interface.to_owned()))?;
    let Some(peer) = port.peer.filter(|_| is_wire(&port)) else {
        return Ok(OtherEnd::NoWire {
            kind: port.kind.unwrap_or_else(|| "a real device".to_owned()),
        });
    };
    // The number means something in the namespace where the other end is, which may be another than the node's.
    let other = node
        .at(peer)?
        .filter(|other| other.kind == port.kind && other.peer == Some(port.index));
    Ok(other.map_or(OtherEnd::Elsewhere, OtherEnd::Port))
}

#[cfg(test)]
mod tests;
