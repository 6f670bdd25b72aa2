//! Other software on the node: rules that are not ours, which must neither be touched nor be in the way.

use std::net::IpAddr;

use sluice_service_plan::model::Family;

use super::build::{network, outside_ip};
use crate::lab::places::{A3, LAN_INTERFACE, SERVED_PORTS};
use crate::lab::{LabError, Namespace};

/// The port of [`Surrounding::HostPort`].
pub const HOST_PORT: u16 = 8443;

/// The address of [`Surrounding::BalancerRoute`].
pub fn routed_ip(family: Family) -> IpAddr {
    outside_ip(family, 40)
}

/// Something else on the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Surrounding {
    /// The policy of FORWARD is DROP, as Docker sets it.
    ForwardDrop,
    /// The policy of INPUT is DROP: of what comes to the node itself only answers and neighbour discovery pass.
    InputDrop,
    /// A pod's `hostPort`: TCP to [`HOST_PORT`] of any local address goes to pod a3, as the CNI portmap plugin does it.
    HostPort,
    /// What pods of the node send out by the wire is masqueraded, as CNI plugins do it.
    PodsMasqueraded,
    /// A route makes a load balancer's address the node's own, as a cloud's guest agent does it. No interface has it.
    BalancerRoute,
    /// Packets that leave the node with any mark vanish.
    MarksVanish,
}

impl Surrounding {
    /// Puts it on the node.
    pub fn start(self, node: &Namespace, programs: Programs) -> Result<(), LabError> {
        match self {
            Self::ForwardDrop => programs.both(node, |_| "-P FORWARD DROP".to_owned()),
            Self::InputDrop => {
                programs.both(node, |_| format!("-A {ANSWERS}"))?;
                node.command(&format!("{} -w -A {NEIGHBOURS}", programs.v6))?;
                programs.both(node, |_| "-P INPUT DROP".to_owned())
            }
            Self::HostPort => programs.both(node, |family| format!("-A {}", host_port(family))),
            Self::PodsMasqueraded => {
                programs.both(node, |family| format!("-A {}", pods_masqueraded(family)))
            }
            Self::BalancerRoute => routes(node, "add"),
            Self::MarksVanish => node.program("nft", &["-f", "-"], MARKS_VANISH).map(drop),
        }
    }

    /// Takes it away.
    pub fn stop(self, node: &Namespace, programs: Programs) -> Result<(), LabError> {
        match self {
            Self::ForwardDrop => programs.both(node, |_| "-P FORWARD ACCEPT".to_owned()),
            Self::InputDrop => {
                programs.both(node, |_| "-P INPUT ACCEPT".to_owned())?;
                node.command(&format!("{} -w -D {NEIGHBOURS}", programs.v6))?;
                programs.both(node, |_| format!("-D {ANSWERS}"))
            }
            Self::HostPort => programs.both(node, |family| format!("-D {}", host_port(family))),
            Self::PodsMasqueraded => {
                programs.both(node, |family| format!("-D {}", pods_masqueraded(family)))
            }
            Self::BalancerRoute => routes(node, "del"),
            Self::MarksVanish => node.command("nft delete table netdev marks").map(drop),
        }
    }
}

const ANSWERS: &str = "INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT";
/// Neighbour discovery is the only ICMP with this hop limit (RFC 4861).
const NEIGHBOURS: &str = "INPUT -p icmpv6 -m hl --hl-eq 255 -j ACCEPT";

/// The iptables programs for both families.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Programs {
    /// IPv4.
    pub v4: &'static str,
    /// IPv6.
    pub v6: &'static str,
}

impl Programs {
    fn both(self, node: &Namespace, rule: impl Fn(Family) -> String) -> Result<(), LabError> {
        for family in Family::ALL {
            let program = if family == Family::V4 {
                self.v4
            } else {
                self.v6
            };
            node.command(&format!("{program} -w {}", rule(family)))?;
        }
        Ok(())
    }
}

fn host_port(family: Family) -> String {
    let to = std::net::SocketAddr::new(A3.ip(family), SERVED_PORTS[0]);
    let matches = format!("-p tcp --dport {HOST_PORT} -m addrtype --dst-type LOCAL");
    format!("PREROUTING -t nat {matches} -j DNAT --to-destination {to}")
}

/// By its metric it is not the route of IPVS mode, which has the one that IPv6 routes have by themselves.
fn routes(node: &Namespace, verb: &str) -> Result<(), LabError> {
    Family::ALL.into_iter().try_for_each(|family| {
        let ip = routed_ip(family);
        node.ip(&format!("route {verb} local {ip} dev lo proto 66 metric 1"))
    })
}

fn pods_masqueraded(family: Family) -> String {
    let pods = network(A3.ip(family), if family == Family::V4 { 24 } else { 64 });
    format!("POSTROUTING -t nat -s {pods} -o {LAN_INTERFACE} -j MASQUERADE")
}

/// Where packets leave: the wire and the pods' bridge ports. Not the bridge: to a pod whose neighbour entry is stale, `br_netfilter`
/// sends a frame that was translated on its way in through the bridge's own egress once, before POSTROUTING has seen it.
const MARKS_VANISH: &str = "
table netdev marks {
  chain out {
    type filter hook egress devices = { eth0, veth-a1, veth-a2, veth-a3 } priority 0; policy accept;
    meta mark != 0 drop;
  }
}
";
