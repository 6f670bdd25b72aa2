//! Which slices count, and how several of them add up.

use sluice_service_plan::model::{AddressType, EndpointSlice, Family, Protocol, SlicePort};

use crate::lab::places::{A1, A2, B1, Place, SERVED_PORTS};
use crate::packets::Row;
use crate::packets::build::{PORT, cluster_ip, ready, web};
use crate::packets::row::Source::Kept;
use crate::packets::row::{Expect, Scene, packet, reaches};

const PROTOCOL: Protocol = Protocol::Tcp;

pub(super) fn rows() -> Vec<Row> {
    Family::ALL
        .into_iter()
        .flat_map(|family| [merged(family), ignored(family)].concat())
        .collect()
}

fn row(family: Family, sentence: &str, slices: Vec<EndpointSlice>, expect: Expect) -> Row {
    let named = slices
        .into_iter()
        .enumerate()
        .map(|(n, slice)| renamed(slice, n));
    let scene = named.fold(Scene::of(web(family, PROTOCOL), &[]), Scene::slice);
    let to_vip = packet(A2, PROTOCOL, cluster_ip(family, 10), PORT);
    scene.row(sentence, to_vip, expect)
}

fn renamed(slice: EndpointSlice, number: usize) -> EndpointSlice {
    let mut name = slice.name.clone();
    name.name = format!("{}-{number}", name.name).into();
    EndpointSlice { name, ..slice }
}

fn of(pod: Place, family: Family) -> EndpointSlice {
    web(family, PROTOCOL).slice(family, &[ready(pod)])
}

fn port(name: &str, protocol: Protocol, port: u16) -> SlicePort {
    SlicePort {
        name: name.into(),
        protocol,
        port,
    }
}

fn merged(family: Family) -> Vec<Row> {
    let (a1, b1) = (|| of(A1, family), || of(B1, family));
    let equal_shares = [A1, B1].map(|pod| ((pod.name, SERVED_PORTS[0]), 1));
    let both_ports = SERVED_PORTS.map(|port| (A1.name, port));
    let two_ports = EndpointSlice {
        ports: SERVED_PORTS.map(|number| port("", PROTOCOL, number)).into(),
        ..a1()
    };
    vec![
        row(
            family,
            "several slices of a service merge",
            vec![a1(), b1()],
            reaches([A1, B1], Kept),
        ),
        row(
            family,
            "a duplicate across slices counts once",
            vec![a1(), a1(), b1()],
            Expect::Splits(equal_shares.into(), Kept),
        ),
        row(
            family,
            "one address with two ports counts twice",
            vec![two_ports],
            Expect::Reaches(both_ports.into(), Kept),
        ),
    ]
}

fn ignored(family: Family) -> Vec<Row> {
    let b1 = || of(B1, family);
    let served = SERVED_PORTS[0];
    let other_name = EndpointSlice {
        ports: vec![port("other", PROTOCOL, served)],
        ..b1()
    };
    let other_protocol = EndpointSlice {
        ports: vec![port("", Protocol::Udp, served)],
        ..b1()
    };
    let headless = EndpointSlice {
        headless: true,
        ..b1()
    };
    let names = EndpointSlice {
        address_type: AddressType::Fqdn,
        ..b1()
    };
    let others = EndpointSlice {
        service: "other".into(),
        ..b1()
    };
    let other_family = of(
        B1,
        if family == Family::V4 {
            Family::V6
        } else {
            Family::V4
        },
    );
    let beside_one_that_counts = [
        (
            "a slice port of another name does not count",
            other_name.clone(),
        ),
        (
            "a slice port of another protocol does not count",
            other_protocol,
        ),
        ("a slice with the headless label is not seen", headless),
        ("a slice of names is ignored", names),
        ("a slice of another service is not this one's", others),
        ("endpoints of the other family do not count", other_family),
    ];
    let alone = row(
        family,
        "slices without the port's name alone mean no endpoints",
        vec![other_name],
        Expect::Rejected,
    );
    let rows = beside_one_that_counts.map(|(sentence, slice)| {
        let slices = vec![of(A1, family), slice];
        row(family, sentence, slices, reaches([A1], Kept))
    });
    rows.into_iter().chain([alone]).collect()
}
