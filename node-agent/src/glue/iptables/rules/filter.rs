//! The filter table: what is refused, what is accepted.

use sluice_service_plan::model::{Family, Protocol};

use super::{FORWARD, FORWARD_LAST, INPUT, Inputs, OUTPUT, REFUSE, REJECT};
use crate::glue::IpvsPart;
use crate::glue::membership::Role;
use crate::ruleset::{Chain, Jump, Place};

pub(super) const JUMPS: [Jump; 4] = [
    Jump {
        from: "INPUT",
        to: INPUT,
        comment: "sluice: refused service traffic",
        place: Place::First,
    },
    Jump {
        from: "FORWARD",
        to: FORWARD,
        comment: "sluice: refused and accepted service traffic",
        place: Place::First,
    },
    Jump {
        from: "OUTPUT",
        to: OUTPUT,
        comment: "sluice: refused service traffic",
        place: Place::First,
    },
    Jump {
        from: "FORWARD",
        to: FORWARD_LAST,
        comment: "sluice: translated and refused by nobody",
        place: Place::Last,
    },
];

pub(super) fn chains(inputs: &Inputs<'_>) -> Vec<Chain> {
    vec![
        input(inputs),
        forward(inputs),
        forward_last(),
        output(inputs),
        refuse(inputs),
        reject(inputs),
    ]
}

fn input(inputs: &Inputs<'_>) -> Chain {
    let mut chain = Chain::new(INPUT);
    guard_localhost(inputs, &mut chain);
    if inputs.ipvs != IpvsPart::None {
        accept_old_connections(inputs, &mut chain);
    }
    chain.lead("-m conntrack --ctstate NEW", "-j", REFUSE);
    if inputs.ipvs == IpvsPart::New {
        chain.rule(format_args!(
            "-m conntrack --ctstate NEW -m mark --mark {} -m set --match-set {} dst,dst -j ACCEPT",
            inputs.inside_mark(),
            inputs.inside_marks()
        ));
    }
    // Load balancers ask for a service's health, on addresses of the node or on their own. After what is refused: a service may list this port
    // there, and has a cluster IP. Before what is others': addresses of the node may be.
    let health = inputs.set(Role::HealthPort);
    chain.rule(format_args!(
        "-p tcp -m set --match-set {health} dst -j ACCEPT"
    ));
    inputs.leave_excluded(&mut chain);
    for node_port in inputs.node_port_matches("-i lo") {
        let refused = |role| {
            let set = inputs.set(role);
            format!("{node_port} -m conntrack --ctstate NEW -m set --match-set {set} dst,dst")
        };
        chain.rule(format_args!("{} -j DROP", refused(Role::NodePortDrop)));
        chain.lead(&refused(Role::NodePortReject), "-g", REJECT);
    }
    let external = inputs.set(Role::ExternalIp);
    if let Some(port) = inputs.node.health_port {
        // Load balancers ask on their own address for the node's health. After what is refused: a service may list this port there.
        chain.rule(format_args!(
            "-p tcp -m tcp --dport {port} -m set --match-set {external} dst -j ACCEPT"
        ));
    }
    if inputs.ipvs != IpvsPart::None {
        chain.rule(format_args!(
            "-m conntrack --ctstate NEW -m set --match-set {} dst,dst -j ACCEPT",
            inputs.virtual_servers()
        ));
        chain.lead(
            &format!(
                "-m conntrack --ctstate NEW -m set --match-set {} dst",
                inputs.virtual_addresses()
            ),
            "-g",
            REJECT,
        );
    }
    // Nothing of the node answers on a service address, unless it is the node's own: that would lock ssh out.
    let own = inputs.set(Role::OwnIp);
    chain.lead(
        &format!(
            "-m conntrack --ctstate NEW -m set --match-set {external} dst -m set ! --match-set {own} dst"
        ),
        "-g",
        REJECT,
    );
    chain
}

/// What goes to IPVS is delivered to the node, so a firewall's INPUT would have a say in it.
fn accept_old_connections(inputs: &Inputs<'_>, chain: &mut Chain) {
    chain.rule(format_args!(
        "-m conntrack --ctstate RELATED,ESTABLISHED -m set --match-set {} dst,dst -j ACCEPT",
        inputs.virtual_servers()
    ));
    chain.rule(format_args!(
        "-m conntrack --ctstate RELATED,ESTABLISHED -m set --match-set {} dst,dst -j ACCEPT",
        inputs.inside_marks()
    ));
    chain.rule(format_args!(
        "-m conntrack --ctstate RELATED -m set --match-set {} dst -j ACCEPT",
        inputs.virtual_addresses()
    ));
}

fn forward(inputs: &Inputs<'_>) -> Chain {
    let mut chain = Chain::new(FORWARD);
    if !inputs.settings.tcp_be_liberal {
        // A packet out of conntrack's window would leave untranslated, and the answer to it resets the connection.
        chain.rule(format_args!("-m conntrack --ctstate INVALID -j DROP"));
    }
    chain.rule(format_args!(
        "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"
    ));
    guard_localhost(inputs, &mut chain);
    chain.lead("-m conntrack --ctstate NEW", "-j", REFUSE);
    chain.rule(format_args!("-m mark --mark {} -j ACCEPT", inputs.mark()));
    chain
}

/// Accepts what was translated where nobody before decided; matters where the policy of FORWARD is DROP.
fn forward_last() -> Chain {
    let mut chain = Chain::new(FORWARD_LAST);
    chain.rule(format_args!("-m conntrack --ctstate DNAT -j ACCEPT"));
    chain
}

fn output(inputs: &Inputs<'_>) -> Chain {
    let mut chain = Chain::new(OUTPUT);
    if inputs.ipvs != IpvsPart::None {
        chain.rule(format_args!("-m ipvs --ipvs -j ACCEPT"));
        let loopback = match inputs.family {
            Family::V4 => "127.0.0.1/32",
            Family::V6 => "::1/128",
        };
        let turned = format!(
            "-d {loopback} -m mark --mark {} -m conntrack --ctstate DNAT",
            inputs.mark()
        );
        chain.lead(&turned, "-g", REJECT);
    }
    chain.lead("-m conntrack --ctstate NEW", "-j", REFUSE);
    chain
}

/// New connections that are still addressed to a frontend: nobody translated them, or IPVS is about to.
fn refuse(inputs: &Inputs<'_>) -> Chain {
    let mut chain = Chain::new(REFUSE);
    inputs.leave_excluded(&mut chain);
    let guarded = inputs.set(Role::Guarded);
    let allowed = inputs.set(Role::Allowed);
    let drop = inputs.set(Role::Drop);
    let reject = inputs.set(Role::Reject);
    chain.rule(format_args!(
        "-m set --match-set {guarded} dst,dst -m set ! --match-set {allowed} dst,dst,src -j DROP"
    ));
    if inputs.ipvs == IpvsPart::New {
        // For them another pool counts.
        chain.rule(format_args!(
            "-m mark --mark {} -m set --match-set {} dst,dst -j RETURN",
            inputs.inside_mark(),
            inputs.inside_marks()
        ));
    }
    chain.rule(format_args!("-m set --match-set {drop} dst,dst -j DROP"));
    chain.lead(
        &format!("-m set --match-set {reject} dst,dst"),
        "-g",
        REJECT,
    );
    if inputs.ipvs != IpvsPart::None {
        chain.rule(format_args!(
            "-m set --match-set {} dst,dst -j RETURN",
            inputs.virtual_servers()
        ));
    }
    let own = inputs.set(Role::OwnIp);
    let cluster = inputs.set(Role::ClusterIp);
    chain.lead(
        &format!("-m set --match-set {cluster} dst -m set ! --match-set {own} dst"),
        "-g",
        REJECT,
    );
    chain
}

/// TCP gets a reset: an ICMP error is dropped while a local `connect()` holds the socket.
fn reject(inputs: &Inputs<'_>) -> Chain {
    let mut chain = Chain::new(REJECT);
    let unreachable = match inputs.family {
        Family::V4 => "icmp-port-unreachable",
        Family::V6 => "icmp6-port-unreachable",
    };
    chain.rule(format_args!("-p tcp -j REJECT --reject-with tcp-reset"));
    for protocol in [Protocol::Udp, Protocol::Sctp] {
        chain.rule(format_args!(
            "-p {protocol} -j REJECT --reject-with {unreachable}"
        ));
    }
    chain
}

/// CVE-2020-8558: with `route_localnet` on, a neighbour could reach the node's loopback services.
fn guard_localhost(inputs: &Inputs<'_>, chain: &mut Chain) {
    if inputs.serves_localhost() {
        chain.rule(format_args!(
            "! -i lo -m conntrack --ctstate NEW --ctorigdst 127.0.0.0/8 -j DROP"
        ));
    }
}
