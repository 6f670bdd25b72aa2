//! What kube-proxy's iptables and nftables modes do.

use sluice_e2e::lab::places::{A1, A2, A3, B1, Home, NODE};
use sluice_e2e::packets::Row;
use sluice_e2e::packets::row::{Expect, Source, Untouched, reaches};
use sluice_e2e::packets::surroundings::Surrounding;
use sluice_service_plan::model::{Family, Protocol};

use super::Difference;
use crate::peers::Mode;
use crate::rows;

const ROUTED: Expect = Expect::NotOurs(Untouched::Routed);
const REFUSED_BY_NODE: Expect = Expect::NotOurs(Untouched::Refused);

const OF_THE_HOST_PORT: Expect = Expect::NotOurs(Untouched::Has(A3.name));

fn has_host_port(row: &Row) -> bool {
    row.scene.surroundings.contains(&Surrounding::HostPort)
}

pub(super) const OF_RULES: &[Difference] = &[
    Difference {
        title: "The node's own address as a load balancer's, without endpoints, on another service's node port",
        modes: &[Mode::Iptables, Mode::Nftables],
        rows: |row| {
            row.name
                .starts_with("a load balancer IP without endpoints is not another's node port")
        },
        instead: |_, _| reaches([A2], Source::Masqueraded),
        may_be_missed: false,
        kube_proxy: "leads clients of the service without endpoints to the other service.",
        sluice: "refuses them.",
        reason: "A service's clients should never meet another service's endpoints.",
    },
    Difference {
        title: "Clients that a load balancer's address drops, on another service's node port or a pod's host port",
        modes: &[Mode::Iptables],
        rows: |row| {
            let names = [
                "a load balancer IP without local endpoints is not another's node port",
                "a client outside the source ranges finds no other's node port",
                "another program's host port does not serve clients outside the source ranges",
            ];
            row.expect == Expect::Dropped && names.iter().any(|name| row.name.starts_with(name))
        },
        instead: |row, _| {
            if has_host_port(row) {
                OF_THE_HOST_PORT
            } else {
                reaches([A2], Source::Masqueraded)
            }
        },
        may_be_missed: false,
        kube_proxy: "leads them to that port: its rules for what it drops are in the filter table, after the translation.",
        sluice: "gives no answer, as without the other port. kube-proxy's nftables mode does so too.",
        reason: "Whom the source ranges or the policy Local keep out should not get in because of a number.",
    },
    Difference {
        title: "Host ports of pods on load-balancer addresses that lead to the node",
        modes: &[Mode::Iptables, Mode::Nftables],
        rows: |row| {
            let names = [
                "another program's host port is not on a load balancer IP",
                "another program's host port does not serve a load balancer IP without endpoints",
            ];
            has_host_port(row) && names.iter().any(|name| row.name.starts_with(name))
        },
        instead: |_, _| OF_THE_HOST_PORT,
        may_be_missed: false,
        kube_proxy: "lets a pod's `hostPort` answer on ports that the service does not list, and in place of a service without endpoints.",
        sluice: "refuses, as on every port of a service address that the service does not serve.",
        reason: "A service's address is nobody else's.",
    },
    Difference {
        title: "A pod that reaches itself, and whose node no slice tells",
        modes: &[Mode::Nftables],
        rows: |row| {
            row.name
                .starts_with("a pod whose node nobody tells reaches itself")
        },
        instead: |_, _| Expect::Dropped,
        may_be_missed: true,
        kube_proxy: "masquerades what goes back to the same pod for endpoints of the own node only: such a pod gets no answer.",
        sluice: "masquerades for every endpoint that may be the node's, as kube-proxy's iptables mode.",
        reason: "Slices that somebody else than Kubernetes' controller writes may lack `nodeName`.",
    },
    Difference {
        title: "Ports that a service does not list",
        modes: &[Mode::Iptables],
        rows: rows::unlisted_port_of_a_cluster_ip,
        instead: |_, _| ROUTED,
        may_be_missed: false,
        kube_proxy: "has no rule for them: the packet leaves the node by its routes, for whoever answers there.",
        sluice: "refuses them, from wherever they come.",
        reason: "A service's address is nobody else's, and a client should hear at once that a port is wrong. kube-proxy's nftables mode does so \
                 too (KEP-3866, kubernetes/kubernetes#122692).",
    },
    Difference {
        title: "The node's own packets to an external IP without endpoints",
        modes: &[Mode::Iptables],
        rows: |row| {
            row.packet.from == [NODE]
                && row.expect == Expect::Rejected
                && !rows::to_cluster_ip(row)
                && !rows::to_node(row)
        },
        instead: |_, _| ROUTED,
        may_be_missed: false,
        kube_proxy: "lets them leave the node: its refusals of external and load-balancer addresses are in INPUT and FORWARD, not in OUTPUT.",
        sluice: "refuses them, as it does for every other client.",
        reason: "Where the service has endpoints the node reaches them by that address, so without endpoints it is this service still that \
                 has none.",
    },
    Difference {
        title: "Clients that the source ranges keep out, of a service without endpoints",
        modes: &[Mode::Iptables],
        rows: |row| {
            row.expect == Expect::Dropped
                && rows::family(row) == Family::V4
                && row.scene.slices.is_empty()
        },
        instead: |_, _| Expect::Rejected,
        may_be_missed: false,
        kube_proxy: "refuses them like every client: a service without endpoints has no rules for its ranges.",
        sluice: "gives no answer, as while the service has endpoints.",
        reason: "Whether a service has endpoints is none of the business of those it is closed to. kube-proxy's nftables mode does it as \
                 Sluice does. (Over IPv6 such a client is refused too, but slowly, as below.)",
    },
    Difference {
        title: "How quickly TCP is refused",
        modes: &[Mode::Iptables, Mode::Nftables],
        rows: |row| {
            row.expect == Expect::Rejected
                && row.packet.protocol == Protocol::Tcp
                && rows::family(row) == Family::V6
        },
        instead: |_, _| Expect::Dropped,
        may_be_missed: true,
        kube_proxy: "answers with ICMP \"port unreachable\". When it comes while the client's kernel is still busy with the connect, as it does \
                     from the own node or the own network, an IPv6 client (and many an IPv4 one that blocks) passes over it and tries \
                     again a second later.",
        sluice: "answers with a TCP reset, which every client takes at once.",
        reason: "A client of a service without endpoints should fail over now, not after a second.",
    },
    Difference {
        title: "A neighbour's packets to the node's 127.0.0.1",
        modes: &[Mode::Iptables],
        rows: |row| {
            row.expect == Expect::Dropped
                && row.scene.settings.localhost_node_ports
                && row.packet.to.ip().is_loopback()
        },
        instead: |_, _| reaches([A1, B1], Source::Masqueraded),
        may_be_missed: false,
        kube_proxy: "serves a node port to whoever on the node's network sends a frame for 127.0.0.1: the rule that drops such packets \
                     passes over those that a node port translates.",
        sluice: "drops what comes for 127.0.0.0/8 from other hosts, node ports too.",
        reason: "Who restricts node ports to 127.0.0.0/8 wants them closed to others (CVE-2020-8558, kubernetes/kubernetes#92315).",
    },
    Difference {
        title: "Node ports on 127.0.0.1",
        modes: &[Mode::Nftables],
        rows: |row| {
            let served = matches!(row.expect, Expect::Reaches(..));
            served && row.scene.settings.localhost_node_ports && row.packet.to.ip().is_loopback()
        },
        // Servers of SCTP are programs of the lab: where none listens, nobody refuses.
        instead: |row, _| match row.packet.protocol {
            Protocol::Sctp => Expect::Dropped,
            _ => REFUSED_BY_NODE,
        },
        may_be_missed: false,
        kube_proxy: "never has any.",
        sluice: "has them where `nodePorts.localhost` is true, in its iptables mode.",
        reason: "KEP-3866 left them out of the nftables mode, since they need the sysctl `route_localnet`; Sluice has both the sysctl and \
                 the rule that makes it safe. (Kubernetes 1.37 may bring them back: kubernetes/kubernetes#138427.)",
    },
    Difference {
        title: "Node port addresses of one family only",
        modes: &[Mode::Iptables, Mode::Nftables],
        rows: rows::no_node_port_address_of_the_family,
        instead: |_, _| reaches([A1, B1], Source::Masqueraded),
        may_be_missed: false,
        kube_proxy: "takes networks of the other family for none at all, and serves node ports of this family on every address.",
        sluice: "serves node ports on the addresses that were named, so none of this family.",
        reason: "A list of networks says where node ports may be open; a family that it does not name is closed.",
    },
    Difference {
        title: "A detector with networks of one family only",
        modes: &[Mode::Iptables, Mode::Nftables],
        rows: rows::no_pod_network_of_the_family,
        instead: |_, _| reaches([A1], Source::Kept),
        may_be_missed: false,
        kube_proxy: "runs the other family without a detector: nothing of it is masqueraded for coming from outside.",
        sluice: "takes every client of the other family for one from outside, and masquerades it.",
        reason: "A detector that was asked for and knows no pod network of a family cannot tell pods from clients outside; the replies of a \
                 masqueraded connection find their way in either case.",
    },
    Difference {
        title: "Services whose proxy name is Sluice's",
        modes: &[Mode::Iptables, Mode::Nftables],
        rows: |row| row.name.starts_with("our own proxy name is ours"),
        instead: |_, mode| match mode {
            Mode::Nftables => Expect::Dropped,
            _ => ROUTED,
        },
        may_be_missed: false,
        kube_proxy: "leaves every service alone that has the label `service.kubernetes.io/service-proxy-name`.",
        sluice: "serves those where it says `sluice.dev`, and leaves the others alone.",
        reason: "With this value a service can be given to Sluice while kube-proxy still runs beside it.",
    },
    Difference {
        title: "Service addresses that no service has",
        modes: &[Mode::Nftables],
        rows: |row| {
            row.expect == Expect::NotOurs(Untouched::Routed) && rows::in_service_network(row)
        },
        instead: |_, _| Expect::Dropped,
        may_be_missed: false,
        kube_proxy: "drops what is for the cluster's service networks (the ServiceCIDRs) and for no service of its own, those of another proxy too.",
        sluice: "leaves it to the node's routes.",
        reason: "Another proxy may serve the address: KEP-3866 and KEP-1880 take for granted that kube-proxy is the only one. Its other modes \
                 leave the address alone as well.",
    },
    Difference {
        title: "FORWARD with the policy DROP, connections that are not masqueraded",
        modes: &[Mode::Iptables],
        rows: |row| forwarded_under_drop(row) && !rows::masqueraded(row),
        instead: |_, _| Expect::Dropped,
        may_be_missed: false,
        kube_proxy: "accepts in FORWARD what it marked for masquerade and what belongs to known connections: the first packet of a connection \
                     that keeps its source is dropped.",
        sluice: "accepts what it translated, whichever source it has.",
        reason: "Docker and others set this policy, and a service that is programmed should be reachable (kubernetes/kubernetes#39823).",
    },
    Difference {
        title: "FORWARD with the policy DROP",
        modes: &[Mode::Nftables],
        rows: forwarded_under_drop,
        instead: |_, _| Expect::Dropped,
        may_be_missed: false,
        kube_proxy: "cannot accept what another table drops: no connection through the node works.",
        sluice: "accepts in the same chain what it translated.",
        reason: "Docker and others set this policy (kubernetes/kubernetes#39823). An accept in one table of nftables says nothing to the others (KEP-3866).",
    },
];

fn forwarded_under_drop(row: &Row) -> bool {
    let served = matches!(row.expect, Expect::Reaches(..));
    let forwarded = row.packet.from.iter().all(|from| from.home != Home::Node);
    served && forwarded && row.scene.surroundings.contains(&Surrounding::ForwardDrop)
}
