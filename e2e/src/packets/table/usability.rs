//! Which endpoints are usable, and which slices count.

use sluice_service_plan::model::{AddressType, EndpointSlice, Family, Protocol, SlicePort};

use crate::lab::places::{A1, A2, A3, B1, B2, CLIENT, NODE, SERVED_PORTS};
use crate::packets::Row;
use crate::packets::build::{
    EndpointBuilder, NODE_PORT, PORT, all_ready, cluster_ip, draining, ending, ready, unready, web,
};
use crate::packets::row::Source::{Kept, Masqueraded};
use crate::packets::row::{Expect, Scene, each, packet, reaches};

pub(super) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for (family, protocol) in each() {
        rows.extend(conditions(family, protocol));
    }
    for family in Family::ALL {
        rows.extend(slices(family));
    }
    rows
}

fn conditions(family: Family, protocol: Protocol) -> Vec<Row> {
    let row = |sentence: &str, endpoints: &[EndpointBuilder], expect| {
        Scene::of(web(family, protocol), endpoints).row(
            sentence,
            packet(A2, protocol, cluster_ip(family, 10), PORT),
            expect,
        )
    };
    let mut rows = vec![
        row(
            "an endpoint that is not ready gets nothing",
            &[ready(A1), unready(A3), ready(B1)],
            reaches([A1, B1], Kept),
        ),
        row(
            "an endpoint that terminates gets nothing new while another is ready",
            &[draining(A1), ready(B1)],
            reaches([B1], Kept),
        ),
        row(
            "where none is ready those that terminate and serve are used",
            &[draining(A1), unready(A3), draining(B1), ending(B2)],
            reaches([A1, B1], Kept),
        ),
        row(
            "where none is ready and none serves the service refuses",
            &[unready(A1), ending(B1)],
            Expect::Rejected,
        ),
    ];
    if protocol == Protocol::Tcp {
        rows.push(row(
            "an endpoint published as ready counts as ready even while it terminates",
            &[ready(A1).terminating(), draining(B1)],
            reaches([A1], Kept),
        ));
        rows.push(row(
            "a single endpoint gets everything",
            &[ready(B2)],
            reaches([B2], Kept),
        ));
        rows.push(row(
            "five endpoints all get something",
            &all_ready([A1, A3, B1, B2, crate::lab::places::B3]),
            reaches([A1, A3, B1, B2, crate::lab::places::B3], Kept),
        ));
    }
    rows
}

fn slices(family: Family) -> Vec<Row> {
    let protocol = Protocol::Tcp;
    let service = web(family, protocol);
    let row = |sentence: &str, slices: Vec<EndpointSlice>, expect| {
        let slices = slices
            .into_iter()
            .enumerate()
            .map(|(n, slice)| renamed(slice, n));
        slices
            .fold(Scene::of(service.clone(), &[]), Scene::slice)
            .row(
                sentence,
                packet(A2, protocol, cluster_ip(family, 10), PORT),
                expect,
            )
    };
    let slice = |endpoints: &[EndpointBuilder]| service.slice(family, endpoints);
    let base = || slice(&[ready(A1)]);
    let two_ports = EndpointSlice {
        ports: SERVED_PORTS
            .map(|port| SlicePort {
                name: "".into(),
                protocol,
                port,
            })
            .into(),
        ..base()
    };
    let other_name = EndpointSlice {
        ports: vec![SlicePort {
            name: "other".into(),
            protocol,
            port: SERVED_PORTS[0],
        }],
        ..slice(&[ready(B1)])
    };
    let other_protocol = EndpointSlice {
        ports: vec![SlicePort {
            name: "".into(),
            protocol: Protocol::Udp,
            port: SERVED_PORTS[0],
        }],
        ..slice(&[ready(B1)])
    };
    let only_a1 = || reaches([A1], Kept);
    let mut rows = vec![
        row(
            "several slices of a service merge",
            vec![base(), slice(&[ready(B1)])],
            reaches([A1, B1], Kept),
        ),
        row(
            "a duplicate across slices counts once",
            vec![base(), base(), slice(&[ready(B1)])],
            {
                let both = [A1, B1].map(|pod| ((pod.name, SERVED_PORTS[0]), 1));
                Expect::Splits(both.to_vec(), Kept)
            },
        ),
        row(
            "one address with two ports counts twice",
            vec![two_ports],
            Expect::Reaches(SERVED_PORTS.map(|port| (A1.name, port)).to_vec(), Kept),
        ),
        row(
            "a slice port of another name does not count",
            vec![base(), other_name.clone()],
            only_a1(),
        ),
        row(
            "slices without the port's name alone mean no endpoints",
            vec![other_name],
            Expect::Rejected,
        ),
        row(
            "a slice port of another protocol does not count",
            vec![base(), other_protocol],
            only_a1(),
        ),
        row(
            "a slice with the headless label is not seen",
            vec![
                base(),
                EndpointSlice {
                    headless: true,
                    ..slice(&[ready(B1)])
                },
            ],
            only_a1(),
        ),
        row(
            "a slice of names is ignored",
            vec![
                base(),
                EndpointSlice {
                    address_type: AddressType::Fqdn,
                    ..slice(&[ready(B1)])
                },
            ],
            only_a1(),
        ),
        row(
            "a slice of another service is not this one's",
            vec![
                base(),
                EndpointSlice {
                    service: "other".into(),
                    ..slice(&[ready(B1)])
                },
            ],
            only_a1(),
        ),
    ];
    let other = if family == Family::V4 {
        Family::V6
    } else {
        Family::V4
    };
    rows.push(row(
        "endpoints of the other family do not count",
        vec![base(), service.slice(other, &[ready(B1)])],
        only_a1(),
    ));
    let node_port = Scene::of(
        web(family, protocol).node_port(NODE_PORT),
        &[draining(B1), draining(A3)],
    );
    for (from, port_of) in [(CLIENT, NODE), (NODE, NODE)] {
        rows.push(node_port.row(
            &format!(
                "a node port too falls back to those that terminate, from the {}",
                from.name
            ),
            packet(from, protocol, port_of.ip(family), NODE_PORT),
            reaches([A3, B1], Masqueraded),
        ));
    }
    rows
}

fn renamed(slice: EndpointSlice, number: usize) -> EndpointSlice {
    let mut name = slice.name.clone();
    name.name = format!("{}-{number}", name.name).into();
    EndpointSlice { name, ..slice }
}
