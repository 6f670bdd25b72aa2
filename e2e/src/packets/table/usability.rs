//! Which endpoints are usable.

use sluice_service_plan::model::{Family, Protocol};

use crate::lab::places::{A1, A2, A3, B1, B2, B3, CLIENT, NODE, Place};
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
        rows.extend(node_port(family));
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
            &all_ready([A1, A3, B1, B2, B3]),
            reaches([A1, A3, B1, B2, B3], Kept),
        ));
    }
    rows
}

fn node_port(family: Family) -> Vec<Row> {
    let protocol = Protocol::Tcp;
    let scene = Scene::of(
        web(family, protocol).node_port(NODE_PORT),
        &[draining(B1), draining(A3)],
    );
    let row = |from: Place| {
        let sentence = format!(
            "a node port too falls back to those that terminate, from the {}",
            from.name
        );
        let to_node_port = packet(from, protocol, NODE.ip(family), NODE_PORT);
        scene.row(&sentence, to_node_port, reaches([A3, B1], Masqueraded))
    };
    vec![row(CLIENT), row(NODE)]
}
