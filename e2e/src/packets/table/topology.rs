//! Hints of slices.

use sluice_service_plan::model::{Family, Protocol};

use crate::lab::places::{A1, A2, A3, B1, B2, CLIENT, NODE};
use crate::packets::Row;
use crate::packets::build::{
    EndpointBuilder, NODE_NAME, NODE_PORT, PORT, REMOTE_NODE_NAME, REMOTE_ZONE, ZONE, cluster_ip,
    ready, unready, web,
};
use crate::packets::row::Source::{Kept, Masqueraded};
use crate::packets::row::{Scene, packet, reaches};

pub(super) fn rows() -> Vec<Row> {
    Family::ALL.into_iter().flat_map(of_family).collect()
}

fn of_family(family: Family) -> Vec<Row> {
    let protocol = Protocol::Tcp;
    let vip = cluster_ip(family, 10);
    let row = |sentence: &str, endpoints: &[EndpointBuilder], expect| {
        Scene::of(web(family, protocol), endpoints).row(
            sentence,
            packet(A2, protocol, vip, PORT),
            expect,
        )
    };
    let zonal = [
        ready(A1).for_zone(ZONE),
        ready(B1).for_zone(ZONE),
        ready(B2).for_zone(REMOTE_ZONE),
    ];
    let exposed = Scene::of(web(family, protocol).node_port(NODE_PORT), &zonal);
    let local = Scene::of(
        web(family, protocol).internal_local(),
        &[ready(A1).for_zone(REMOTE_ZONE), ready(B1).for_zone(ZONE)],
    );
    let no_zone = Scene::of(web(family, protocol), &zonal).facts(|node| node.zone = None);
    vec![
        row(
            "zone hints choose the endpoints of this zone",
            &zonal,
            reaches([A1, B1], Kept),
        ),
        row(
            "zone hints are ignored where one usable endpoint has none",
            &[
                ready(A1).for_zone(ZONE),
                ready(B1).for_zone(REMOTE_ZONE),
                ready(B2),
            ],
            reaches([A1, B1, B2], Kept),
        ),
        row(
            "an endpoint that is not usable need not have a hint",
            &[
                ready(A1).for_zone(ZONE),
                ready(B1).for_zone(REMOTE_ZONE),
                unready(A3),
            ],
            reaches([A1], Kept),
        ),
        row(
            "zone hints are ignored where none is for this zone",
            &[
                ready(A1).for_zone(REMOTE_ZONE),
                ready(B1).for_zone(REMOTE_ZONE),
            ],
            reaches([A1, B1], Kept),
        ),
        row(
            "an endpoint may be meant for several zones",
            &[
                ready(B1).for_zone(REMOTE_ZONE).for_zone(ZONE),
                ready(B2).for_zone(REMOTE_ZONE),
            ],
            reaches([B1], Kept),
        ),
        row(
            "node hints go before zone hints",
            &[
                ready(A1).for_zone(ZONE).for_node(NODE_NAME),
                ready(B1).for_zone(ZONE).for_node(REMOTE_NODE_NAME),
            ],
            reaches([A1], Kept),
        ),
        row(
            "zone hints count where no node hint is for this node",
            &[
                ready(B1).for_zone(ZONE).for_node(REMOTE_NODE_NAME),
                ready(B2).for_zone(REMOTE_ZONE).for_node(REMOTE_NODE_NAME),
            ],
            reaches([B1], Kept),
        ),
        exposed.row(
            "zone hints hold for node ports too",
            packet(CLIENT, protocol, NODE.ip(family), NODE_PORT),
            reaches([A1, B1], Masqueraded),
        ),
        local.row(
            "a Local policy ignores hints",
            packet(A2, protocol, vip, PORT),
            reaches([A1], Kept),
        ),
        no_zone.row(
            "zone hints are ignored on a node without zone",
            packet(A2, protocol, vip, PORT),
            reaches([A1, B1, B2], Kept),
        ),
    ]
}
