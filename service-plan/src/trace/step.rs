//! The steps of a trace, in words.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::access::Admission;
use crate::model::{ObjectName, Protocol};
use crate::packet::Side;
use crate::plan::{FrontendKind, Masquerade, Pool, PortKey, Refusal};
use crate::source::Source;

/// One reason on the way to a verdict. Each is also a place where kernel objects do the work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Another host sent a packet for the node's loopback.
    ForeignLoopback {
        /// Where it wants to go.
        destination: IpAddr,
    },
    /// IPVS balances, and the settings leave the address to others.
    Excluded {
        /// Where it wants to go.
        destination: IpAddr,
    },
    /// A frontend is addressed.
    Frontend {
        /// The service port it leads to.
        key: PortKey,
        /// What the packet is addressed to.
        destination: SocketAddr,
        /// Why the frontend exists.
        kind: FrontendKind,
    },
    /// `loadBalancerSourceRanges` guard the frontend.
    SourceRanges {
        /// The client.
        source: IpAddr,
        /// What they say.
        admission: Admission,
    },
    /// A pool is taken.
    Pool {
        /// Which side the packet comes from.
        side: Side,
        /// The pool.
        pool: Pool,
        /// Another side would have got the other pool.
        depends_on_side: bool,
        /// How many endpoints it has.
        endpoints: usize,
    },
    /// The pool is empty.
    Refused {
        /// What that means.
        refusal: Refusal,
    },
    /// A client that was here before gets the endpoint it had.
    Affinity {
        /// For this long after its last connection, seconds.
        seconds: u32,
    },
    /// The frontend's masquerade rule.
    Masquerade {
        /// The rule.
        rule: Masquerade,
        /// What it says of this packet.
        applies: bool,
    },
    /// The class of the pod that sends it.
    Class {
        /// Its name.
        name: Arc<str>,
        /// It counts for packets that leave by this interface only.
        out_interface: Option<String>,
        /// What it makes of the source.
        source: Source,
    },
    /// An endpoint that is the client itself.
    Hairpin {
        /// The endpoint.
        endpoint: SocketAddr,
    },
    /// Some endpoints are excluded from masquerading.
    KeepsSource {
        /// How many.
        endpoints: usize,
    },
    /// The address is a service's cluster IP, the port is none of its ports.
    UnlistedPort {
        /// A service that has the address.
        service: ObjectName,
        /// What the packet is addressed to.
        destination: SocketAddr,
        /// Its protocol.
        protocol: Protocol,
    },
    /// IPVS makes the address the node's own, and the port is none of the service's ports.
    ClosedPort {
        /// A service that has the address.
        service: ObjectName,
        /// What the packet is addressed to.
        destination: SocketAddr,
        /// Its protocol.
        protocol: Protocol,
    },
    /// The address is an external or load-balancer IP, the port that of the node's health.
    Health {
        /// What the packet is addressed to.
        destination: SocketAddr,
    },
    /// Nothing that is planned has this address and port.
    NoFrontend {
        /// What the packet is addressed to.
        destination: SocketAddr,
        /// Its protocol.
        protocol: Protocol,
    },
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ForeignLoopback { destination } => write!(
                f,
                "{destination} is loopback, and the packet comes from another host: dropped"
            ),
            Self::Excluded { destination } => write!(
                f,
                "ipvs.excludeCIDRs leave {destination} to others: it passes untouched"
            ),
            Self::Frontend {
                key,
                destination,
                kind,
            } => f.write_str(&frontend_words(key, *destination, *kind)),
            Self::SourceRanges { source, admission } => {
                let verdict = if *admission == Admission::Refused {
                    ": dropped"
                } else {
                    ""
                };
                write!(f, "client {source}: {admission}{verdict}")
            }
            Self::Pool {
                side,
                pool,
                depends_on_side,
                endpoints,
            } => {
                if *depends_on_side {
                    write!(
                        f,
                        "externalTrafficPolicy is Local and it comes from {side}: "
                    )?;
                }
                write!(f, "{}, number of them: {endpoints}", pool_words(*pool))
            }
            Self::Refused { refusal } => f.write_str(refusal_words(*refusal)),
            Self::Affinity { seconds } => write!(
                f,
                "sessionAffinity: a client seen in the last {seconds} s gets the endpoint it had"
            ),
            Self::Masquerade { rule, applies } => f.write_str(masquerade_words(*rule, *applies)),
            Self::Class {
                name,
                out_interface,
                source,
            } => {
                write!(f, "its pod is of class {name}")?;
                if let Some(interface) = out_interface {
                    write!(f, ", if it leaves by {interface}")?;
                }
                write!(f, ": {source}")
            }
            Self::Hairpin { endpoint } => {
                write!(
                    f,
                    "if {endpoint} is chosen, the client reaches itself: masqueraded"
                )
            }
            Self::KeepsSource { endpoints } => write!(
                f,
                "endpoints excluded from masquerading, where the source stays: {endpoints}"
            ),
            Self::UnlistedPort {
                service,
                destination,
                protocol,
            } => {
                let what = format!("a cluster IP of service {service}");
                without_port(f, &what, *destination, *protocol)
            }
            Self::ClosedPort {
                service,
                destination,
                protocol,
            } => {
                let what =
                    format!("an address of service {service}, which IPVS makes the node's own");
                without_port(f, &what, *destination, *protocol)
            }
            Self::Health { destination } => {
                let (ip, port) = (destination.ip(), destination.port());
                write!(
                    f,
                    "no service has port {port}/tcp of {ip}, but this node's health is told there: it passes, and is answered if the address leads to the node"
                )
            }
            Self::NoFrontend {
                destination,
                protocol,
            } => {
                write!(
                    f,
                    "no service has {destination}/{protocol}: it passes untouched"
                )
            }
        }
    }
}

fn frontend_words(key: &PortKey, destination: SocketAddr, kind: FrontendKind) -> String {
    let PortKey {
        service,
        port,
        protocol,
        ..
    } = key;
    let kind = kind_words(kind);
    let port = if port.is_empty() {
        String::new()
    } else {
        format!(", port {port}")
    };
    format!("{destination}/{protocol} is {kind} of service {service}{port}")
}

fn kind_words(kind: FrontendKind) -> &'static str {
    match kind {
        FrontendKind::ClusterIp => "the cluster IP",
        FrontendKind::ExternalIp => "an external IP",
        FrontendKind::LoadBalancer => "a load-balancer IP",
        FrontendKind::NodePort => "the node port",
    }
}

fn pool_words(pool: Pool) -> &'static str {
    match pool {
        Pool::Cluster => "it gets one of the cluster's usable endpoints",
        Pool::Local => "it gets one of this node's usable endpoints",
    }
}

fn refusal_words(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::Reject => "the service has no usable endpoint anywhere: refused",
        Refusal::Drop => "all usable endpoints are on other nodes: dropped",
    }
}

fn masquerade_words(rule: Masquerade, applies: bool) -> &'static str {
    match (rule, applies) {
        (Masquerade::Always, _) => "masqueraded: all traffic to this frontend is",
        (Masquerade::Outside, true) => {
            "masqueraded: the local detector does not take it for a pod's"
        }
        (Masquerade::Outside, false) => "the source stays: the local detector takes it for a pod's",
        (Masquerade::FromNode, true) => "masqueraded: it starts on the node itself",
        (Masquerade::FromNode, false) => {
            "the source stays: externalTrafficPolicy is Local, and it starts elsewhere than on the node"
        }
        (Masquerade::Never, _) => "the source stays: no local detector is set, nor masqueradeAll",
    }
}

fn without_port(
    f: &mut fmt::Formatter<'_>,
    what: &str,
    destination: SocketAddr,
    protocol: Protocol,
) -> fmt::Result {
    let (ip, port) = (destination.ip(), destination.port());
    write!(f, "{ip} is {what}, without port {port}/{protocol}: refused")
}
