//! The other witness: the listings of the `ipvsadm` program.

use std::net::Ipv4Addr;

use sluice_kernel::ipvs::{
    ClientMask, Forward, ListedDestination, ListedService, Service, Statistics,
};

use super::namespace::sh;
use super::subject::Listing;

/// Compares with every view that the program has.
pub(crate) fn assert_agrees(listing: &Listing) {
    let balancing = |listed: &ListedService| balancing(&listed.service);
    assert_eq!(
        program(""),
        written(listing, balancing, |listed| {
            let (wanted, counts) = (listed.destination, listed.connections);
            let method = match wanted.forward {
                Forward::Masquerade => "Masq",
                Forward::Local => "Local",
                Forward::Tunnel => "Tunnel",
                Forward::Route => "Route",
                Forward::Bypass => "Bypass",
            };
            let (weight, active, inactive) = (wanted.weight, counts.active, counts.inactive);
            format!("{method} {weight} {active} {inactive}")
        })
    );
    assert_eq!(
        program("--thresholds"),
        written(listing, balancing, |listed| {
            let (wanted, counts) = (listed.destination, listed.connections);
            let (upper, lower) = (wanted.upper_threshold, wanted.lower_threshold);
            format!("{upper} {lower} {} {}", counts.active, counts.inactive)
        })
    );
    assert_eq!(
        program("--persistent-conn"),
        written(listing, balancing, |listed| {
            let (weight, counts) = (listed.destination.weight, listed.connections);
            let (active, inactive) = (counts.active, counts.inactive);
            format!("{weight} {} {active} {inactive}", counts.persistent)
        })
    );
    assert_eq!(
        program("--stats --exact"),
        written(
            listing,
            |listed| counters(&listed.statistics),
            |listed| counters(&listed.statistics)
        )
    );
}

/// The lines of a listing without their alignment, sorted, each real server behind its virtual server.
fn program(view: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut virtual_server = String::new();
    for line in sh(&format!("ipvsadm -Ln {view}")).lines().skip(3) {
        let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
        if line.starts_with("->") {
            lines.push(format!("{virtual_server} {line}"));
        } else {
            // The first words are the same in all views.
            let words = if line.contains(" IPv6") { 3 } else { 2 };
            let identity: Vec<_> = line.split(' ').take(words).collect();
            virtual_server = identity.join(" ");
            lines.push(line);
        }
    }
    lines.sort();
    lines
}

fn written(
    listing: &Listing,
    service: impl Fn(&ListedService) -> String,
    destination: impl Fn(&ListedDestination) -> String,
) -> Vec<String> {
    let mut lines = Vec::new();
    for (listed, destinations) in listing {
        let virtual_server = listed.service.server;
        lines.push(format!("{virtual_server} {}", service(listed)));
        for listed in destinations {
            let (server, told) = (listed.destination.server, destination(listed));
            lines.push(format!("{virtual_server} -> {server} {told}"));
        }
    }
    lines.sort();
    lines
}

fn balancing(service: &Service) -> String {
    let mut words = vec![service.scheduler.clone()];
    let flags = service.scheduler_flags;
    let names = match service.scheduler.as_str() {
        "sh" => ["sh-fallback", "sh-port", "flag-3"],
        "mh" => ["mh-fallback", "mh-port", "flag-3"],
        _ => ["flag-1", "flag-2", "flag-3"],
    };
    let set = names
        .into_iter()
        .zip([flags.flag_1, flags.flag_2, flags.flag_3]);
    let set: Vec<_> = set.filter(|(_, set)| *set).map(|(name, _)| name).collect();
    if !set.is_empty() {
        words.push(format!("({})", set.join(",")));
    }
    if let Some(persistence) = service.persistence {
        words.push(format!("persistent {}", persistence.timeout_seconds));
        match persistence.clients {
            ClientMask::V4(Ipv4Addr::BROADCAST) | ClientMask::V6(128) => {}
            ClientMask::V4(mask) => words.push(format!("mask {mask}")),
            ClientMask::V6(length) => words.push(format!("mask {length}")),
        }
    }
    if service.one_packet {
        words.push("ops".to_owned());
    }
    words.join(" ")
}

fn counters(counted: &Statistics) -> String {
    let Statistics {
        connections,
        packets_in,
        packets_out,
        bytes_in,
        bytes_out,
        ..
    } = counted;
    format!("{connections} {packets_in} {packets_out} {bytes_in} {bytes_out}")
}
