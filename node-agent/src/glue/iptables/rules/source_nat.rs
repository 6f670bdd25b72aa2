//! What gives packets a source of this node.

use std::net::IpAddr;

use sluice_service_plan::model::Protocol;

use super::{Inputs, SOURCE_NAT};
use crate::ruleset::{Chain, random_share};

/// The chain for everything but pods of a class with addresses of its own.
pub(super) fn source_nat(inputs: &Inputs<'_>) -> Chain {
    let mut chain = Chain::new(SOURCE_NAT);
    let addresses = inputs.source_addresses();
    if addresses.is_empty() {
        masquerade(inputs, &mut chain);
    } else {
        translate(inputs, &addresses, &mut chain);
    }
    chain
}

fn masquerade(inputs: &Inputs<'_>, chain: &mut Chain) {
    let random = random(inputs);
    if let Some((first, last)) = inputs.settings.snat_ports {
        for protocol in Protocol::ALL {
            chain.rule(format_args!(
                "-p {protocol} -j MASQUERADE --to-ports {first}-{last}{random}"
            ));
        }
    }
    chain.rule(format_args!("-j MASQUERADE{random}"));
}

/// Shares the connections among these addresses.
pub(super) fn translate(inputs: &Inputs<'_>, addresses: &[IpAddr], chain: &mut Chain) {
    let random = random(inputs);
    if let Some((first, last)) = inputs.settings.snat_ports {
        for (address, share) in shares(addresses) {
            // One draw decides for the three protocols: a packet has one of them.
            let to = match address {
                IpAddr::V4(ip) => format!("{ip}:{first}-{last}"),
                IpAddr::V6(ip) => format!("[{ip}]:{first}-{last}"),
            };
            for protocol in Protocol::ALL {
                chain.rule(format_args!(
                    "-p {protocol}{share} -j SNAT --to-source {to}{random}"
                ));
            }
        }
    }
    // With ports: what has none.
    for (address, share) in shares(addresses) {
        let share = share.trim_start();
        let gap = if share.is_empty() { "" } else { " " };
        chain.rule(format_args!(
            "{share}{gap}-j SNAT --to-source {address}{random}"
        ));
    }
}

fn shares(addresses: &[IpAddr]) -> impl Iterator<Item = (&IpAddr, String)> {
    let shared = addresses.iter().enumerate();
    shared.map(|(index, address)| {
        let rest = addresses.len() - index;
        (address, random_share(1, rest as u64))
    })
}

fn random(inputs: &Inputs<'_>) -> &'static str {
    if inputs.settings.random_fully {
        " --random-fully"
    } else {
        ""
    }
}
