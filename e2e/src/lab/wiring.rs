//! Links, addresses, routes and sysctls of a lab.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use sluice_kernel::modules::{ModprobeModules, Modules};

use super::pace::stretched;
use super::places::{
    CLIENT, CLIENT_ADDRESSES, LAN_INTERFACE, LOCAL_PODS, NEIGHBOUR, NODE, NODE_BRIDGE, NODE_SECOND,
    POD_BRIDGE, Place, REMOTE_NODE, REMOTE_PODS, ROUTER, SERVED_PORTS,
};
use super::{LabError, Namespace};

const NODE_SYSCTLS: [(&str, &str); 12] = [
    ("net/ipv4/ip_forward", "1"),
    ("net/ipv6/conf/all/forwarding", "1"),
    ("net/ipv4/conf/all/rp_filter", "0"),
    ("net/ipv4/conf/default/rp_filter", "0"),
    // Clients reach everything through the node, on the segment they came from.
    ("net/ipv4/conf/all/send_redirects", "0"),
    ("net/ipv4/conf/default/send_redirects", "0"),
    // Every probe that is refused hears of it, not one a second.
    ("net/ipv4/icmp_ratelimit", "0"),
    ("net/ipv6/icmp/ratelimit", "0"),
    // Nor one of a thousand a second, the limit for all clients together: only echo replies stay under it.
    ("net/ipv4/icmp_ratemask", "1"),
    ("net/ipv6/icmp/ratemask", "0"),
    // Replies between pods of one bridge must meet connection tracking.
    ("net/bridge/bridge-nf-call-iptables", "1"),
    ("net/bridge/bridge-nf-call-ip6tables", "1"),
];

/// How long links may take to come up.
const SETTLING: Duration = Duration::from_secs(30);

/// The namespaces to wire up.
#[derive(Debug)]
pub(super) struct Namespaces {
    pub(super) lan: Namespace,
    pub(super) router: Namespace,
    pub(super) node: Namespace,
    pub(super) remote: Namespace,
    pub(super) client: Namespace,
    pub(super) neighbour: Namespace,
    pub(super) pods: Vec<Namespace>,
}

impl Namespaces {
    pub(super) fn new() -> Result<Self, LabError> {
        // Some kernels have it as a module that nothing loads by itself. One that is missing shows in its sysctls.
        let _ = ModprobeModules::new().load("br_netfilter", &[]);
        let made = Self {
            lan: Namespace::new("lan")?,
            router: Namespace::new("router")?,
            node: Namespace::new("node")?,
            remote: Namespace::new("remote")?,
            client: Namespace::new("client")?,
            neighbour: Namespace::new("neighbour")?,
            pods: LOCAL_PODS
                .iter()
                .map(|pod| Namespace::new(pod.name))
                .collect::<Result<_, _>>()?,
        };
        made.wire_lan()?;
        made.wire_node()?;
        made.wire_pods()?;
        made.wire_remote()?;
        made.wire_router()?;
        made.wire_clients()?;
        made.settle()?;
        Ok(made)
    }

    /// Waits until every link is up. The kernel says so a moment after the last command, and until then drops what is
    /// sent: a lost neighbour solicitation would cost the first probe a second.
    fn settle(&self) -> Result<(), LabError> {
        let all = [
            &self.lan,
            &self.router,
            &self.node,
            &self.remote,
            &self.client,
            &self.neighbour,
        ];
        let deadline = Instant::now() + stretched(SETTLING);
        for namespace in all.into_iter().chain(&self.pods) {
            while let Some(link) = down(&namespace.command("ip -oneline link show")?) {
                if Instant::now() > deadline {
                    let namespace = namespace.name().to_owned();
                    return Err(LabError::LinkDown { namespace, link });
                }
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        Ok(())
    }

    /// A switch.
    fn wire_lan(&self) -> Result<(), LabError> {
        let mut lines = String::from("link add lan type bridge forward_delay 0\n");
        let _ = writeln!(lines, "link set lan addrgenmode none up");
        let guests = [
            &self.router,
            &self.node,
            &self.remote,
            &self.client,
            &self.neighbour,
        ];
        for guest in guests {
            let (port, id) = (guest.name(), guest.id());
            let _ = writeln!(
                lines,
                "link add {port} type veth peer name {LAN_INTERFACE} netns {id}"
            );
            let _ = writeln!(lines, "link set {port} addrgenmode none");
            let _ = writeln!(lines, "link set {port} master lan up");
        }
        self.lan.ip(&lines)
    }

    fn wire_node(&self) -> Result<(), LabError> {
        for (path, value) in NODE_SYSCTLS {
            self.node.sysctl(path, value)?;
        }
        let mut lines = on_lan(&NODE, 24, 64);
        let _ = writeln!(lines, "addr add {}/24 dev {LAN_INTERFACE}", NODE_SECOND.v4);
        // Deprecated: used where asked for, never picked as a source.
        let _ = writeln!(
            lines,
            "addr add {}/64 dev {LAN_INTERFACE} nodad preferred_lft 0",
            NODE_SECOND.v6
        );
        let _ = writeln!(lines, "link add {POD_BRIDGE} type bridge forward_delay 0");
        let _ = writeln!(lines, "link set {POD_BRIDGE} addrgenmode none up");
        lines += &addresses(&NODE_BRIDGE, POD_BRIDGE, 24, 64);
        lines += &default_route(&ROUTER);
        let _ = writeln!(lines, "route add 10.244.1.0/24 via {}", REMOTE_NODE.v4);
        let _ = writeln!(lines, "route add fd00:10:244:1::/64 via {}", REMOTE_NODE.v6);
        for (pod, place) in self.pods.iter().zip(LOCAL_PODS) {
            let (port, id) = (pod_port(&place), pod.id());
            let _ = writeln!(
                lines,
                "link add {port} type veth peer name {LAN_INTERFACE} netns {id}"
            );
            let _ = writeln!(lines, "link set {port} addrgenmode none");
            let _ = writeln!(lines, "link set {port} master {POD_BRIDGE} up");
            let _ = writeln!(lines, "link set {port} type bridge_slave hairpin on");
        }
        self.node.ip(&lines)
    }

    fn wire_pods(&self) -> Result<(), LabError> {
        for (pod, place) in self.pods.iter().zip(LOCAL_PODS) {
            pod.ip(&(on_lan(&place, 24, 64) + &default_route(&NODE_BRIDGE)))?;
        }
        Ok(())
    }

    fn wire_remote(&self) -> Result<(), LabError> {
        let mut lines = behind_node(&REMOTE_NODE);
        for pod in REMOTE_PODS {
            let _ = writeln!(lines, "addr add {}/32 dev lo", pod.v4);
            let _ = writeln!(lines, "addr add {}/128 dev lo nodad", pod.v6);
        }
        self.remote.ip(&lines)
    }

    /// The router at the end of the lab's world: whatever it should route, its own server answers.
    fn wire_router(&self) -> Result<(), LabError> {
        self.router.ip(&behind_node(&ROUTER))?;
        let port = SERVED_PORTS[0];
        let rules = format!(
            "add table inet beyond\n\
             add chain inet beyond everything {{ type nat hook prerouting priority dstnat; }}\n\
             add rule inet beyond everything \
             fib daddr type unicast meta l4proto {{ tcp, udp, sctp }} redirect to :{port}\n"
        );
        self.router.program("nft", &["-f", "-"], &rules).map(drop)
    }

    fn wire_clients(&self) -> Result<(), LabError> {
        let mut lines = on_lan(&CLIENT, 24, 64);
        for more in (1..CLIENT_ADDRESSES).map(|n| CLIENT.shifted(n)) {
            let _ = writeln!(lines, "addr add {}/24 dev {LAN_INTERFACE}", more.v4);
            let _ = writeln!(
                lines,
                "addr add {}/64 dev {LAN_INTERFACE} nodad preferred_lft 0",
                more.v6
            );
        }
        self.client.ip(&(lines + &default_route(&NODE)))?;
        let mut lines = on_lan(&NEIGHBOUR, 24, 64) + &default_route(&NODE);
        let _ = writeln!(lines, "addr del 127.0.0.1/8 dev lo");
        let _ = writeln!(lines, "route add 127.0.0.0/8 via {}", NODE.v4);
        self.neighbour
            .sysctl("net/ipv4/conf/all/route_localnet", "1")?;
        self.neighbour.ip(&lines)
    }
}

/// The first link of a listing by `ip -oneline link show` that is not up.
fn down(listing: &str) -> Option<String> {
    // Tunnel modules put a device of no use into every namespace.
    let not_up = |line: &&str| {
        !line.contains("@NONE")
            && !["state UP", "state UNKNOWN"]
                .iter()
                .any(|up| line.contains(up))
    };
    listing.lines().find(not_up).map(str::to_owned)
}

/// The bridge port of a pod.
pub(super) fn pod_port(pod: &Place) -> String {
    format!("veth-{}", pod.name)
}

fn on_lan(place: &Place, v4_len: u8, v6_len: u8) -> String {
    format!("link set {LAN_INTERFACE} addrgenmode none up\n")
        + &addresses(place, LAN_INTERFACE, v4_len, v6_len)
}

/// A host on the LAN that knows no neighbour but the node under test, so that its answers go through the node.
fn behind_node(place: &Place) -> String {
    let mut lines = on_lan(place, 32, 128);
    let _ = writeln!(lines, "route add {} dev {LAN_INTERFACE}", NODE.v4);
    let _ = writeln!(lines, "route add {} dev {LAN_INTERFACE}", NODE.v6);
    lines + &default_route(&NODE)
}

/// Addresses that work at once, so without duplicate detection. The link-local one is what a host asks for its neighbours
/// from when it forwards a packet, or sends from another interface's address.
fn addresses(place: &Place, interface: &str, v4_len: u8, v6_len: u8) -> String {
    let host = place.v6.segments()[7];
    format!(
        "addr add {}/{v4_len} dev {interface}\n\
         addr add {}/{v6_len} dev {interface} nodad\n\
         addr add fe80::{host:x}/64 dev {interface} nodad\n",
        place.v4, place.v6
    )
}

fn default_route(via: &Place) -> String {
    format!(
        "route add default via {}\nroute add default via {}\n",
        via.v4, via.v6
    )
}
